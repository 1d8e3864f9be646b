/**
 * One convolution, or a block of them, applied several times with one set of weights.
 * Eigen, Rolfe, Fergus & LeCun 2013 (arXiv 1312.1847); Kim, Lee & Lee, DRCN, CVPR 2016; Tai, Yang & Liu, DRRN, CVPR 2017; Tai, Yang, Liu & Xu,
 * MemNet, ICCV 2017; Zhang et al., RDN, CVPR 2018; Köpüklü et al., LruNet, 2019; Guo et al., dynamic recursive networks, CVPR 2019.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Scalar, serialization, Tensor, Tensor1D } from '@tensorflow/tfjs-core';
import type { layers, Shape } from '@tensorflow/tfjs-layers';
import { disposeWithTape, isRecording, withoutTape } from '../../autodiff/tape.js';
import { shownShape } from '../../checks.js';
import { initializerOf, serialized, variableOf, type InitializerIdentifier, type LayerVariable, type RegularizedWeight, type Regularizer } from '../../host.js';
import { InnerRegularizers } from '../inner_regularizers.js';
import { checkCallLosses, OuterLayer, shapeList } from '../outer_layer.js';
import { RepeatedCalls } from '../repeated_calls.js';
import { Block } from './block.js';
import { channelShuffle, checkShuffledChannels } from './channels.js';
import { blockInputs, connected } from './connection.js';
import { GradientNorms } from './gradient_norms.js';
import { recur } from './loop.js';
import type { LoopContext, WeightOwner } from './loop_context.js';
import { LoopGate } from './loop_gate.js';
import { fusionInputs, isFusing, plainSum, weightedMean } from './readout.js';
import { checkRecursion, layersOf, recursionConfig, revivedParts, type RecursionOptions, type RecursiveConvArgs } from './recursion_options.js';

const WHO = 'RecursiveConv';

/**
 * h_d = body(h_{d−1}), d = 1 … `recursions`, h₀ = x, with one set of kernels, all inside of one call; in training exact gradients through all of
 * them. The choices are independent of each other:
 *
 * - what one recursion computes: the convolution that the options describe (1D or 2D, depthwise, grouped, dilated), or a `block`;
 * - how the input comes back: `connection`, see {@link Connection};
 * - what happens in between: `stateActivation`, `shuffle`; in the block `activation`, `preActivation`, `normalization`;
 * - what comes out: `head`, `readout` (see {@link Readout}), `everyStep`;
 * - how many recursions: all, or as a `gate` decides for each sample;
 * - whether weights are shared at all: `tied`.
 *
 * Input `[batch, …, channels]` with one or two axes of space, channels last; with readout 'memory' more inputs of the same space may follow, earlier
 * memories. Output: one tensor of the same space, and with `everyStep` then the output of each recursion. A mask is not looked at, as by the host's
 * convolution.
 *
 * Costs. Parameters: those of one recursion; of `normalization: 'perRecursion'` and `tied: false`, each times `recursions`. Time: that of as
 * many layers. Batch statistics need their own weights per recursion: shared ones break training.
 *
 * ```js
 * const model = tf.sequential();
 * model.add(recursiveConv({kernelSize: 3, filters: 64, recursions: 1, activation: 'relu', inputShape: [null, null, 1]}));
 * model.add(recursiveConv({kernelSize: 3, recursions: 9, activation: 'relu', connection: 'inputSkip'}));
 * ```
 *
 * A block of the host's layers, such as `layers.conv2d({padding: 'same', …})`, is applied with its weights, counted and saved once. With
 * `checkpoint` the insides of the recursions are computed again in the gradient instead of kept, the head's too: memory grows with the square root
 * of `recursions`. Where something is computed from all states at once, by readout 'fusion' or 'memory' or connection 'dense', or `everyStep`
 * puts all out, all D of them, or what the head makes of them, are held beside that.
 *
 * Convolutions keep the size ('same', strides 1) and train on every backend, wasm included, without `registerMissingKernels`. Dilated ones
 * too, which the host's cannot.
 *
 * Whether gradients vanish or explode on their way through the recursions: set `layer.watchesGradients = true`, evaluate gradients (`model.fit`
 * does), and `await layer.gradientNorms()`, one norm for each recursion.
 *
 * A gate is hard in inference. Where all samples of a batch have left (always told at batch 1), the rest is really skipped: on cpu, wasm and
 * tensorflow at once; on webgl, where looking at a decision stalls the GPU, at every `lookEvery`-th recursion; on webgpu never, there the states
 * of who left are only kept. In training nothing is skipped. Normalisation then takes its statistics over the samples that entered.
 *
 * When not to use it: where parameters do not matter. An untied network of the same depth takes as long and fits better.
 *
 * @throws Error for options that do not go together, channels that cannot be added, shuffled or grouped, and strides.
 */
