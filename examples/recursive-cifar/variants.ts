/** Which networks each part trains. */
import type { SetName } from './data.js';
import type { Combination } from './library.js';
import type { Part, Settings } from './settings.js';

export const GROUPINGS = ['one', 'random', 'learned'] as const;
/** One bank for all layers, or one for each group of them. */
export type Grouping = (typeof GROUPINGS)[number];

export interface BankChoice {
  /** Weights for each number of the banks. */
  budget: number;
  combination: Combination;
  grouping: Grouping;
}

/** What a network is. */
export type Spec =
  | { part: 'lru'; recursions: number }
  /** K; null: each layer has a kernel of its own. */
  | { part: 'templates'; templates: number | null }
  /** `cost` of the gates; null: all loops always. */
  | { part: 'dynamic'; recursions: number; cost: number | null }
  /** `bank` null: each layer has a kernel of its own. */
  | { part: 'banks'; bank: BankChoice | null; distilled: boolean }
  | { part: 'eigen'; maps: number; layers: number; tied: boolean };

export interface Variant {
  /** Unique in a run, and in its record. */
  key: string;
  set: SetName;
  spec: Spec;
}

/** In the order in which they are trained: part by part, the sets of each one after the other. */
export function variantsOf(settings: Settings, parts: readonly Part[], sets: readonly SetName[]): Variant[] {
  return parts.flatMap((part) => sets.flatMap((set) => specsOf(settings, part).map((spec) => ({ key: `${set}: ${labelOf(spec)}`, set, spec }))));
}

function specsOf(settings: Settings, part: Part): Spec[] {
  switch (part) {
    case 'lru':
      return settings.lru.recursions.map((recursions) => ({ part, recursions }));
    case 'templates':
      return [...settings.templates.templates, null].map((templates) => ({ part, templates }));
    case 'dynamic': {
      const { depths, costs } = settings.dynamic;
      return [...depths.map((recursions) => ({ part, recursions, cost: null })), ...costs.map((cost) => ({ part, recursions: Math.max(...depths), cost }))];
    }
    case 'banks':
      return [{ part, bank: null, distilled: false }, ...settings.banks.budgets.flatMap((budget) => bankSpecs(budget, settings.banks.product))];
    case 'eigen': {
      const { maps, layers } = settings.eigen;
      // One layer is tied and untied at once.
      return maps.flatMap((m) => layers.flatMap((l) => (l === 1 ? [true] : [true, false]).map((tied) => ({ part, maps: m, layers: l, tied }))));
    }
  }
}

const COMBINED: readonly Combination[] = ['learnedWeights', 'average', 'layerEmbedding'];

/** All choices at one budget, or those that differ from learned weights on one bank in one thing. */
function bankSpecs(budget: number, product: boolean): Spec[] {
  const all = COMBINED.flatMap((combination) => GROUPINGS.flatMap((grouping) => [false, true].map((distilled) => ({ combination, grouping, distilled }))));
  const changed = ({ combination, grouping, distilled }: (typeof all)[number]) => Number(combination !== 'learnedWeights') + Number(grouping !== 'one') + Number(distilled);
  return all.filter((each) => product || changed(each) < 2).map(({ combination, grouping, distilled }) => ({ part: 'banks', bank: { budget, combination, grouping }, distilled }));
}

const COMBINATION_LABELS: Partial<Record<Combination, string>> = { learnedWeights: 'learned weights', average: 'average', layerEmbedding: 'layer embedding' };
const GROUPING_LABELS: Record<Grouping, string> = { one: 'one bank', random: 'random groups', learned: 'learned groups' };

/** All but the budget. */
export const bankLabel = ({ combination, grouping }: BankChoice, distilled: boolean): string => `${COMBINATION_LABELS[combination]}, ${GROUPING_LABELS[grouping]}${distilled ? ', distilled' : ''}`;

export function labelOf(spec: Spec): string {
  switch (spec.part) {
    case 'lru':
      return `LruNet, N = ${spec.recursions}`;
    case 'templates':
      return spec.templates === null ? 'unshared' : `K = ${spec.templates}`;
    case 'dynamic':
      return spec.cost === null ? `${spec.recursions} loop${spec.recursions === 1 ? '' : 's'}` : `gates up to ${spec.recursions}, cost ${spec.cost}`;
    case 'banks':
      return spec.bank === null ? 'own kernels' : `1/${spec.bank.budget}, ${bankLabel(spec.bank, spec.distilled)}`;
    case 'eigen':
      return `${spec.maps} maps, ${spec.layers} layer${spec.layers === 1 ? '' : 's'}${spec.layers === 1 ? '' : spec.tied ? ' tied' : ' untied'}`;
  }
}
