/**
 * Layers on templates that have become the same as one recursive layer. Savarese & Maire, "Learning Implicitly Recurrent CNNs Through Parameter
 * Sharing", ICLR 2019, §3.3.
 */
import type * as tfl from '@tensorflow/tfjs-layers';
import { checkKeys, checkNames, checkNumber, describe } from '../checks.js';
import { allLayers, checkSameHost, variableOf } from '../host.js';
import { coefficientSimilarity } from '../layers/combine_templates.js';
import { RecursiveConv } from '../layers/recursion/recursive_conv.js';
import type { TemplateBank } from '../layers/template_bank.js';
import type { TemplateConv2D } from '../layers/template_conv2d.js';
import { foldedTensors, foldedUnit, type FoldedUnit } from './folded_weights.js';
import { rebuild, type Edge, type LayerNode, type ModelConfig } from './rebuild.js';
import { blocksOf, isTemplateConv, readersOf, whyApart, type TemplateBlock, type Unit } from './template_blocks.js';

export interface FoldTemplatesArgs {
  /** Similarity from which on two layers are the same, in (0, 1]. Default 0.999. */
  threshold?: number;
  /** Names of `templateConv2d` layers to make one of; what keeps them apart is an error then. Default: all runs of layers that can be folded. */
  layers?: string[];
}

export interface FoldedLayers {
  /** Of the recursive layer. */
  name: string;
  recursions: number;
  /** The convolutions that it replaces, in order. */
  layers: string[];
  /** The least similarity of two of them that become the same. */
  similarity: number;
  /** The largest ‖W_l − c_l W‖ / ‖W_l‖ of their kernels W_l and the one that stays: 0 where they are parallel. */
  kernelError: number;
}

/** Two layers (the first ones of two blocks), the next after the first, that passed the threshold and could not be folded. */
export interface KeptLayers {
  layers: [string, string];
  why: string;
}

export interface FoldedModel {
  model: tfl.LayersModel;
  folded: FoldedLayers[];
  kept: KeptLayers[];
  parametersBefore: number;
  parametersAfter: number;
}

const WHO = 'foldTemplates';

/**
 * Makes one {@link RecursiveConv} of each run of consecutive `templateConv2d` layers whose coefficients are parallel, |cos| ≥ `threshold`.
 *
 * A run is a chain of blocks in which each reads what the one before it makes, alone. A block is a convolution with the batch normalisation and
 * activation after it, if any; or several of those and then the addition of the block's input, with or without an activation after it, as in a
 * residual network: then the first convolutions of the blocks must be alike, the second ones, and so on. Strides are 1, padding 'same', and
 * a block makes as many channels as it takes. Kernels W_l = c_l W need not be equal: the factor
 * c_l, its sign and the layer's bias go into the normalisation of recursion l, with mean (μ − b) / c, variance (σ² + ε) / c² − ε and γ · sign c
 * (so that training goes on as before, too); without batch normalisation into a scale and a bias of each recursion. A bank that nobody
 * reads any more goes.
 *
 * ```js
 * console.log(await layerSimilarity(model));
 * const {model: small, folded, kept} = await foldTemplates(model, {threshold: 0.99});
 * small.predict(x);   // = model.predict(x) where similarities are 1, up to float32 rounding; else see kernelError
 * ```
 *
 * The result is a new, uncompiled model without regularizers and constraints, of the class of the given one, which is left as it is. `kept` says
 * what kept layers apart that are alike. It takes as long as before. Parameters: K templates become one kernel for each convolution of a block, so that
 * they grow fewer where a block has fewer convolutions than the bank templates, and more where it has more: see `parametersAfter`.
 *
 * Not folded: blocks whose normalisation or activation comes before the convolution, several convolutions without an addition that are alike in
 * turns, and layers inside of nested models.
 *
 * @throws Error for a model without such layers, a threshold out of range, and with `layers` for layers whose inputs, shapes or surroundings
 * differ, or that are not alike.
 */
