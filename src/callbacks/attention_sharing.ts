/**
 * Finds out while a model trains which of its layers may share attention.
 * Xiao, Li, Zhu, Yu & Liu, Sharing Attention Weights for Fast Transformer, IJCAI 2019 (arXiv 1906.11024).
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { checkKeys, checkNumber, describe, integerAtLeast, NON_NEGATIVE } from '../checks.js';
import { allLayers, checkSameHost } from '../host.js';
import { chooseBlocks, divergenceSums, type DivergenceSums } from '../layers/jensen_shannon.js';
import { disposeMaps, leadersOf, SharedAttention, type StackMaps } from '../layers/shared_attention.js';
import { checkModelInputs } from './model_inputs.js';
import { adapted, isAtRest, startOfThreshold, type AdaptiveThreshold } from './sharing_threshold.js';

export interface AttentionSharingArgs {
  /** Inputs of the model on which the maps are compared: validation data, not what is trained on. Required. */
  data: Tensor | Tensor[];
  /** Least mean of 1 − divergence of a block, in nats: from 1 − ln 2 ≈ 0.31 (share all) to 1 (share equal maps only); or 'adaptive'. Required. */
  threshold: number | 'adaptive';
  /** Epochs of training between comparisons. Integer ≥ 1. Default 1. */
  interval?: number;
  /** Samples at a time in comparing. Integer ≥ 1. Default 32. */
  batchSize?: number;
  /** With 'adaptive': how much larger than the smallest so far a validation loss may be, as a share of it. Default 0.01. */
  tolerance?: number;
  /** Name of the stack, where the model has several. Default: the only one. */
  layer?: string | null;
}

/** A comparison of the layers' maps and what came of it. */
export interface SharingRecord {
  epoch: number;
  threshold: number;
  policy: number[];
  memoryPolicy: number[];
  /** [layers, layers]: mean divergence in nats, −1 where it was never measured, since the two have shared from the first comparison on. */
  divergence: number[][];
  /** The same of attention over the memory; null without one. */
  memoryDivergence: number[][] | null;
  valLoss: number | null;
  /** Whether the policy is as before. */
  unchanged: boolean;
}

const WHO = 'attentionSharing';
const OPTIONS = ['data', 'threshold', 'interval', 'batchSize', 'tolerance', 'layer'] as const;

/**
 * Decides the policy of a `sharedAttention` stack by how alike its layers' attention maps are. Every `interval` epochs it
 *
 * 1. measures, over `data`, JS_ij = mean over samples, heads and queries of the Jensen–Shannon divergence (natural logarithm) of the rows of the maps of
 *    layers i and j;
 * 2. takes, from the lowest layer upward, the largest block m … n whose similarity, the mean over its pairs of 1 − JS_ij, is at least the threshold;
 * 3. lets the stack share within these blocks, and training goes on with that.
 *
 * Layers that use another's maps make none: their pairs keep the values measured while they did. So sharing grows at a fixed threshold, and the policy comes to
 * rest; after two comparisons without a change it is {@link stable} and measuring ends. With `threshold: 'adaptive'` the threshold begins at 0.95 and falls while
 * validation loss stays within `tolerance` of its best, and rises again, in smaller and smaller steps, when it does not; blocks whose similarity, as it was measured
 * before they shared, is below it then split. What has not trained yet looks alike: let the model train before, or `interval` be several epochs.
 *
 * Pairs are not measured again while they share: query and key weights that nothing uses do not train, so the maps that they would make say nothing of those that they
 * would learn. Layers that shared before the first comparison, in a fit before, in a loaded model or by the stack's `policy`, were never measured apart; they count by the
 * maps that they use, so as equal in one block. Such blocks stay together whatever the threshold, and may grow. To begin anew, `setPolicy` first.
 *
 * Where the model calls the stack several times, the means are over all calls.
 *
 * ```js
 * const sharing = attentionSharing({data: xValidation, threshold: 0.9, interval: 2});
 * await model.fit(x, y, {epochs: 20, validationData: [xValidation, yValidation], callbacks: [sharing]});
 * sharing.records.at(-1).divergence;                       // a matrix in nats; similarityHeatMap says how to draw it
 * const {model: small} = await removeUnusedProjections(model);
 * ```
 *
 * The policy is part of the layer's config and saved with the model. It puts `NAME_sharedLayers` into the history: layers that use another's attention weights.
 *
 * Deviation from the paper, which retrains from scratch after each decision and learns the threshold together with the model: here training goes on.
 */
