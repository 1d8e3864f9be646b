/**
 * Ties the similar rows that GrOWL leaves, and trains on with the ties kept: the second stage of learning to share.
 * Zhang, Wang, Figueiredo & Balzano, ICLR 2018, §3.2 and the authors' programs (similarity, affinity propagation, preference).
 */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { checkChoice, checkKeys, checkNames, checkNumber, describe, integerAtLeast, POSITIVE, warnOnce } from '../checks.js';
import { checkSameHost, isBiasSlot, placedLayers, presentFit, regularizerSlots, variableOf, type Layer, type LayerVariable } from '../host.js';
import { growlWeights } from '../regularizers/attach.js';
import type { GrOWL } from '../regularizers/growl.js';
import { fromRows, hasRows, rowLayout, toRows, type RowGrouping, type RowLayout } from '../regularizers/growl_rows.js';
import { affinityPropagation, MAX_ITEMS, rowSimilarity } from './affinity_propagation.js';
import { checkStages, joinFit, type FitParams } from './growl_stages.js';
import { clustersOf, equalRows, liveRows, spreadRows, stepRows, type RowClusters } from './row_clusters.js';
import { shareGradients, type Aggregation } from './shared_gradients.js';

/**
 * Clusters the live rows of a kernel: their similarities `[n, n]` and the n rows themselves → an integer label for each.
 * Rows with the same label are tied.
 */
export type ClusterRows = (similarity: Float32Array, rows: Float32Array[]) => ArrayLike<number>;

export interface RowTyingArgs {
  /** Names of the layers. Default: those whose kernel has a `growl` penalty. */
  layers?: string[];
  /** `affinityPropagation`; `equalRows`: the ties that the model has already, e.g. after loading; or a function. Default `affinityPropagation`. */
  cluster?: 'affinityPropagation' | 'equalRows' | ClusterRows;
  /** Affinity propagation's preference: higher makes more clusters. On the scale of the similarities, ≤ 1. Default 0.6 (the authors: 0.6 MNIST, 0.8 VGG). */
  preference?: number;
  /** Affinity propagation's damping, 0.5 … < 1. Where it does not converge, 0.9 is tried next. Default 0.5. */
  damping?: number;
  /** Iterations of affinity propagation; twice as many in the second attempt. Integer ≥ 1. Default 200. */
  maxIterations?: number;
  /** What a shared row's gradient is, of those of its rows; with `every: 'epoch'`, what its step is of the steps that they have made. Default `average`. */
  aggregation?: Aggregation;
  /** When rows are made equal again: after each `batch`, so that they always are, or (as the authors) each `epoch`. Default `batch`. */
  every?: 'batch' | 'epoch';
  /** A kernel with more clusters than this share of its live rows is left untied. > 0. Default 0.95. */
  maxClusterRatio?: number;
  /** What is a row where the kernel has no `growl` penalty to say so. Default `inputs`. */
  rows?: RowGrouping;
}

/** What became of one kernel. */
export interface TiedLayer {
  layer: string;
  weight: string;
  rows: number;
  /** Rows of zeros; they stay zero. */
  dead: number;
  /** Distinct rows beside those; as many as there are live rows where `tied` is false. */
  clusters: number;
  tied: boolean;
  /** Cluster of each row, −1 for dead ones. */
  labels: number[];
  /** Whether affinity propagation converged (true for other ways), after how many iterations, with which damping. */
  converged: boolean;
  iterations: number;
  damping: number | null;
}

interface Target {
  layer: Layer;
  weight: LayerVariable;
  layout: RowLayout;
  shared: RowClusters;
}

const WHO = 'rowTying';
/** Who ties a weight: two callbacks in one fit would take each other's steps. */
const owners = new WeakMap<tfc.Tensor, RowTying>();

