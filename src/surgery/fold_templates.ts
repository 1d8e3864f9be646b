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
import { foldedWeights, type FoldedWeights } from './folded_weights.js';
import { rebuild, type Edge, type LayerNode, type ModelConfig } from './rebuild.js';
import { isTemplateConv, readersOf, stageOf, whyApart, type Stage } from './template_stages.js';

export interface FoldTemplatesArgs {
  /** Similarity from which on two layers are the same, in (0, 1]. Default 0.999. */
  threshold?: number;
  /** Names of `templateConv2d` layers to make one of; what keeps them apart is an error then. Default: all runs of layers that can be folded. */
  layers?: string[];
}

export interface FoldedLayers {
  /** Of the recursive layer. */
  name: string;
  /** The convolutions that it replaces, in order. */
  layers: string[];
  /** The least similarity of two of them. */
  similarity: number;
  /** The largest ‖W_l − c_l W‖ / ‖W_l‖ of their kernels W_l and the one that stays: 0 where they are parallel. */
  kernelError: number;
}

/** Two layers, the next after the first, that passed the threshold and could not be folded. */
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
 * Makes one {@link RecursiveConv} of each run of consecutive `templateConv2d` layers on one bank whose coefficients are parallel, |cos| ≥ `threshold`.
 *
 * A run is a chain in which each layer reads what the one before it makes, each with the same batch normalisation, activation and addition of its
 * input after it, or without, and with strides 1, padding 'same' and as many channels out as in. Kernels W_l = c_l W need not be equal: the factor
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
 * what kept layers apart that are alike. It takes as long as before; what shrinks is the file: K templates become one kernel.
 *
 * Not folded: layers with normalisation or activation before the convolution, blocks of several convolutions, and layers inside of nested models.
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
  const stages = chosen.map((conv) => (model.layers.includes(conv) && conv.inboundNodes.length === 1 ? stageOf(conv, readers) : null));
  const rows = await Promise.all(chosen.map(async ({ coefficients }) => Array.from(await variableOf(coefficients!).data())));
  const alike = (i: number, j: number): number => (rows[i].length === rows[j].length ? coefficientSimilarity([rows[i], rows[j]])[0][1] : 0);
  /** Why layer j cannot be the recursion after layer i. */
  const why = (i: number, j: number): string | null => {
    const inside = [i, j].find((each) => stages[each] === null);
    if (inside !== undefined) return `'${chosen[inside].name}' is called more than once, or stands inside of another model or layer`;
    return whyApart(stages[i]!, stages[j]!, readers);
  };
  const runs = chainsOf(chosen.length, (i, j) => why(i, j) === null).flatMap((chain) => alikeRuns(chain, (i, j) => alike(i, j) >= threshold));
  if (named !== null && runs[0]?.length !== chosen.length) {
    const pairs = chosen.slice(1).map((_, i) => [i, i + 1] as const);
    const [i, j] = pairs.find((pair) => why(...pair) !== null) ?? pairs.find((pair) => alike(...pair) < threshold) ?? [0, chosen.length - 1];
    throw new Error(`${WHO}: '${chosen[i].name}' and '${chosen[j].name}' cannot become one layer: ${why(i, j) ?? `their similarity is ${alike(i, j).toFixed(4)}, below the threshold ${threshold}`}.`);
  }
  const folds = await Promise.all(runs.map((run) => foldOf(run.map((i) => stages[i]!), run.map((i) => rows[i]))));
  const taken = folds.find(({ report }) => model.layers.some(({ name }) => name === report.name));
  if (taken !== undefined) throw new Error(`${WHO}: the model has a layer '${taken.report.name}' already. Rename it.`);
  const result = await rebuild(
    model,
    (config) => {
      for (const fold of folds) replaceStages(config, fold);
      for (const bank of new Set(runs.map(([first]) => chosen[first].bank!))) dropUnused(config, bank);
    },
    (name) => folds.find(({ report }) => report.name === name)?.weights.tensors() ?? null,
  );
  const kept = chosen.slice(1).flatMap(({ name, bank }, i): KeptLayers[] => {
    const together = runs.some((run) => run.includes(i) && run.includes(i + 1));
    if (together || bank !== chosen[i].bank || alike(i, i + 1) < threshold) return [];
    return [{ layers: [chosen[i].name, name], why: why(i, i + 1) ?? 'one of the run before is less alike' }];
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
  stages: readonly Stage[];
  config: Record<string, unknown>;
  weights: FoldedWeights;
}

async function foldOf(stages: readonly Stage[], rows: readonly number[][]): Promise<Fold> {
  const [{ conv, form }] = stages;
  const name = `${conv.name}_folded`;
  const weights = await foldedWeights(stages, rows);
  return {
    stages,
    weights,
    report: { name, layers: stages.map((stage) => stage.conv.name), similarity: Math.min(1, ...coefficientSimilarity(rows).flat()), kernelError: Math.max(...weights.errors) },
    config: {
      name, recursions: stages.length, kernelSize: form.kernelSize, groups: form.groups, dilationRate: form.dilationRate, activation: form.activation, useBias: false,
      normalization: { scope: 'perRecursion', ...(form.epsilon === null ? { statistics: false } : { momentum: form.momentum, epsilon: form.epsilon }) },
      connection: form.residual ? 'residual' : 'none', stateActivation: form.stateActivation,
    },
  }; // prettier-ignore
}

const nameOf = ({ config }: LayerNode): string => config['name'] as string;

/** One node in the place of those of the stages. */
function replaceStages(config: ModelConfig, { stages, report, config: options }: Fold): void {
  const gone = new Set(stages.flatMap(({ layers }) => layers.map(({ name }) => name)));
  const at = config.layers.findIndex((node) => gone.has(nameOf(node)));
  const first = config.layers.find((node) => nameOf(node) === stages[0].conv.name)!;
  const last = stages[stages.length - 1].layers.at(-1)!.name;
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