export class RecursiveConv extends OuterLayer {
  /** @nocollapse */
  static readonly className = 'RecursiveConv';
  readonly recursions: number;
  /** Of a single shared convolution, where regularizers look for them; else null. */
  kernel: LayerVariable | null = null;
  bias: LayerVariable | null = null;
  kernelRegularizer: Regularizer | null = null;
  biasRegularizer: Regularizer | null = null;
  /** Of all other convolutions: those of a block, a head and a fusion, and those of each recursion. */
  readonly regularizedWeights: Record<string, RegularizedWeight>;
  /** Whether {@link gradientNorms} are noted. */
  watchesGradients = false;
  /** Of the last call: fewer than `recursions` where all samples of a batch left early. */
  computedRecursions = 0;
  readonly #args: RecursiveConvArgs;
  readonly #options: RecursionOptions;
  readonly #block: Block;
  readonly #head: Block | null;
  #fusion: Block | null = null;
  readonly #gate: LoopGate | null;
  readonly #norms: GradientNorms;
  readonly #regularizers: InnerRegularizers;
  readonly #calls = new RepeatedCalls();
  #stepWeights: LayerVariable | null = null;
  /** Those that the recursions use. */
  #chainWeights: LayerVariable[] = [];
  #depths: Tensor1D | null = null;
  #cost: Scalar | null = null;

  constructor(args: RecursiveConvArgs) {
    super(WHO, args ?? {}, layersOf(args ?? {}));
    this.#options = checkRecursion(WHO, args);
    this.#args = args;
    const { recursions, block, head, fusion, gate } = this.#options;
    this.recursions = recursions;
    this.#block = new Block(args.block === undefined ? WHO : `${WHO}: block`, block);
    this.#head = head && new Block(`${WHO}: head`, head);
    // Its errors now; it is made anew when the channels are known.
    const fusing = fusion && new Block(`${WHO}: fusion`, [fusion]);
    this.#gate = gate && new LoopGate(gate);
    this.#norms = new GradientNorms(recursions);
    if (this.#isSingle) {
      const { kernel, bias } = this.#block.units[0].regularizers;
      [this.kernelRegularizer, this.biasRegularizer] = [kernel, bias];
    }
    this.regularizedWeights = {
      ...(this.#isSingle ? {} : this.#block.regularizedWeights(this.#options.tied ? null : recursions, '')),
      ...this.#head?.regularizedWeights(null, '_head'),
      ...fusing?.regularizedWeights(null, '_fusion'),
    };
    this.#regularizers = new InnerRegularizers(WHO, args.innerRegularizers);
    // Under a name that no renaming of the layer changes.
    this.#regularizers.give([{ name: 'weights', regularizedWeights: this.regularizedWeights } as unknown as layers.Layer]);
  }

  get #isSingle(): boolean {
    return this.#args.block === undefined && this.#options.tied;
  }