/**
 * At the start of training: clusters the rows of each kernel by ⟨r_i, r_j⟩ / max(‖r_i‖², ‖r_j‖²) and sets every row to the mean of its
 * cluster. From then on the optimizer gets the average (or sum) of the gradients of a cluster's rows for each of them, so that whatever optimizer
 * it is trains the shared rows; they are bit for bit equal after every batch. Rows of zeros stay zero.
 *
 * ```js
 * await model.fit(x, y, {epochs: 300, callbacks: [growlProximal()]});
 * model.compile({optimizer: tf.train.momentum(1e-3, 0.9), loss, metrics});   // fresh momentum, as the authors do
 * const tying = rowTying({preference: 0.6});
 * await model.fit(x, y, {epochs: 100, callbacks: [tying]});
 * tying.report;   // [{layer: 'dense', rows: 784, dead: 520, clusters: 71, …}]
 * ```
 *
 * Compile the model anew before, as above: what an optimizer remembers of rows from before they were tied differs. With `growlProximal` in the same fit
 * it is an error. As in the authors' second stage there is no penalty: `growl`
 * regularizers of the model add 0 to the loss while this callback is at work.
 *
 * Clustering by a library: `cluster: (_, rows) => kmeans(rows.map((r) => Array.from(r)), 60, {seed: 1}).clusters` (ml-kmeans), or
 * Ward's method (ml-hclust; `examples/growl-mnist/clustering.ts` has it in ten lines), for as many clusters as are wanted. Affinity propagation needs 12 n² bytes (n live rows, at most 8192) and O(n²) an iteration.
 * Cost per batch: the kernel is read and written once. To train a tied model on after loading it: `cluster: 'equalRows'`.
 *
 * Where the rows of a layer are tied, `factorTiedRows` and `removeDeadUnits` turn the model into a plain smaller one. For single values
 * rather than rows use `gmmPrior`.
 */
export class RowTying extends tfl.Callback {
  /** One entry a kernel, after training has begun. */
  report: TiedLayer[] | null = null;
  readonly #args: RowTyingArgs;
  readonly #cluster: 'affinityPropagation' | 'equalRows' | ClusterRows;
  readonly #aggregation: Aggregation;
  readonly #every: 'batch' | 'epoch';
  readonly #maxClusterRatio: number;
  #targets: Target[] = [];
  #held: GrOWL[] = [];
  #endSharing: (() => void)[] = [];
  /** What this callback has tied in an earlier fit. */
  readonly #tied = new WeakSet<tfc.Tensor>();

  constructor(args: RowTyingArgs = {}) {
    super();
    checkKeys(WHO, args, ['layers', 'cluster', 'preference', 'damping', 'maxIterations', 'aggregation', 'every', 'maxClusterRatio', 'rows']);
    this.#args = args;
    if (args.layers !== undefined) {
      const names = checkNames(WHO, 'layers', args.layers);
      const twice = names.find((name, i) => names.indexOf(name) < i);
      if (twice !== undefined) throw new Error(`${WHO}: layers names '${twice}' twice. A layer can be tied once.`);
    }
    const { cluster = 'affinityPropagation' } = args;
    this.#cluster = typeof cluster === 'function' ? cluster : checkChoice<'affinityPropagation' | 'equalRows'>(WHO, 'cluster', cluster, ['affinityPropagation', 'equalRows']);
    for (const option of ['preference', 'damping', 'maxIterations'] as const) {
      if (args[option] !== undefined && cluster !== 'affinityPropagation') throw new Error(`${WHO}: ${option} has no effect without affinity propagation. Leave it out.`);
    }
    if (args.preference !== undefined) checkNumber(WHO, 'preference', args.preference, { expected: 'a finite number ≤ 1', holds: (x) => x <= 1 }, 'Similarities are at most 1.');
    checkNumber(WHO, 'damping', args.damping ?? 0.5, { expected: 'a number from 0.5 to less than 1', holds: (x) => x >= 0.5 && x < 1 });
    checkNumber(WHO, 'maxIterations', args.maxIterations ?? 200, integerAtLeast(1));
    this.#aggregation = checkChoice(WHO, 'aggregation', args.aggregation ?? 'average', ['average', 'sum']);
    this.#every = checkChoice(WHO, 'every', args.every ?? 'batch', ['batch', 'epoch']);
    this.#maxClusterRatio = checkNumber(WHO, 'maxClusterRatio', args.maxClusterRatio ?? 0.95, POSITIVE);
    checkChoice(WHO, 'rows', args.rows ?? 'inputs', ['inputs', 'outputs']);
    // The host unbinds the methods of callbacks that stand beside plain objects.
    this.onTrainBegin = this.onTrainBegin.bind(this);
    this.onEpochBegin = this.onEpochBegin.bind(this);
    this.onBatchEnd = this.onBatchEnd.bind(this);
    this.onEpochEnd = this.onEpochEnd.bind(this);
    this.onTrainEnd = this.onTrainEnd.bind(this);
  }

  override setParams(params: FitParams): void {
    super.setParams(params);
    joinFit(params, WHO);
  }

