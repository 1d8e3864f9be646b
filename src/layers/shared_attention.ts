/**
 * A Transformer stack in which adjacent layers share attention.
 * Xiao, Li, Zhu, Yu & Liu, Sharing Attention Weights for Fast Transformer, IJCAI 2019 (arXiv 1906.11024).
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { serialization, Tensor, Tensor4D } from '@tensorflow/tfjs-core';
import type { LayerVariable, Shape } from '@tensorflow/tfjs-layers';
import { checkBoolean, checkKeys, checkNumber, describe, integerAtLeast, shownShape } from '../checks.js';
import { activationOf, LAYER_OPTIONS, regularizerOf, serialized, type Activation, type ActivationIdentifier, type Layer, type LayerArgs, type Regularizer, type RegularizerIdentifier } from '../host.js';
import { agree, fittingHeads, SHARE } from './attention_inputs.js';
import { InnerRegularizers, type InnerRegularizer } from './inner_regularizers.js';
import { OuterLayer, shapeList } from './outer_layer.js';
import { stackLayers, type StackLayer } from './shared_attention_layers.js';

export interface SharedAttentionArgs extends LayerArgs {
  /** Number of layers. Integer ≥ 1. Required. */
  numLayers: number;
  /** Number of heads, which must divide the width. Integer ≥ 1. Required. */
  numHeads: number;
  /** Width between the two dense maps of a layer. Integer ≥ 1. Default null: four times the width. */
  units?: number | null;
  /** Lengths of the blocks of layers with one set of attention weights, the lowest block first. Default: all 1, nothing is shared. */
  policy?: number[] | null;
  /** The same for attention over the memory, of which a block shares the output. Default: all 1. */
  memoryPolicy?: number[] | null;
  /** Whether a position looks at no later one. Default false. */
  causal?: boolean;
  /** Share left out in training of attention weights and of what each part of a layer adds, in [0, 1). Default 0. */
  dropout?: number;
  /** Between the two dense maps. Default 'relu'. */
  activation?: ActivationIdentifier;
  /** Whether weights exist only where the policy uses them, so that it cannot be changed any more. Default false. */
  compact?: boolean;
  /** Of every kernel. */
  kernelRegularizer?: RegularizerIdentifier | null;
  /** What layers inside have otherwise, as `getConfig` tells it after `attachRegularizer`. */
  innerRegularizers?: InnerRegularizer[] | null;
}

const OPTIONS = ['numLayers', 'numHeads', 'units', 'policy', 'memoryPolicy', 'causal', 'dropout', 'activation', 'compact', 'kernelRegularizer', 'innerRegularizers', ...LAYER_OPTIONS] as const;

/** Which layers' attention is shared. */
export interface SharingPolicy {
  policy: number[];
  memoryPolicy: number[];
}

/** The attention weights that a call made: of each layer that makes its own, null for the others. */
export interface StackMaps {
  self: (Tensor4D | null)[];
  memory: (Tensor4D | null)[];
}

/** For each layer the first of its block, whose maps it uses. */
export function leadersOf(blocks: readonly number[]): number[] {
  const starts = blocks.map((_, i) => blocks.slice(0, i).reduce((sum, length) => sum + length, 0));
  return blocks.flatMap((length, i) => Array<number>(length).fill(starts[i]));
}

/** @throws Error if the blocks are not `count` layers. */
function checkedLeaders(who: string, option: string, blocks: unknown, count: number): number[] {
  const lengths = blocks as number[];
  const sensible = Array.isArray(blocks) && lengths.every((length) => Number.isInteger(length) && length >= 1) && lengths.reduce((sum, length) => sum + length, 0) === count;
  if (!sensible) throw new Error(`${who}: ${option} must be lengths ≥ 1 of blocks that together are the ${count} layers, got ${describe(blocks)}.`);
  return leadersOf(lengths);
}

/**
 * `numLayers` Transformer layers, each x ← x + attention(LN(x)), with a memory x ← x + attention(LN(x), memory), x ← x + dense(f(dense(LN(x)))), and a last LN,
 * where within a block of `policy` all layers use the attention weights softmax(Q·Kᵀ/√d) of the first, each with its own values; and within one of `memoryPolicy`
 * the output of the first one's attention over the memory.
 *
 * Inputs: `x` `[batch, time, width]`; or `[x, memory]`, then each layer looks at the memory `[batch, memory time, memory width]` too; or `[x, memory, mask]`, numbers
 * ≠ 0 `[batch, memory time]` where the memory may be looked at. Output as `x`. A mask of the host hides positions of x and passes on.
 *
 * A layer that uses another's weights needs no products with query and key kernels, no scores and no softmax, and in `cachedDecoding` no kept keys.
 * Parameters: 4·width² + 2·width·units (+ biases) per layer, 2·width² fewer for one that shares, in a `compact` stack; else weights of all
 * layers exist, for {@link setPolicy} to change what is shared while training goes on, as `attentionSharing` does. `removeUnusedProjections` makes a model compact.
 *
 * ```js
 * const x = positionEmbedding().apply(tiedEmbedding({inputDim: 65, outputDim: 128}).apply(tf.input({shape: [null]})));
 * const y = sharedAttention({numLayers: 6, numHeads: 4, causal: true, policy: [2, 2, 2]}).apply(x);
 * ```
 *
 * Deviation from the paper: layers normalise what goes into them (pre-norm), which trains without warm-up.
 *
 * When not to use it: where layers look at different places, sharing costs accuracy; `attentionSharing` measures it.
 */