  override build(inputShape: Shape | Shape[]): void {
    const { recursions, connection, tied, readout, fusion } = this.#options;
    const { space, inputs, memories, states, outputs, fused } = this.#plan(inputShape);
    const owner: WeightOwner = { add: (...args) => this.#add(...args) };
    this.#block.build(owner, blockInputs(connection, recursions, inputs, states), space, { tied, prefix: '' });
    this.#gate?.build(WHO, owner, states, recursions);
    this.#head?.build(owner, [states], space, { tied: true, prefix: '_head' });
    if (readout === 'weighted') this.#stepWeights = owner.add('step_weights', [recursions], 'ones');
    this.#chainWeights = this.weights;
    if (fusion !== null) {
      const seen = recursions * outputs + inputs + memories;
      this.#fusion = new Block(`${WHO}: fusion`, [{ ...fusion, filters: fused }]);
      for (const [slot, place] of Object.entries(this.#fusion.regularizedWeights(null, '_fusion'))) {
        place.regularizer = this.regularizedWeights[slot].regularizer;
        this.regularizedWeights[slot] = place;
      }
      this.#fusion.build(owner, [seen], space, { tied: true, prefix: '_fusion' });
    }
    if (this.#gate !== null && this.#gate.options.cost > 0) this.addLoss(() => this.#takeCost());
    if (this.#isSingle) [this.kernel, this.bias] = [this.#block.units[0].kernels[0] ?? null, this.#block.units[0].biases[0] ?? null];
    const shapes = shapeList(inputShape);
    this.inputSpec = shapes.map((shape) => ({ ndim: shape.length, axes: { [shape.length - 1]: shape[shape.length - 1]! } }));
    super.build(inputShape);
  }

  #add: WeightOwner['add'] = (name, shape, initializer, { regularizer, constraint, trainable = true } = {}) =>
    this.addWeight(name, shape, 'float32', typeof initializer === 'object' && 'apply' in initializer ? (initializer as never) : initializerOf(WHO, name, initializer as InitializerIdentifier), regularizer ?? undefined, trainable, constraint ?? undefined);

  /** What the shapes of the inputs mean. @throws Error where channels do not fit. */
  #plan(inputShape: Shape | Shape[]): ChannelPlan {
    const who = `${WHO} '${this.name}'`;
    const shapes = shapeList(inputShape);
    const { connection, recursions, readout, shuffle, fusion } = this.#options;
    const [x, ...others] = shapes;
    const inputs = x[x.length - 1];
    if ((x.length !== 3 && x.length !== 4) || inputs == null) throw new Error(`${who} expects [batch, length, channels] or [batch, height, width, channels] with a known number of channels, got ${shownShape(x)}.`);
    if (others.length > 0 && readout !== 'memory') throw new Error(`${who} takes one input; further ones, memories, are for readout 'memory'. Got shapes ${shapes.map(shownShape).join(', ')}.`);
    const space = x.slice(0, -1);
    const states = this.#block.channels(inputs, space);
    const keeps = connection === 'residual' || connection === 'inputSkip' || (connection === 'none' && recursions > 1);
    if (keeps && states !== inputs) {
      const why = connection === 'none' ? 'the next recursion takes what this one makes' : `connection '${connection}' adds them`;
      throw new Error(`${who}: the block makes ${states} channels of ${inputs}, and they must be as many: ${why}. Change the channels in a layer before it, or ${this.#block.advice(inputs)}.`);
    }
    if (shuffle !== null) checkShuffledChannels(who, states, shuffle);
    const outputs = this.#head?.channels(states, space) ?? states;
    others.forEach((shape, i) => checkMemory(who, x, shape, i));
    const memories = others.reduce((total, shape) => total + shape[shape.length - 1]!, 0);
    return { space, inputs, memories, states, outputs, fused: fusion === null ? outputs : (fusion.filters ?? inputs) };
  }

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor | Tensor[] {
    const given = Array.isArray(inputs) ? inputs : [inputs];
    const training = kwargs['training'] === true;
    const outputs = () =>
      tfc.tidy(() => {
        this.invokeCallHook(inputs, kwargs);
        return this.#outputs(given, training);
      });
    return this.#options.everyStep ? this.#calls.answer(given, this.trainableWeights, training, outputs) : outputs()[0];
  }

  /** The readout, and with `everyStep` what comes out of each recursion. */
  #outputs(given: readonly Tensor[], training: boolean): Tensor[] {
    const [x, ...memories] = given.map((input) => (input.dtype === 'float32' ? input : tfc.cast(input, 'float32')));
    const { checkpoint, connection, everyStep, readout } = this.#options;
    const summed = readout === 'sum' ? plainSum : readout === 'weighted' ? weightedMean(variableOf(this.#stepWeights!)) : null;
    const head = this.#head && ((h: Tensor, context: LoopContext) => tfc.tidy(() => this.#head!.apply(h, { ...context, recursion: 0, entered: null })));
    const { last, outputs, total, depths, computed } = recur(x, {
      recursions: this.recursions, training, gate: this.#gate, head, term: summed && summed.term,
      step: (input, states, context) => tfc.tidy(() => this.#step(input, states, context)),
      seesAll: connection === 'dense',
      emits: everyStep || isFusing(readout),
      checkpointed: checkpoint && isRecording() ? this.#recomputed() : null,
    }); // prettier-ignore
    this.#note(depths, computed, training);
    const context: LoopContext = { recursion: 0, training, entered: null, first: true };
    const lastOutput = (): Tensor => (everyStep ? outputs[outputs.length - 1] : (head?.(last, context) ?? last));
    const fused = (): Tensor => (isFusing(readout) ? this.#fusion!.apply(fusionInputs(readout, outputs, x, memories), context) : lastOutput());
    const main = summed === null ? fused() : summed.end(total!);
    return everyStep ? [main, ...outputs.map((output) => tfc.clone(output))] : [main];
  }

  /** The weights that what is recomputed depends on and that train, of which some may have been frozen when it was built. */
  #recomputed(): tfc.Variable[] {
    checkCallLosses(`${WHO} '${this.name}'`, 'checkpoint computes recursions again', this.innerLayers);
    const trainable = new Set(this.trainableWeights);
    return this.#chainWeights.filter((weight) => trainable.has(weight)).map(variableOf);
  }

  /** Which option keeps its calls from adding to the loss; null where they do not. */
  get lossOfCalls(): string | null {
    return (this.#gate?.options.cost ?? 0) > 0 ? 'gate: {cost: 0}' : null;
  }

  /** Keeps what {@link depths} tells, and the cost of the gates for the host to add to the loss. */
  #note(depths: Tensor1D | null, computed: number, training: boolean): void {
    this.computedRecursions = computed;
    this.#depths?.dispose();
    this.#depths = depths && tfc.keep(withoutTape(() => tfc.clone(depths)));
    const cost = this.#gate?.options.cost ?? 0;
    if (depths === null || cost === 0 || !training || !isRecording()) return;
    const added = tfc.mul(cost / this.recursions, tfc.mean(depths));
    this.#cost = tfc.keep(this.#cost?.isDisposed === false ? tfc.add(this.#cost, added) : added) as Scalar;
    disposeWithTape(this.#cost);
  }

  #takeCost(): Scalar {
    const cost = this.#cost;
    this.#cost = null;
    return cost === null || cost.isDisposed ? tfc.scalar(0) : tfc.clone(cost);
  }

  /** Recursions that each sample of the last call went through, [batch]. @throws Error without a gate, and before the first call. */
  async depths(): Promise<Float32Array> {
    if (this.#depths === null) throw new Error(`${WHO} '${this.name}': depths are known of a layer with a gate, after its first call.`);
    return (await this.#depths.data()) as Float32Array;
  }

  /** ‖∂L/∂h_d‖ of each recursion in the last gradient evaluation while `watchesGradients` was true; NaN where there was none. */
  gradientNorms(): Promise<number[]> {
    return this.#norms.read();
  }

  #step(x: Tensor, states: readonly Tensor[], context: LoopContext): Tensor {
    const { connection, stateActivation, shuffle } = this.#options;
    const activated = stateActivation.apply(connected(connection, (seen) => this.#block.apply(seen, context), x, states));
    const h = shuffle === null || context.recursion === this.recursions - 1 ? activated : channelShuffle(activated, shuffle);
    return this.watchesGradients && isRecording() ? this.#norms.watch(h, context.recursion) : h;
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape | Shape[] {
    const { space, outputs, fused } = this.#plan(inputShape);
    const main = [...space, fused];
    return this.#options.everyStep ? [main, ...Array.from({ length: this.recursions }, () => [...space, outputs])] : main;
  }

  override dispose(): ReturnType<layers.Layer['dispose']> {
    const result = super.dispose();
    if (result.refCountAfterDispose === 0) {
      this.#depths?.dispose();
      this.#depths = null;
      this.#norms.dispose();
    }
    return result;
  }

  override getConfig(): serialization.ConfigDict {
    const config = { ...super.getConfig(), ...recursionConfig(this.#args) };
    // As attached or detached later.
    if (this.#isSingle) Object.assign(config, { kernelRegularizer: serialized(this.kernelRegularizer), biasRegularizer: serialized(this.biasRegularizer) });
    const others = this.#regularizers.config();
    return others === null ? config : { ...config, innerRegularizers: others };
  }

  /** @nocollapse */
  static override fromConfig<T extends serialization.Serializable>(cls: serialization.SerializableConstructor<T>, config: serialization.ConfigDict, customObjects?: serialization.ConfigDict): T {
    return new cls(revivedParts(WHO, config, customObjects));
  }
}

/** @throws Error where a memory cannot stand beside the input x in the channels. */
function checkMemory(who: string, x: Shape, memory: Shape, i: number): void {
  const fits = memory.length === x.length && memory.slice(1, -1).every((length, axis) => length === null || x[axis + 1] === null || length === x[axis + 1]);
  if (fits && memory[memory.length - 1] != null) return;
  throw new Error(`${who}: memories must be as the input ${shownShape(x)} but for their channels, a known number; memory ${i} is ${shownShape(memory)}. Resize it, or give its channels, in a layer before.`);
}

interface ChannelPlan {
  /** Shape before the channels, batch included. */
  space: Shape;
  inputs: number;
  /** Of all further inputs together. */
  memories: number;
  states: number;
  /** Of each recursion, behind the head. */
  outputs: number;
  /** Of the readout. */
  fused: number;
}

/** A convolution, or a block of them, applied several times with one set of weights. See {@link RecursiveConv}. */
export function recursiveConv(args: RecursiveConvArgs): RecursiveConv {
  return new RecursiveConv(args);
}

tfc.serialization.registerClass(RecursiveConv);
