/**
 * A Transformer that is recurrent in depth, with adaptive computation time.
 * Dehghani, Gouws, Vinyals, Uszkoreit & Kaiser, Universal Transformers, ICLR 2019 (arXiv 1807.03819).
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Scalar, serialization, Tensor } from '@tensorflow/tfjs-core';
import { initializers, layers, type LayerVariable, type Shape } from '@tensorflow/tfjs-layers';
import type { ChainStep } from '../../autodiff/checkpoint.js';
import { disposeWithTape, isRecording, withoutTape } from '../../autodiff/tape.js';
import { shownShape } from '../../checks.js';
import { revivedLayer, serialized, variableOf, type Layer } from '../../host.js';
import { lookingOn } from '../../solvers/looking.js';
import { checkMask } from '../attention_inputs.js';
import { activeCache } from '../decoding_cache.js';
import { InnerRegularizers } from '../inner_regularizers.js';
import { applied, builtFor, checkCallLosses, OuterLayer, shapeList, watchStatistics } from '../outer_layer.js';
import { checkpointedLayers } from '../stand_ins.js';
import { adaptiveComputation, ponderCost, type Halting } from './adaptive_computation.js';
import { learnedRow, sinusoids } from './signals.js';
import { gateLayer, haltingLayer, TransformerStep, type StepContext } from './transformer_step.js';
import { universalSettings, type UniversalSettings, type UniversalTransformerArgs } from './universal_options.js';

/** How the positions of the last call halted. */
export interface HaltingReport {
  /** Steps that were computed: those of the slowest position where values can be looked at, else all. */
  steps: number;
  /** Steps of each position, [batch][time]; 0 for padding. */
  updates: number[][];
  /** What remained of 1 before the last step of each position that has halted, else 0. */
  remainders: number[][];
  /** Means over the positions that there are. */
  meanUpdates: number;
  meanRemainder: number;
  /** Share of the positions that had not halted after the most steps. */
  unhalted: number;
}

/**
 * h'_t = LN(B + Transition(B)), B = LN(A + Attention(A, memory)) in a decoder, A = LN(H + SelfAttention(H)), with H = h_{t−1} + position signal + signal of
 * step t; the same weights at all steps t = 1 … steps.
 *
 * `recurrence` makes the next state of h': `basic` h_t = h'_t; `highway` h_t = g ⊙ h'_t + (1 − g) ⊙ h_{t−1}; `skip` h_t = g ⊙ h'_t + (1 − g) ⊙ h_0, with
 * g = σ(W h_{t−1} + b), b = −1 at first; `act`: h_t = h'_t, and each position ends by itself, when the probabilities p_t = σ(w·H + b) that its
 * states give add up to 1 − ε; the output then is the sum of its states weighted by p_t, the last one by what remains of 1 (`accumulated`), or their
 * interpolation. A ponder cost (mean steps plus remainder, times `ponderWeight`) joins the training loss.
 *
 * Inputs: x `[batch, time, units]`; for a decoder `[x, memory]` or `[x, memory, mask]` with memory `[batch, memory time, width]` and a mask as
 * `multiHeadAttention` takes it. Output `[batch, time, units]`. A mask of the host (`maskZero`) hides keys, counts as halted, and passes on; of a memory, give
 * the mask as an input.
 *
 * Parameters: those of one Transformer layer (4·units² + 2·units·hiddenUnits, 4·units² more in a decoder), whatever `steps`. Time: that of `steps` such layers; with
 * `act`, on cpu, wasm and tensorflow, of as many as the slowest position of the batch takes, on GPUs of all (halted positions are masked). Memory in training:
 * all steps, or one with `checkpointing`.
 *
 * ```js
 * const ids = tf.input({shape: [null]});
 * const x = tiedEmbedding({inputDim: 20, outputDim: 64, maskZero: true}).apply(ids);
 * const y = universalTransformer({units: 64, numHeads: 4, steps: 8, recurrence: 'act'}).apply(x);
 * const model = tf.model({inputs: ids, outputs: tiedProjection().apply(y)});
 * await model.fit(xs, ys, {callbacks: [haltingMonitor()]});
 * ```
 *
 * In `cachedDecoding` a causal one with `transition: 'dense'` gives step by step what a whole pass gives; with `act` all steps are computed there.
 *
 * After a call {@link report} tells the steps and remainders of each position; `haltingMonitor()` logs their means.
 *
 * Deviations: where a position has not halted after the last step its weights add up to less than 1, as in the authors' code, but its ponder cost counts 1 − Σp
 * as remainder (Graves), so that it still learns to halt; the default of the halting bias is −3, not 1. When not to use it: at equal time separate layers
 * are better (`recurrentDepth` says so too); this one is for few parameters and for tasks whose depth depends on the input.
 */