export class SharedAttention extends OuterLayer {
  /** @nocollapse */
  static readonly className = 'SharedAttention';
  readonly numLayers: number;
  readonly numHeads: number;
  readonly units: number | null;
  readonly causal: boolean;
  readonly dropout: number;
  readonly activation: Activation;
  readonly compact: boolean;
  readonly kernelRegularizer: Regularizer | null;
  readonly #regularizers: InnerRegularizers;
  #stack: StackLayer[] = [];
  #final: Layer | null = null;
  #policy: SharingPolicy;
  #leaders: number[] = [];
  #memoryLeaders: number[] = [];
  #recording: StackMaps[] | null = null;

  constructor(args: SharedAttentionArgs) {
    const who = 'SharedAttention';
    super(who, args ?? {}, []);
    if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected an options object with numLayers and numHeads, got ${describe(args)}.`);
    checkKeys(who, args, OPTIONS);
    this.numLayers = checkNumber(who, 'numLayers', args.numLayers, integerAtLeast(1));
    this.numHeads = checkNumber(who, 'numHeads', args.numHeads, integerAtLeast(1));
    this.units = args.units == null ? null : checkNumber(who, 'units', args.units, integerAtLeast(1));
    this.causal = checkBoolean(who, 'causal', args.causal ?? false);
    this.dropout = checkNumber(who, 'dropout', args.dropout ?? 0, SHARE);
    this.activation = activationOf(who, 'activation', args.activation ?? 'relu');
    this.compact = checkBoolean(who, 'compact', args.compact ?? false);
    this.kernelRegularizer = regularizerOf(who, 'kernelRegularizer', args.kernelRegularizer);
    this.#regularizers = new InnerRegularizers(who, args.innerRegularizers);
    const unshared = Array<number>(this.numLayers).fill(1);
    this.#policy = { policy: args.policy ?? unshared, memoryPolicy: args.memoryPolicy ?? unshared };
    this.#takePolicy(who);
    this.supportsMasking = true;
  }

  get policy(): readonly number[] {
    return this.#policy.policy;
  }

  get memoryPolicy(): readonly number[] {
    return this.#policy.memoryPolicy;
  }

  /** Shares otherwise from now on; what is not named stays. @throws Error for blocks that are not the layers, and in a compact stack. */
  setPolicy(changes: Partial<SharingPolicy>): void {
    const who = `SharedAttention '${this.name}'`;
    checkKeys(`${who}: setPolicy`, changes, ['policy', 'memoryPolicy']);
    if (this.compact) throw new Error(`${who}: is compact: projections that its policy does not use do not exist. Set the policy before removeUnusedProjections().`);
    const before = this.#policy;
    this.#policy = { ...before, ...changes };
    try {
      this.#takePolicy(who);
    } catch (error) {
      this.#policy = before;
      throw error;
    }
  }

  #takePolicy(who: string): void {
    const leaders = checkedLeaders(who, 'policy', this.#policy.policy, this.numLayers);
    this.#memoryLeaders = checkedLeaders(who, 'memoryPolicy', this.#policy.memoryPolicy, this.numLayers);
    this.#leaders = leaders;
    this.#policy = { policy: [...this.#policy.policy], memoryPolicy: [...this.#policy.memoryPolicy] };
  }

  override build(inputShape: Shape | Shape[]): void {
    const shapes = this.#shapes(inputShape);
    const uses = (i: number) => ({ self: !this.compact || this.#leaders[i] === i, memory: !this.compact || this.#memoryLeaders[i] === i });
    const { stack, final } = stackLayers(this, shapes[0], shapes[1] ?? null, uses, this.#regularizers);
    this.#stack = stack;
    this.#final = final;
    this.innerLayers = [...stack.flatMap((layer) => layer.all), final];
    // That this one is frozen must reach them.
    if (!this.trainable) this.trainable = false;
    super.build(inputShape);
  }

  #shapes(inputShape: Shape | Shape[]): Shape[] {
    const who = `SharedAttention '${this.name}'`;
    const shapes = shapeList(inputShape);
    const whole = shapes.slice(0, 2).every((shape) => shape.length === 3 && shape[2] != null);
    if (!whole || shapes.length > 3 || (shapes.length === 3 && shapes[2].length !== 2)) {
      throw new Error(`${who}: expected x [batch, time, width], and perhaps a memory [batch, time, width] and its mask [batch, time], got ${shapes.map(shownShape).join(', ')}.`);
    }
    const [x, memory, mask] = shapes;
    const width = x[2] as number;
    if (width % this.numHeads !== 0) throw new Error(`${who}: numHeads must divide the width, got ${this.numHeads} heads and width ${width}. Use ${fittingHeads(this.numHeads, width)} heads, or make x wider with a dense layer.`);
    if (mask !== undefined && !(agree(mask[0], memory[0]) && agree(mask[1], memory[1]))) throw new Error(`${who}: expected a mask of the memory ${shownShape(memory.slice(0, 2))}, a number for each of its positions, got ${shownShape(mask)}.`);
    return shapes;
  }

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor {
    return tfc.tidy(() => {
      this.invokeCallHook(inputs, kwargs);
      const given = [inputs].flat() as Tensor[];
      this.#shapes(given.map(({ shape }) => shape));
      const [input, memory = null, mask = null] = given;
      const training = kwargs['training'] === true;
      const known = kwargs['mask'] as Tensor | Tensor[] | null | undefined;
      const padding = paddingOf(Array.isArray(known) ? known[0] : known, input);
      const added = (x: Tensor, part: Tensor) => tfc.add(x, training && this.dropout > 0 ? tfc.dropout(part, this.dropout) : part);
      let x = input;
      let maps: Tensor4D | null = null;
      let seen: Tensor | null = null;
      const record = this.#newRecord();
      for (const [i, layer] of this.#stack.entries()) {
        const own = layer.normalized(x);
        const leads = this.#leaders[i] === i;
        const alone = leads && this.#leaders.filter((leader) => leader === i).length === 1;
        if (alone && record === null) {
          x = added(x, layer.attention.attended(own, own, own, { padding }, training));
        } else {
          if (leads) maps = recorded(record?.self, i, layer.attention.maps(own, own, { padding }));
          x = added(x, layer.attention.attend(maps!, own, training));
        }
        if (memory !== null) {
          if (this.#memoryLeaders[i] === i) {
            const [attention, query] = [layer.memoryAttention!, layer.normalizedForMemory(x)];
            if (record === null) seen = attention.attended(query, memory, memory, { mask }, training);
            else seen = attention.attend(recorded(record.memory, i, attention.maps(query, memory, { mask })), memory, training);
          }
          x = added(x, seen!);
        }
        x = added(x, layer.dense(x));
      }
      return this.#final!.apply(x) as Tensor;
    });
  }

  /** Of a call, while somebody looks. */
  #newRecord(): StackMaps | null {
    if (this.#recording === null) return null;
    const none = (): null[] => Array<null>(this.numLayers).fill(null);
    const record: StackMaps = { self: none(), memory: none() };
    this.#recording.push(record);
    return record;
  }

  /** The attention weights that the layers make while `f` runs, for each call of this layer in it; the caller disposes of them ({@link disposeMaps}). */
  mapsDuring(f: () => void): StackMaps[] {
    const recording: StackMaps[] = [];
    this.#recording = recording;
    try {
      f();
    } catch (error) {
      disposeMaps(recording);
      throw error;
    } finally {
      this.#recording = null;
    }
    return recording;
  }

  /** The weights that the policy uses, as a compact stack holds them. */
  get usedWeights(): LayerVariable[] {
    return this.#stack.flatMap(({ all, attention, memoryAttention, memoryNorm }, i) =>
      all.flatMap((layer) => {
        if (layer === attention && this.#leaders[i] !== i) return attention.weights.filter((weight) => !attention.queryAndKey.includes(weight));
        if ((layer === memoryAttention || layer === memoryNorm) && this.#memoryLeaders[i] !== i) return [];
        return layer.weights;
      }),
    ).concat(this.#final?.weights ?? []); // prettier-ignore
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape {
    return this.#shapes(inputShape)[0];
  }

  override computeMask(_inputs: Tensor | Tensor[], mask?: Tensor | Tensor[]): Tensor {
    return ((Array.isArray(mask) ? mask[0] : mask) ?? null) as Tensor;
  }

  override getConfig(): serialization.ConfigDict {
    return {
      ...super.getConfig(),
      numLayers: this.numLayers,
      numHeads: this.numHeads,
      units: this.units,
      policy: [...this.policy],
      memoryPolicy: [...this.memoryPolicy],
      causal: this.causal,
      dropout: this.dropout,
      activation: this.activation.getClassName(),
      compact: this.compact,
      kernelRegularizer: serialized(this.kernelRegularizer),
      innerRegularizers: this.#regularizers.config(),
    };
  }
}

function recorded(record: (Tensor4D | null)[] | undefined, layer: number, maps: Tensor4D): Tensor4D {
  if (record !== undefined) record[layer] = tfc.keep(tfc.clone(maps));
  return maps;
}

export const disposeMaps = (calls: readonly StackMaps[]): void => tfc.dispose(calls.flatMap(({ self, memory }) => [...self, ...memory]).filter((map) => map !== null));

const paddingOf = (mask: Tensor | null | undefined, x: Tensor): Tensor | null => (mask?.rank === 2 && mask.shape[0] === x.shape[0] && mask.shape[1] === x.shape[1] ? mask : null);

/** A Transformer stack in which adjacent layers share attention. See {@link SharedAttention}. */
export const sharedAttention = (args: SharedAttentionArgs): SharedAttention => new SharedAttention(args);

tfc.serialization.registerClass(SharedAttention);