export class AttentionSharing extends tfl.Callback {
  readonly #args: Required<AttentionSharingArgs>;
  #stack: SharedAttention | null = null;
  #model: tfl.LayersModel | null = null;
  #adaptive: AdaptiveThreshold | null = null;
  /** Null before the first comparison. */
  #known: Record<Kind, Known> | null = null;
  #resting = 0;
  /** The policies as this callback has left them; null before the first comparison. */
  #chosen: string | null = null;
  /** One for each comparison, the last one last. */
  readonly records: SharingRecord[] = [];

  constructor(args: AttentionSharingArgs) {
    super();
    if (typeof args !== 'object' || args === null) throw new Error(`${WHO}: expected an options object with data and threshold, got ${describe(args)}.`);
    checkKeys(WHO, args, OPTIONS);
    const { data, threshold, layer = null } = args;
    const tensors = [data].flat();
    if (tensors.length === 0 || !tensors.every((tensor) => tensor instanceof tfc.Tensor)) throw new Error(`${WHO}: data must be inputs of the model, a tensor or a list of them, got ${describe(data)}.`);
    if (threshold !== 'adaptive') checkNumber(WHO, 'threshold', threshold, { expected: "'adaptive' or a number in [0, 1]", holds: (x) => x >= 0 && x <= 1 }, 'It is the least mean of 1 − divergence (nats) of a block.');
    if (args.tolerance !== undefined && threshold !== 'adaptive') throw new Error(`${WHO}: tolerance belongs to threshold 'adaptive', which is ${threshold} here. Leave it out.`);
    this.#args = {
      data, threshold, layer,
      interval: checkNumber(WHO, 'interval', args.interval ?? 1, integerAtLeast(1)),
      batchSize: checkNumber(WHO, 'batchSize', args.batchSize ?? 32, integerAtLeast(1)),
      tolerance: checkNumber(WHO, 'tolerance', args.tolerance ?? 0.01, NON_NEGATIVE),
    }; // prettier-ignore
    // The host unbinds the methods of callbacks that stand beside plain objects.
    this.onTrainBegin = this.onTrainBegin.bind(this);
    this.onEpochEnd = this.onEpochEnd.bind(this);
  }

  /** Whether two comparisons in a row left the policy as it was, with a threshold at rest. */
  get stable(): boolean {
    return this.#resting >= 2 && (this.#adaptive === null || isAtRest(this.#adaptive));
  }

  override async onTrainBegin(): Promise<void> {
    this.#model = this.model as tfl.LayersModel;
    const stack = stackOf(this.#model, this.#args.layer);
    checkModelInputs(WHO, [this.#args.data].flat(), this.#model);
    if (stack === this.#stack && (this.#chosen === null || this.#chosen === policiesOf(stack))) return;
    // What was found out is of another stack, or of policies that somebody has set since.
    this.#chosen = null;
    [this.#stack, this.#known, this.#resting] = [stack, null, 0];
    this.#adaptive = this.#args.threshold === 'adaptive' ? startOfThreshold() : null;
  }

  override async onEpochEnd(epoch: number, logs: Record<string, unknown> = {}): Promise<void> {
    const stack = this.#stack!;
    if ((epoch + 1) % this.#args.interval === 0 && !this.stable) await this.#compare(epoch, stack, await valueOf(logs['val_loss']));
    logs[`${stack.name}_sharedLayers`] = stack.numLayers - stack.policy.length;
  }

  async #compare(epoch: number, stack: SharedAttention, valLoss: number | null): Promise<void> {
    if (this.#adaptive !== null && valLoss === null) throw new Error(`${WHO}: threshold 'adaptive' follows the validation loss, and there is none. Give fit validationData, or a number as threshold.`);
    this.#known ??= { self: unmeasured(stack.policy), memory: unmeasured(stack.memoryPolicy) };
    const { self, memory } = this.#known;
    const hasMemory = await this.#measure(stack, this.#known);
    const threshold = this.#adaptive === null ? (this.#args.threshold as number) : this.#adaptive.threshold;
    const chosen = ({ divergence, leaders }: Known) => chooseBlocks(divergence, threshold, leaders);
    const policy = chosen(self);
    const memoryPolicy = hasMemory ? chosen(memory) : [...stack.memoryPolicy];
    const unchanged = policy.join() === stack.policy.join() && memoryPolicy.join() === stack.memoryPolicy.join();
    this.#resting = unchanged ? this.#resting + 1 : 0;
    stack.setPolicy({ policy, memoryPolicy });
    this.#chosen = policiesOf(stack);
    const copy = ({ divergence }: Known) => divergence.map((row) => [...row]);
    this.records.push({ epoch, threshold, policy, memoryPolicy, divergence: copy(self), memoryDivergence: hasMemory ? copy(memory) : null, valLoss, unchanged });
    // The loss is that of what was shared until now: the next threshold goes by it.
    if (this.#adaptive !== null) this.#adaptive = adapted(this.#adaptive, valLoss!, this.#args.tolerance);
  }

  /** Fills in the divergences of all pairs that make maps, means over all calls of the stack; whether there is a memory. */
  async #measure(stack: SharedAttention, known: Record<Kind, Known>): Promise<boolean> {
    const inputs = [this.#args.data].flat();
    const sums = { self: new PairMeans(stack.numLayers), memory: new PairMeans(stack.numLayers) };
    for (let from = 0; from < inputs[0].shape[0]; from += this.#args.batchSize) {
      const calls = this.#mapsOf(stack, inputs, from);
      for (const kind of ['self', 'memory'] as const) for (const maps of calls) sums[kind].add(await divergenceSums(maps[kind]));
      disposeMaps(calls);
    }
    sums.self.into(known.self.divergence);
    sums.memory.into(known.memory.divergence);
    return sums.memory.rows > 0;
  }

  #mapsOf(stack: SharedAttention, inputs: Tensor[], from: number): StackMaps[] {
    return stack.mapsDuring(() =>
      tfc.tidy(() => {
        const batch = inputs.map((input) => tfc.slice(input, from, Math.min(this.#args.batchSize, input.shape[0] - from)));
        this.#model!.apply(batch.length === 1 ? batch[0] : batch, { training: false });
      }),
    );
  }
}

const policiesOf = ({ policy, memoryPolicy }: SharedAttention): string => JSON.stringify([policy, memoryPolicy]);

type Kind = keyof StackMaps;

/** What is known of one kind of attention. */
interface Known {
  /** [layers, layers], in nats, from the last comparison at which both layers made maps; −1 before. */
  divergence: number[][];
  /** For each layer the one whose maps it used at the first comparison. */
  leaders: number[];
}

function unmeasured(blocks: readonly number[]): Known {
  const leaders = leadersOf(blocks);
  return { leaders, divergence: leaders.map((_, i) => leaders.map((_, j) => (i === j ? 0 : -1))) };
}

/** Means over rows, gathered batch by batch and call by call. */
class PairMeans {
  readonly #sums: number[][];
  rows = 0;

  constructor(layers: number) {
    this.#sums = Array.from({ length: layers }, () => Array<number>(layers).fill(0));
  }

  add({ sums, rows }: DivergenceSums): void {
    // A call without a memory says nothing about attention over it.
    if (rows === 0) return;
    this.rows += rows;
    this.#sums.forEach((row, i) => row.forEach((_, j) => (row[j] = sums[i][j] < 0 ? -1 : row[j] + sums[i][j])));
  }

  /** Writes what was measured; the rest stays. */
  into(matrix: number[][]): void {
    if (this.rows === 0) return;
    this.#sums.forEach((row, i) => row.forEach((sum, j) => (matrix[i][j] = sum < 0 ? matrix[i][j] : sum / this.rows)));
  }
}

function stackOf(model: tfl.LayersModel, name: string | null): SharedAttention {
  checkSameHost(WHO, model);
  const stacks = allLayers(model).filter((layer): layer is SharedAttention => layer instanceof SharedAttention);
  const names = stacks.map((stack) => `'${stack.name}'`).join(', ');
  const found = name === null ? stacks : stacks.filter((stack) => stack.name === name);
  if (found.length > 1) throw new Error(`${WHO}: the model has several sharedAttention layers: ${names}. Say which: layer: ${names.split(', ')[0]}.`);
  if (found.length === 0) throw new Error(`${WHO}: the model has no sharedAttention${name === null ? '' : ` '${name}'`}. It has: ${stacks.length > 0 ? names : allLayers(model).map((layer) => layer.name).join(', ')}.`);
  if (found[0].compact) throw new Error(`${WHO}: '${found[0].name}' is compact: its policy cannot be changed any more.`);
  return found[0];
}

async function valueOf(logged: unknown): Promise<number | null> {
  if (logged === undefined || logged === null) return null;
  return typeof logged === 'number' ? logged : (await (logged as Tensor).data())[0];
}

/** A callback that decides which layers share attention. See {@link AttentionSharing}. */
export const attentionSharing = (args: AttentionSharingArgs): AttentionSharing => new AttentionSharing(args);