  override async onTrainBegin(): Promise<void> {
    const model = this.model as tfl.LayersModel | undefined;
    checkSameHost(WHO, model);
    checkStages(WHO, this.params);
    const targets: Target[] = [];
    const report: TiedLayer[] = [];
    for (const { layer, weight, layout } of this.#kernels(model)) {
      const matrix = toRows((await variableOf(weight).data()) as Float32Array, layout);
      const bad = matrix.findIndex((w) => !Number.isFinite(w));
      if (bad >= 0) throw new Error(`${WHO}: row ${Math.floor((bad * layout.rows) / matrix.length)} of layer '${layer.name}' is not finite. Train it again, or put good weights back, before tying.`);
      const live = liveRows(matrix, layout.rows);
      if (live.length === 0) throw new Error(`${WHO}: every row of layer '${layer.name}' is zero; there is nothing to tie. Train with a smaller penalty.`);
      const { labels, ...how } = this.#labels(layer, weight, matrix, layout.rows, live);
      const proposed = clustersOf(`${WHO}: cluster`, matrix, layout.rows, live, labels);
      // Ties that are there already stay, however few.
      const tied = this.#cluster === 'equalRows' ? proposed.clusters < live.length : proposed.clusters <= this.#maxClusterRatio * live.length;
      // Every row by itself: only zeros are kept.
      const shared = tied ? proposed : clustersOf(WHO, matrix, layout.rows, live, live);
      targets.push({ layer, weight, layout, shared });
      report.push({ layer: layer.name, weight: weight.originalName, rows: layout.rows, dead: layout.rows - live.length, clusters: shared.clusters, tied, labels: Array.from(shared.labels), ...how });
    }
    if (this.#cluster === 'equalRows' && !report.some(({ tied }) => tied)) throw new Error(`${WHO}: no layer has rows that are equal (${report.map(({ layer }) => layer).join(', ')}). Leave out cluster: 'equalRows' to tie similar ones.`);
    this.#targets = targets;
    this.report = report;
    for (const [t, target] of targets.entries()) {
      owners.set(variableOf(target.weight), this);
      if (report[t].tied) this.#tied.add(variableOf(target.weight));
      write(target);
    }
    this.#held = growlWeights(model).map(({ prior }) => prior);
    // Only while this fit runs, also where it fails.
    const goesOn = presentFit(model);
    for (const prior of this.#held) prior.hold(goesOn);
    if (this.#every === 'batch') this.#endSharing = targets.filter((_, t) => report[t].tied).map(({ weight, layout: { outer, inner }, shared }) => shareGradients(model, [{ weight, outer, inner, groups: shared.labels }], shared.clusters, this.#aggregation));
  }

  override async onTrainEnd(): Promise<void> {
    for (const prior of this.#held) prior.hold(null);
    for (const end of this.#endSharing) end();
  }

  override async onEpochBegin(): Promise<void> {
    const taken = this.#targets.find(({ weight }) => owners.get(variableOf(weight)) !== this);
    if (taken) await this.onTrainEnd();
    if (taken) throw new Error(`${WHO}: two callbacks tie the rows of layer '${taken.layer.name}'. Give each its own layers.`);
  }

  override async onBatchEnd(): Promise<void> {
    if (this.#every === 'batch') await this.#step();
  }

  override async onEpochEnd(_epoch: number, logs?: tfl.Logs): Promise<void> {
    if (this.#every === 'epoch') await this.#step();
    if (logs) logs['tiedRows'] = this.#targets.reduce((sum, { shared }) => sum + shared.clusters, 0);
  }

  /** The kernels to tie, and what their rows are. */
  #kernels(model: tfl.LayersModel): Omit<Target, 'shared'>[] {
    const { layers, rows = 'inputs' } = this.#args;
    const penalised = new Map(growlWeights(model).map(({ weight, prior }) => [weight, prior.rows]));
    const all = placedLayers(model);
    const unknown = layers?.find((name) => !all.some(({ layer }) => layer.name === name));
    if (unknown !== undefined) throw new Error(`${WHO}: the model has no layer '${unknown}'. Layers: ${all.map(({ layer }) => layer.name).join(', ')}.`);
    const kernels = all.flatMap(({ layer, carrier }) =>
      regularizerSlots(layer)
        .filter(({ slot, weight }) => !isBiasSlot(slot) && hasRows(weight.shape as number[]) && (layers === undefined ? penalised.has(weight) : layers.includes(layer.name)))
        .map(({ weight }) => ({ layer, weight, carrier, layout: rowLayout(weight.shape as number[], penalised.get(weight) ?? rows) })),
    );
    const bare = layers?.find((name) => !kernels.some(({ layer }) => layer.name === name));
    if (bare !== undefined) throw new Error(`${WHO}: layer '${bare}' has no kernel with rows to tie.`);
    if (kernels.length === 0) throw new Error(`${WHO}: no layer of the model has a growl penalty. Name the layers to tie: rowTying({layers: ['…']}).`);
    const frozen = kernels.find(({ weight, carrier }) => !carrier.trainableWeights.includes(weight));
    if (frozen) throw new Error(`${WHO}: layer '${frozen.layer.name}' is frozen. Make it trainable, or leave it out of \`layers\`.`);
    return kernels;
  }

  #labels(layer: Layer, weight: LayerVariable, matrix: Float32Array, rows: number, live: number[]): Pick<TiedLayer, 'converged' | 'iterations' | 'damping'> & { labels: ArrayLike<number> } {
    const other = { converged: true, iterations: 0, damping: null };
    const equal = equalRows(matrix, rows);
    const distinct = Math.max(...equal) + 1;
    const again = this.#tied.has(variableOf(weight));
    if (this.#cluster === 'equalRows' || (again && distinct < live.length)) return { ...other, labels: live.map((row) => equal[row]) };
    if (distinct < live.length) throw new Error(`${WHO}: rows of layer '${layer.name}' are tied already (${distinct} distinct of ${live.length}). Use cluster: 'equalRows' to train on with these ties, or leave the layer out.`);
    if (this.#cluster === 'affinityPropagation' && live.length > MAX_ITEMS) throw new Error(`${WHO}: layer '${layer.name}' has ${live.length} live rows; affinity propagation takes at most ${MAX_ITEMS}. Give a clustering function as \`cluster\`.`);
    const width = matrix.length / rows;
    const items = live.map((row) => matrix.slice(row * width, (row + 1) * width));
    const packed = new Float32Array(items.length * width);
    items.forEach((item, i) => packed.set(item, i * width));
    const similarity = rowSimilarity(packed, items.length);
    if (typeof this.#cluster === 'function') return { ...other, labels: this.#cluster(similarity, items) };
    const { preference = 0.6, damping = 0.5, maxIterations = 200 } = this.#args;
    const first = affinityPropagation(similarity, items.length, { preference, damping, maxIterations, improve: true });
    const how = ({ labels, converged, iterations }: typeof first, used: number) => ({ labels, converged, iterations, damping: used });
    if (first.converged) return how(first, damping);
    const heavier = Math.max(0.9, damping);
    const second = affinityPropagation(similarity, items.length, { preference, damping: heavier, maxIterations: 2 * maxIterations, improve: true });
    warnOnce(`${WHO}:${layer.name}`, `${WHO}: affinity propagation did not converge for layer '${layer.name}' with damping ${describe(damping)}; ${second.converged ? `it did with ${heavier}.` : 'the clusters of its last iteration are used. Try another preference, or a clustering function.'}`);
    return how(second, heavier);
  }

  async #step(): Promise<void> {
    const arrays = await Promise.all(this.#targets.map(async ({ weight, layout }) => toRows((await variableOf(weight).data()) as Float32Array, layout)));
    const stepped = this.#targets.map(({ shared }, t) => stepRows(shared, arrays[t], this.#every === 'batch' ? 'average' : this.#aggregation));
    const broken = stepped.findIndex((values) => !values.every(Number.isFinite));
    if (broken < 0) this.#targets.forEach(({ shared }, t) => (shared.values = stepped[t]));
    // With a broken step, values of before: the shared rows can still be put back.
    this.#targets.forEach(write);
    if (broken < 0) return;
    await this.onTrainEnd();
    throw new Error(`${WHO}: a shared row of layer '${this.#targets[broken].layer.name}' is not finite after a step. The shared rows were put back. Lower the learning rate or look for NaN in the data.`);
  }
}

function write({ weight, layout, shared }: Target): void {
  const tensor = tfc.tensor(fromRows(spreadRows(shared, layout.outer * layout.inner), layout), variableOf(weight).shape);
  // Not by the host's `write`, which would apply constraints.
  variableOf(weight).assign(tensor as never);
  tensor.dispose();
}

/** A callback that ties similar rows and keeps them tied. See {@link RowTying}. */
export function rowTying(args: RowTyingArgs = {}): RowTying {
  return new RowTying(args);
}