export async function foldTemplates(model: tfl.LayersModel, args: FoldTemplatesArgs = {}): Promise<FoldedModel> {
  checkSameHost(WHO, model);
  if (typeof args !== 'object' || args === null) throw new Error(`${WHO}: expected options, {threshold, layers}, got ${describe(args)}.`);
  checkKeys(WHO, args, ['threshold', 'layers']);
  const threshold = checkNumber(WHO, 'threshold', args.threshold ?? 0.999, { expected: 'a number in (0, 1]', holds: (x) => x > 0 && x <= 1 });
  const convolutions = allLayers(model).filter(isTemplateConv);
  if (convolutions.length === 0) throw new Error(`${WHO}: the model has no templateConv2d layer.`);
  const named = args.layers === undefined ? null : checkNames(WHO, 'layers', args.layers);
  const wrong = named?.find((name) => !convolutions.some((conv) => conv.name === name));
  if (wrong !== undefined) throw new Error(`${WHO}: the model has no templateConv2d layer '${wrong}'. There are ${convolutions.map(({ name }) => name).join(', ')}.`);
  if (named !== null && new Set(named).size < 2) throw new Error(`${WHO}: layers must name two layers at least, got ${describe(named)}.`);

  const chosen = convolutions.filter(({ name }) => named?.includes(name) ?? true);
  const readers = readersOf(model);
  const isPlain = (conv: TemplateConv2D) => model.layers.includes(conv) && conv.inboundNodes.length === 1;
  const hidden = chosen.find((conv) => !isPlain(conv));
  if (named !== null && hidden !== undefined) throw new Error(`${WHO}: '${hidden.name}' is called more than once, or stands inside of another model or layer.`);
  const blocks = blocksOf(convolutions.filter(isPlain), readers).filter(({ units }) => units.some(({ conv }) => chosen.includes(conv)));
  const partly = blocks.flatMap(({ units }) => units).find(({ conv }) => !chosen.includes(conv));
  if (partly !== undefined) throw new Error(`${WHO}: '${partly.conv.name}' is in one residual block with a layer that was named. Name all convolutions of a block.`);
  const rows = new Map(await Promise.all(blocks.flatMap(({ units }) => units).map(async ({ conv }) => [conv, Array.from(await variableOf(conv.coefficients!).data())] as const)));
  const rowsOf = (units: readonly Unit[]): number[][] => units.map(({ conv }) => rows.get(conv)!);
  /** The least similarity of two convolutions at one place of two blocks. */
  const alike = (i: number, j: number): number => {
    const places = Math.min(blocks[i].units.length, blocks[j].units.length);
    return Math.min(...Array.from({ length: places }, (_, u) => {
      const pair = [blocks[i].units[u], blocks[j].units[u]];
      const [a, b] = rowsOf(pair);
      return pair[0].conv.bank === pair[1].conv.bank && a.length === b.length ? coefficientSimilarity([a, b])[0][1] : 0;
    })); // prettier-ignore
  };
  const nameOfBlock = (i: number): string => blocks[i].units[0].conv.name;
  /** Why block j cannot be the recursion after block i. */
  const why = (i: number, j: number): string | null => whyApart(blocks[i], blocks[j], readers);
  const runs = chainsOf(blocks.length, (i, j) => why(i, j) === null).flatMap((chain) => alikeRuns(chain, (i, j) => alike(i, j) >= threshold));
  if (named !== null && blocks.length < 2) throw new Error(`${WHO}: '${named.join("', '")}' are one residual block. Name the layers of two blocks at least.`);
  if (named !== null && runs[0]?.length !== blocks.length) {
    const pairs = blocks.slice(1).map((_, i) => [i, i + 1] as const);
    const [i, j] = pairs.find((pair) => why(...pair) !== null) ?? pairs.find((pair) => alike(...pair) < threshold) ?? [0, blocks.length - 1];
    throw new Error(`${WHO}: '${nameOfBlock(i)}' and '${nameOfBlock(j)}' cannot become one layer: ${why(i, j) ?? `their similarity is ${alike(i, j).toFixed(4)}, below the threshold ${threshold}`}.`);
  }
  const folds = await Promise.all(runs.map((run) => foldOf(run.map((i) => blocks[i]), rowsOf)));
  const taken = folds.find(({ report }) => model.layers.some(({ name }) => name === report.name));
  if (taken !== undefined) throw new Error(`${WHO}: the model has a layer '${taken.report.name}' already. Rename it.`);
  const result = await rebuild(
    model,
    (config) => {
      for (const fold of folds) replaceBlocks(config, fold);
      for (const bank of new Set(folds.flatMap((fold) => fold.blocks[0].units.map(({ conv }) => conv.bank!)))) dropUnused(config, bank);
    },
    (name) => {
      const fold = folds.find(({ report }) => report.name === name);
      return fold === undefined ? null : foldedTensors(fold.units);
    },
  );
  const kept = blocks.slice(1).flatMap((_, i): KeptLayers[] => {
    const together = runs.some((run) => run.includes(i) && run.includes(i + 1));
    if (together || alike(i, i + 1) < threshold) return [];
    return [{ layers: [nameOfBlock(i), nameOfBlock(i + 1)], why: why(i, i + 1) ?? 'one of the run before is less alike' }];
  });
  return { model: result, folded: folds.map(({ report }) => report), kept, parametersBefore: model.countParams(), parametersAfter: result.countParams() };
}

/** Numbers 0 … count − 1 in chains in which each follows the one before it; who is followed by one and follows none begins a chain. */
function chainsOf(count: number, follows: (first: number, second: number) => boolean): number[][] {
  const all = Array.from({ length: count }, (_, i) => i);
  const next = all.map((i) => all.find((j) => j !== i && follows(i, j)));
  return all.filter((i) => !next.includes(i)).map((start) => {
    const chain = [start];
    for (let at = next[start]; at !== undefined; at = next[at]) chain.push(at);
    return chain;
  });
}