export class UniversalTransformer extends OuterLayer {
  /** @nocollapse */
  static readonly className = 'UniversalTransformer';
  readonly #settings: UniversalSettings;
  readonly #step: TransformerStep;
  /** Of the recurrence: a gate, or the halting unit. */
  readonly #unit: Layer | null;
  readonly #regularizers: InnerRegularizers;
  #positions: LayerVariable | null = null;
  #steps: LayerVariable | null = null;
  #ponder: Tensor | null = null;
  #last: { halting: Halting; mask: Tensor | null; steps: number } | null = null;

  constructor(args: UniversalTransformerArgs) {
    const who = 'UniversalTransformer';
    const settings = universalSettings(who, args);
    const step = new TransformerStep(settings);
    const unit = settings.adaptive !== null ? haltingLayer(settings.adaptive.haltingBias) : settings.recurrence === 'basic' ? null : gateLayer(settings.units, settings.kernelRegularizer);
    super(who, args, [...step.layers, ...(unit === null ? [] : [unit])]);
    this.#settings = settings;
    this.#step = step;
    this.#unit = unit;
    this.#regularizers = new InnerRegularizers(who, args.innerRegularizers);
    // A transition of the user's tells of its own.
    this.#regularizers.give(this.innerLayers.filter((layer) => layer !== settings.transition));
    this.supportsMasking = true;
  }

  get settings(): Readonly<UniversalSettings> {
    return this.#settings;
  }

