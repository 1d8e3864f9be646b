/** How many parameters a model has more or fewer when layers on templates become recursive ones (pure). */
import type { TemplateBank } from '../layers/template_bank.js';
import type { TemplateConv2D } from '../layers/template_conv2d.js';
import type { FoldedUnit } from './folded_weights.js';
import type { TemplateBlock } from './template_blocks.js';

/** A run of blocks and the weights of the layer that stands for them. */
export interface RunOfBlocks {
  blocks: readonly TemplateBlock[];
  units: readonly FoldedUnit[];
}

const convsOf = ({ blocks }: RunOfBlocks): TemplateConv2D[] => blocks.flatMap(({ units }) => units.map(({ conv }) => conv));
const banksOf = (run: RunOfBlocks): TemplateBank[] => convsOf(run).map(({ bank }) => bank!);
const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

/** What a recursive layer has more than the layers that it replaces; their bank is not looked at. */
export function ownGrowth({ blocks, units }: RunOfBlocks): number {
  const gone = sum(blocks.flatMap(({ layers }) => layers.map((layer) => layer.countParams())));
  return sum(units.map(({ kernel, affine }) => (kernel?.values.length ?? 0) + sum(affine.flat().map(({ length }) => length)))) - gone;
}

/** What several together add, with the banks that none of `convolutions` draws from afterwards taken away. */
function growth(runs: readonly RunOfBlocks[], convolutions: readonly TemplateConv2D[]): number {
  const folded = runs.flatMap(convsOf);
  const freed = [...new Set(runs.flatMap(banksOf))].filter((bank) => convolutions.every((conv) => conv.bank !== bank || folded.includes(conv)));
  return sum(runs.map(ownGrowth)) - sum(freed.map((bank) => bank.countParams()));
}

/** Those that leave a model with no more parameters: all that share banks where they do so together, else those that do so alone. */
export function worthwhile<R extends RunOfBlocks>(runs: readonly R[], convolutions: readonly TemplateConv2D[]): R[] {
  let groups: R[][] = [];
  for (const run of runs) {
    const near = groups.filter((group) => group.flatMap(banksOf).some((bank) => banksOf(run).includes(bank)));
    groups = [...groups.filter((group) => !near.includes(group)), [...near.flat(), run]];
  }
  const taken = new Set(groups.flatMap((group) => (growth(group, convolutions) <= 0 ? group : group.filter((run) => growth([run], convolutions) <= 0))));
  return runs.filter((run) => taken.has(run));
}