/** Runs of two and more, as long as all of a run are alike. */
function alikeRuns(chain: readonly number[], alike: (i: number, j: number) => boolean): number[][] {
  const runs: number[][] = [];
  for (const each of chain) {
    const run = runs[runs.length - 1];
    if (run?.every((before) => alike(before, each))) run.push(each);
    else runs.push([each]);
  }
  return runs.filter(({ length }) => length > 1);
}

interface Fold {
  report: FoldedLayers;
  blocks: readonly TemplateBlock[];
  config: Record<string, unknown>;
  units: FoldedUnit[];
}

async function foldOf(blocks: readonly TemplateBlock[], rowsOf: (units: readonly Unit[]) => number[][]): Promise<Fold> {
  const [{ units: forms, residual, stateActivation }] = blocks;
  const places = forms.map((_, u) => blocks.map(({ units }) => units[u]));
  const units = await Promise.all(places.map((place) => foldedUnit(place, rowsOf(place))));
  const name = `${forms[0].conv.name}_folded`;
  const parts = forms.map(({ form: { kernelSize, groups, filters, dilationRate, activation, momentum, epsilon } }) => ({
    kernelSize, filters, groups, dilationRate, activation, useBias: false,
    normalization: { scope: 'perRecursion', ...(epsilon === null ? { statistics: false } : { momentum, epsilon }) },
  })); // prettier-ignore
  const connection = residual ? 'residual' : 'none';
  return {
    blocks,
    units,
    report: {
      name, recursions: blocks.length, layers: blocks.flatMap((block) => block.units.map(({ conv }) => conv.name)),
      similarity: Math.min(1, ...places.flatMap((place) => coefficientSimilarity(rowsOf(place)).flat())), kernelError: Math.max(...units.flatMap(({ errors }) => errors)),
    },
    config: { name, recursions: blocks.length, connection, stateActivation, ...(parts.length === 1 ? parts[0] : { block: parts }) },
  }; // prettier-ignore
}

const nameOf = ({ config }: LayerNode): string => config['name'] as string;

/** One node in the place of those of the blocks. */
function replaceBlocks(config: ModelConfig, { blocks, report, config: options }: Fold): void {
  const gone = new Set(blocks.flatMap(({ layers }) => layers.map(({ name }) => name)));
  const at = config.layers.findIndex((node) => gone.has(nameOf(node)));
  const first = config.layers.find((node) => nameOf(node) === blocks[0].units[0].conv.name)!;
  const last = blocks[blocks.length - 1].layers.at(-1)!.name;
  const node: LayerNode = { class_name: RecursiveConv.className, config: { ...options, dtype: first.config['dtype'] ?? 'float32' } };
  if (first.inbound_nodes !== undefined) {
    node.name = report.name;
    node.inbound_nodes = [[(first.inbound_nodes as Edge[][])[0][0]]];
  }
  config.layers.splice(at, 0, node);
  config.layers.splice(0, config.layers.length, ...config.layers.filter((each) => !gone.has(nameOf(each))));
  redirect(config, ([name]) => (name === last ? [report.name, 0, 0, {}] : null));
}

/** Takes a bank out that no layer draws from. */
function dropUnused(config: ModelConfig, { name, passInput }: TemplateBank): void {
  const at = config.layers.findIndex((node) => nameOf(node) === name);
  const edges = [...config.layers.flatMap((node) => ((node.inbound_nodes ?? []) as Edge[][]).flat()), ...(config.output_layers ?? [])];
  if (!passInput && edges.some(([from]) => from === name)) return;
  // Those that look upstream may do so without a name.
  if (passInput && config.layers.some((node) => node.class_name === 'TemplateConv2D' && [undefined, name].includes((node.config['bank'] as { name: string } | null)?.name))) return;
  const [bank] = config.layers.splice(at, 1);
  const inbound = bank.inbound_nodes as Edge[][] | undefined;
  if (passInput && inbound !== undefined) redirect(config, ([from, node]) => (from === name ? inbound[node][0] : null));
  const next = config.layers[at];
  if (bank.config['batch_input_shape'] !== undefined && next !== undefined) next.config['batch_input_shape'] ??= bank.config['batch_input_shape'];
}

/** Changes what layers and outputs read. */
function redirect(config: ModelConfig, to: (edge: Edge) => Edge | null): void {
  const moved = (edges: Edge[]) => edges.map((edge) => to(edge) ?? edge);
  for (const node of config.layers) if (node.inbound_nodes !== undefined) node.inbound_nodes = (node.inbound_nodes as Edge[][]).map(moved);
  if (config.output_layers !== undefined) config.output_layers = moved(config.output_layers).map(([layer, node, tensor]): Edge => [layer, node, tensor]);
}