  override build(inputShape: Shape | Shape[]): void {
    const who = `UniversalTransformer '${this.name}'`;
    const [state, memory = null] = this.#checked(shapeList(inputShape));
    const { units, steps, positionSignal, stepSignal, maxLength } = this.#settings;
    this.#step.build(who, state, memory, (name, shape) => this.addWeight(name, shape, 'float32', initializers.glorotUniform({})));
    if (this.#unit !== null) builtFor(who, this.#unit, [state]);
    const signals = (name: string, rows: number) => this.addWeight(name, [rows, units], 'float32', initializers.randomNormal({ mean: 0, stddev: units ** -0.5 }));
    if (positionSignal === 'learned') this.#positions = signals('position_signals', maxLength!);
    if (stepSignal === 'learned') this.#steps = signals('step_signals', steps);
    if (this.#settings.adaptive !== null) this.addLoss(() => this.#takePonder());
    super.build(inputShape);
  }

  #checked(shapes: Shape[]): Shape[] {
    const who = `UniversalTransformer '${this.name}'`;
    const { units, numHeads, decoder, maxLength } = this.#settings;
    const [state, memory, mask] = shapes;
    const fits = decoder ? shapes.length === 2 || shapes.length === 3 : shapes.length === 1;
    if (!fits) throw new Error(`${who}: expected ${decoder ? '[x, memory] or [x, memory, mask of the memory], since it is a decoder' : 'one input, since it is no decoder'}, got ${shapes.length} inputs.`);
    if (state.length !== 3 || state[2] !== units) throw new Error(`${who}: expected an input [batch, time, ${units}], got ${shownShape(state)}. Make it ${units} wide with a dense layer or an embedding.`);
    if (memory !== undefined && (memory.length !== 3 || memory[2] == null)) throw new Error(`${who}: expected a memory [batch, time, width], got ${shownShape(memory)}.`);
    if (mask !== undefined) checkMask(who, mask, [state[0], numHeads, state[1], memory[1]]);
    if (maxLength !== null && state[1] != null && state[1] > maxLength) throw new Error(this.#tooLong(state[1]));
    return shapes;
  }

  #tooLong(length: number): string {
    return `UniversalTransformer '${this.name}': the sequence is ${length} long, but there are ${this.#settings.maxLength} learned positions. Use a larger maxLength, or positionSignal: 'sinusoidal'.`;
  }

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor {
    return tfc.tidy(() => {
      this.invokeCallHook(inputs, kwargs);
      const tensors = [inputs].flat();
      this.#checked(tensors.map(({ shape }) => shape));
      const [x, memory, memoryMask] = tensors;
      const padding = paddingOf(kwargs['mask'], x);
      const context: Record<string, Tensor | undefined> = { padding: padding ?? undefined, memory, memoryMask, first: this.#settings.recurrence === 'skip' ? x : undefined };
      const names = Object.keys(context).filter((name) => context[name] !== undefined);
      const training = kwargs['training'] === true;
      const { steps, adaptive, checkpointing, maxLength, transition } = this.#settings;
      const end = (activeCache(this)?.position ?? 0) + x.shape[1]!;
      if (maxLength !== null && end > maxLength) throw new Error(this.#tooLong(end));
      if (activeCache(this) !== null && transition === 'separableConvolution') {
        throw new Error(`UniversalTransformer '${this.name}': in cached decoding it sees the new positions alone, but its separable convolutions look at earlier ones. Use transition: 'dense', or decode with the whole sequence.`);
      }
      const given = names.map((name) => context[name]!);
      const chain = Array.from({ length: steps }, (_, t): ChainStep => ([h], more) => this.#next(h, t, Object.fromEntries(names.map((name, i) => [name, more[i]])), training));
      const recomputes = checkpointing && isRecording();
      if (recomputes) checkCallLosses(`UniversalTransformer '${this.name}'`, 'checkpointing computes each step again', this.innerLayers);
      const changed = watchStatistics(this.innerLayers);
      const checked = (result: Tensor): Tensor => {
        const statistic = recomputes ? changed() : null;
        if (statistic === null) return result;
        throw new Error(`UniversalTransformer '${this.name}': checkpointing calls each layer twice, which would count each batch twice in the running statistics '${statistic.name}'. Use layerNormalization, or checkpointing: false.`);
      };
      const args = { inputs: given, variables: recomputes ? [...this.trainableWeights, ...this.nonTrainableWeights].map(variableOf) : [], segment: 1 };
      if (adaptive === null) {
        if (recomputes) return checked(checkpointedLayers(chain, [x], args)[0]);
        return chain.reduce((h, step, t) => this.#freed(h, tfc.tidy(() => step([h], given)[0]), t > 0), x);
      }
      const { output, halting, steps: computed } = adaptiveComputation(x, {
        step: (h, t) => {
          const [state, probability] = recomputes ? checkpointedLayers([chain[t]], [h], args) : tfc.tidy(() => chain[t]([h], given));
          return { state, probability };
        },
        maxSteps: steps, epsilon: adaptive.epsilon, combine: adaptive.combine, mask: padding,
        // Later positions may go deeper, and then need the keys of all earlier ones there.
        looks: lookingOn() === 'free' && activeCache(this) === null,
      }); // prettier-ignore
      this.#remember(halting, padding, computed);
      if (training && isRecording() && adaptive.ponderWeight > 0) this.#addPonder(tfc.mul(adaptive.ponderWeight, ponderCost(halting, padding)));
      return checked(output);
    });
  }

  /** Which option keeps its calls from adding to the loss; null where they do not. */
  get lossOfCalls(): string | null {
    return (this.#settings.adaptive?.ponderWeight ?? 0) > 0 ? 'adaptive: {ponderWeight: 0}' : null;
  }

  /** The next state, and with `act` the probability of halting that was read before. */
  #next(h: Tensor, t: number, context: StepContext & { first?: Tensor }, training: boolean): Tensor[] {
    const { recurrence } = this.#settings;
    const start = this.#signalled(h, t);
    const next = this.#step.apply(start, context, training);
    if (recurrence === 'basic') return [next];
    const [gate] = applied(this.#unit!, [recurrence === 'act' ? start : h], { training });
    if (recurrence === 'act') return [next, tfc.squeeze(gate, [-1])];
    return [tfc.add(tfc.mul(gate, next), tfc.mul(tfc.sub(1, gate), recurrence === 'skip' ? context.first! : h))];
  }

  #signalled(h: Tensor, t: number): Tensor {
    const { positionSignal, stepSignal, units } = this.#settings;
    const time = h.shape[1]!;
    const from = activeCache(this)?.position ?? 0;
    const position = positionSignal === 'none' ? [] : [this.#positions === null ? sinusoids(1 + from, time, units) : tfc.slice(variableOf(this.#positions), [from, 0], [time, units])];
    const step = stepSignal === 'none' ? [] : [this.#steps === null ? tfc.reshape(sinusoids(t + 1, 1, units), [units]) : learnedRow(variableOf(this.#steps), t)];
    return [...position, ...step].reduce<Tensor>((sum, signal) => tfc.add(sum, signal), h);
  }

  #freed(before: Tensor, next: Tensor, owned: boolean): Tensor {
    if (owned && !isRecording()) before.dispose();
    return next;
  }

  #addPonder(cost: Tensor): void {
    // Called twice in a step: both count.
    this.#ponder = tfc.keep(this.#ponder?.isDisposed === false ? tfc.add(this.#ponder, cost) : cost);
    disposeWithTape(this.#ponder);
  }

  #takePonder(): Scalar {
    const cost = this.#ponder;
    this.#ponder = null;
    return cost === null || cost.isDisposed ? tfc.scalar(0) : (tfc.clone(cost) as Scalar);
  }

  #remember(halting: Halting, mask: Tensor | null, steps: number): void {
    this.#forget();
    const kept = <T extends Tensor | null>(tensor: T): T => (tensor === null ? tensor : (tfc.keep(withoutTape(() => tfc.clone(tensor as Tensor))) as T));
    const { probability, remainder, updates, running } = halting;
    this.#last = { halting: { probability: kept(probability), remainder: kept(remainder), updates: kept(updates), running: kept(running) }, mask: kept(mask), steps };
  }

  #forget(): void {
    if (this.#last !== null) tfc.dispose([Object.values(this.#last.halting) as Tensor[], this.#last.mask ?? []] as never);
    this.#last = null;
  }

  /** How the positions of the last call halted. Rejects before the first call, and without recurrence 'act'. */
  async report(): Promise<HaltingReport> {
    const who = `UniversalTransformer '${this.name}'`;
    if (this.#settings.adaptive === null) throw new Error(`${who}: nothing halts with recurrence '${this.#settings.recurrence}'. Use recurrence: 'act'.`);
    if (this.#last === null) throw new Error(`${who}: there is no report before the first call.`);
    const { halting, mask, steps } = this.#last;
    const time = halting.updates.shape[1]!;
    const [updates, remainders, running, there] = await Promise.all([halting.updates, halting.remainder, halting.running, mask].map(async (tensor) => (tensor === null ? null : Array.from(await tensor.data()))));
    const positions = there === null ? updates!.length : there.filter((value) => value !== 0).length;
    const mean = (values: number[]) => (positions === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / positions);
    const rows = (values: number[]) => Array.from({ length: values.length / time }, (_, i) => values.slice(i * time, (i + 1) * time));
    return { steps, updates: rows(updates!), remainders: rows(remainders!), meanUpdates: mean(updates!), meanRemainder: mean(remainders!), unhalted: mean(running!) };
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape {
    return this.#checked(shapeList(inputShape))[0];
  }

  override computeMask(_inputs: Tensor | Tensor[], mask?: Tensor | Tensor[]): Tensor {
    // The host's types know no null here; at run time it means: no mask.
    return ((Array.isArray(mask) ? mask[0] : mask) ?? null) as Tensor;
  }

  override dispose(): ReturnType<layers.Layer['dispose']> {
    const result = super.dispose();
    if (result.refCountAfterDispose === 0) this.#forget();
    return result;
  }

  override getConfig(): serialization.ConfigDict {
    const { transition, adaptive, kernelRegularizer, ...settings } = this.#settings;
    return {
      ...super.getConfig(),
      ...settings,
      transition: typeof transition === 'string' ? transition : serialized(transition),
      adaptive: adaptive === null ? null : { ...adaptive },
      kernelRegularizer: serialized(kernelRegularizer),
      innerRegularizers: this.#regularizers.config(),
    } as serialization.ConfigDict;
  }

  /** @nocollapse */
  static override fromConfig<T extends serialization.Serializable>(cls: serialization.SerializableConstructor<T>, config: serialization.ConfigDict, customObjects?: serialization.ConfigDict): T {
    const { transition, ...args } = config;
    return new cls({ ...args, transition: typeof transition === 'string' ? transition : revivedLayer('UniversalTransformer', transition, customObjects) });
  }
}

/** The host's mask of x: of several inputs the first; one of other lengths belongs elsewhere. */
function paddingOf(given: unknown, x: Tensor): Tensor | null {
  const mask = (Array.isArray(given) ? given[0] : given) as Tensor | null | undefined;
  return mask?.rank === 2 && mask.shape[0] === x.shape[0] && mask.shape[1] === x.shape[1] ? mask : null;
}

/** A Transformer with the same weights at each step in depth. See {@link UniversalTransformer}. */
export function universalTransformer(args: UniversalTransformerArgs): UniversalTransformer {
  return new UniversalTransformer(args);
}

tfc.serialization.registerClass(UniversalTransformer);
