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
import { ownGrowth, worthwhile } from './fold_growth.js';
import { foldedTensors, foldedUnit, leadingUnit, type FoldedUnit } from './folded_weights.js';
import { keptLayers, type KeptLayers } from './kept_layers.js';
import { rebuild, type Edge, type LayerNode, type ModelConfig } from './rebuild.js';
import { blocksOf, isTemplateConv, readersOf, whyApart, type Lead, type TemplateBlock, type Unit, type UnitForm } from './template_blocks.js';

export interface FoldTemplatesArgs {
  /** Similarity from which on two layers are the same, in (0, 1]. Default 0.999. */
  threshold?: number;
  /**
   * Names of `templateConv2d` layers to make one of, also where that takes more parameters; what keeps them apart is an error then. Default: all
   * runs of layers that can be folded without more parameters.
   */
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
 * residual network: then the first convolutions of the blocks must be alike, the second ones, and so on. What comes before a residual block's first
 * convolution, batch normalisation, activation, or both as in pre-activation networks, belongs to the block. Strides are 1, padding 'same', and
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
 * The result is a new, uncompiled model without regularizers and constraints, of the class of the given one, which is left as it is. `kept` has every two
 * convolutions that are alike and did not become one, next to each other or not, and why. It takes as long as before.
 *
 * Parameters: K templates become one kernel for each convolution of a block, so that they grow fewer where a block has fewer convolutions than the
 * bank templates and no other layer draws from the bank, which then goes. What would have more parameters is folded only if `layers` names it.
 *
 * Not folded: several convolutions without an addition that are alike in turns, and layers inside of nested models.
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
  const rows = new Map(await Promise.all(chosen.filter(({ coefficients }) => coefficients !== null).map(async (conv) => [conv, Array.from(await variableOf(conv.coefficients!).data())] as const)));
  const rowsOf = (units: readonly Unit[]): number[][] => units.map(({ conv }) => rows.get(conv)!);
  const similarity = (a: TemplateConv2D, b: TemplateConv2D): number => {
    const both = [rows.get(a) ?? [], rows.get(b) ?? []];
    return a.bank === b.bank && both[0].length > 0 && both[0].length === both[1].length ? coefficientSimilarity(both)[0][1] : 0;
  };
  /** The pairs of convolutions at one place of two blocks. */
  const pairsOf = (i: number, j: number): [TemplateConv2D, TemplateConv2D][] =>
    blocks[i].units.slice(0, blocks[j].units.length).map(({ conv }, u) => [conv, blocks[j].units[u].conv]);
  const alike = (i: number, j: number): number => Math.min(...pairsOf(i, j).map((pair) => similarity(...pair)));
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
  const candidates = await Promise.all(runs.map((run) => foldOf(run.map((i) => blocks[i]), rowsOf)));
  const folds = named === null ? worthwhile(candidates, convolutions) : candidates;
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
  const runWith = (i: number, j: number): Fold | undefined => candidates.find((fold) => fold.blocks.includes(blocks[i]) && fold.blocks.includes(blocks[j]));
  const kept = keptLayers(chosen, {
    placeOf: (conv) => {
      const block = blocks.findIndex(({ units }) => units.some((unit) => unit.conv === conv));
      return block < 0 ? null : { block, unit: blocks[block].units.findIndex((unit) => unit.conv === conv) };
    },
    alike: (a, b) => similarity(a, b) >= threshold,
    unlike: (i, j) => pairsOf(i, j).filter((pair) => similarity(...pair) < threshold).map(([a, b]): [string, string] => [a.name, b.name])[0] ?? null,
    whyApart: why,
    together: (i, j) => folds.includes(runWith(i, j)!),
    whyLeft: (i, j) => {
      const left = runWith(i, j);
      return left === undefined ? null : `as one layer they would have ${ownGrowth(left)} more parameters, and free no bank of as many; name them in layers to fold them all the same`;
    },
  }); // prettier-ignore
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
  const [{ units: forms, lead, residual, stateActivation }] = blocks;
  const places = forms.map((_, u) => blocks.map(({ units }) => units[u]));
  const units = await Promise.all(places.map((place) => foldedUnit(place, rowsOf(place))));
  const name = `${forms[0].conv.name}_folded`;
  const normalization = ({ momentum, epsilon }: Lead | UnitForm) => ({ scope: 'perRecursion', ...(epsilon === null ? { statistics: false } : { momentum, epsilon }) });
  const parts = forms.map(({ form }) => {
    const { kernelSize, groups, filters, dilationRate, activation } = form;
    return { kernelSize, filters, groups, dilationRate, activation, useBias: false, normalization: normalization(form) };
  });
  const leading = lead === null ? null : { activation: lead.activation, ...(lead.norm === null ? {} : { normalization: normalization(lead) }) };
  const leadingUnits = lead === null ? [] : [await leadingUnit(blocks.map((block) => block.lead!.norm), forms[forms.length - 1].form.filters)];
  const connection = residual ? 'residual' : 'none';
  return {
    blocks,
    units: [...leadingUnits, ...units],
    report: {
      name, recursions: blocks.length, layers: blocks.flatMap((block) => block.units.map(({ conv }) => conv.name)),
      similarity: Math.min(1, ...places.flatMap((place) => coefficientSimilarity(rowsOf(place)).flat())), kernelError: Math.max(...units.flatMap(({ errors }) => errors)),
    },
    config: { name, recursions: blocks.length, connection, stateActivation, ...(parts.length === 1 && leading === null ? parts[0] : { block: [...(leading === null ? [] : [leading]), ...parts] }) },
  }; // prettier-ignore
}

const nameOf = ({ config }: LayerNode): string => config['name'] as string;

/** One node in the place of those of the blocks. */
function replaceBlocks(config: ModelConfig, { blocks, report, config: options }: Fold): void {
  const gone = new Set(blocks.flatMap(({ layers }) => layers.map(({ name }) => name)));
  const at = config.layers.findIndex((node) => gone.has(nameOf(node)));
  const first = config.layers.find((node) => nameOf(node) === blocks[0].layers[0].name)!;
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
