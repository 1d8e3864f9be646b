/**
 * Layers applied in depth with shared weights.
 * Dabre & Fujita, Recurrent Stacking of Layers, AAAI 2019 (arXiv 1807.05353); groups as in ALBERT, Lan et al., ICLR 2020 (arXiv 1909.11942).
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { serialization, Tensor } from '@tensorflow/tfjs-core';
import { initializers, type LayerVariable, type Shape } from '@tensorflow/tfjs-layers';
import type { ChainStep } from '../../autodiff/checkpoint.js';
import { isRecording } from '../../autodiff/tape.js';
import { checkBoolean, checkChoice, checkKeys, checkNumber, describe, integerAtLeast, shownShape } from '../../checks.js';
import { LAYER_OPTIONS, revivedLayer, serialized, variableOf, type Layer, type LayerArgs } from '../../host.js';
import { applied, builtFor, checkCallLosses, OuterLayer, revivedLayers, savedLayers, shapeList, watchStatistics } from '../outer_layer.js';
import { checkpointedLayers, withWeights, type LayerWeights } from '../stand_ins.js';
import { checkPattern, groupOfSteps, type DepthPattern } from './pattern.js';
import { learnedRow, sinusoids, SIGNALS, type Signal } from './signals.js';
import { normalizationsIn, weightsOfSteps } from './step_normalization.js';

export interface RecurrentDepthArgs extends LayerArgs {
  /** The layer or model that is applied at each step. This or `layers`. */
  layer?: Layer;
  /** Several: by default each is a group of its own, see `groups`. */
  layers?: Layer[];
  /** Applications in depth. Integer ≥ 1. Default: the length of a `pattern` that is a list, else the number of groups. */
  steps?: number | null;
  /** Groups that `layers` are divided into, in order and equally; a step applies all layers of its group. Default: as many as layers. */
  groups?: number | null;
  /** Which group each step uses: `blocks` (ALBERT: neighbours share), `cycle`, or a list such as [0, 0, 1, 1, 0]. Default 'blocks'. */
  pattern?: DepthPattern;
  /** What is added to the state before each step, to tell it apart: `none`, `sinusoidal` or `learned`. Default 'none'. */
  stepSignal?: Signal;
  /** Whether layer, batch and group normalisations inside have the same weights at all steps (`shared`) or each its own (`perStep`). Default 'shared'. */
  normalization?: 'shared' | 'perStep';
  /** Whether the gradient computes the insides of a step again instead of keeping them: memory of one step instead of all, at one more forward pass. Default false. */
  checkpointing?: boolean;
  /** Steps in inference, if others than in training. Default null: `steps`. */
  inferenceSteps?: number | null;
}

const OPTIONS = ['layer', 'layers', 'steps', 'groups', 'pattern', 'stepSignal', 'normalization', 'checkpointing', 'inferenceSteps', ...LAYER_OPTIONS] as const;

/**
 * h_t = f_{g(t)}(h_{t−1} + signal_t, context…) for t = 1 … steps: layers, stacks of layers or models applied again and again with the same weights.
 *
 * Input: the state `[batch, …]`, or `[state, context…]`, whose context each step is given too (the memory of a decoder). Output: the last state, of the
 * same shape. A mask is given to the layers inside and passes on.
 *
 * Parameters: those of the layers, once; with `stepSignal: 'learned'` width more per step, with `perStep` those of the normalisations for each step. Time
 * is that of as many separate layers. Regularizers inside count once.
 *
 * ```js
 * const shared = recurrentDepth({layer: block, steps: 6, stepSignal: 'learned'});                 // one layer six times
 * const albert = recurrentDepth({layers: [a, b, c, d], groups: 2, steps: 6});                     // a b a b a b c d c d c d
 * const cycles = recurrentDepth({layers: [a, b], steps: 6, pattern: 'cycle', checkpointing: true});
 * ```
 *
 * {@link inferenceSteps} may be set at any time; patterns that are lists begin again, `blocks` are stretched. Learned signals and normalisations
 * `perStep` exist for `steps` only.
 *
 * Limits: batch normalisation inside with `normalization: 'shared'` has one set of running statistics for states of all steps, and none works with
 * `checkpointing`, which would count each batch twice. When not to use it: where parameters do not matter, separate layers are better at equal time.
 */
export class RecurrentDepth extends OuterLayer {
  /** @nocollapse */
  static readonly className = 'RecurrentDepth';
  readonly steps: number;
  readonly groups: number;
  readonly pattern: DepthPattern;
  readonly stepSignal: Signal;
  readonly normalization: 'shared' | 'perStep';
  readonly checkpointing: boolean;
  readonly #single: boolean;
  readonly #groups: Layer[][];
  #inferenceSteps: number | null = null;
  #signals: LayerVariable | null = null;
  #normalizations: LayerWeights[][] = [];
  /** A step's own weight of a normalisation → the layer's. */
  readonly #originals = new Map<LayerVariable, LayerVariable>();

  constructor(args: RecurrentDepthArgs) {
    const who = 'RecurrentDepth';
    if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected an options object with layer or layers, got ${describe(args)}.`);
    checkKeys(who, args, OPTIONS);
    const { layer, layers } = args;
    if ((layer == null) === (layers == null)) throw new Error(`${who}: expected either layer or layers, got ${layer == null ? 'neither' : 'both'}.`);
    if (layers != null && (!Array.isArray(layers) || layers.length === 0)) throw new Error(`${who}: layers must be a list of one or more layers, got ${describe(layers)}.`);
    const inner = layers ?? [layer!];
    const twice = inner.find((each, i) => inner.indexOf(each) !== i);
    if (twice !== undefined) throw new Error(`${who}: the layer '${twice.name}' is listed twice. List it once, and say with pattern at which steps it is used, as in pattern: [0, 1, 0].`);
    super(who, args, inner);
    this.#single = layers == null;
    const { length } = inner;
    this.groups = checkNumber(who, 'groups', args.groups ?? length, integerAtLeast(1));
    if (length % this.groups !== 0) throw new Error(`${who}: groups must divide the number of layers, got ${this.groups} groups and ${length} ${length === 1 ? 'layer' : 'layers'}.`);
    const size = length / this.groups;
    this.#groups = Array.from({ length: this.groups }, (_, group) => inner.slice(group * size, (group + 1) * size));
    this.pattern = checkPattern(who, args.pattern ?? 'blocks', this.groups);
    const listed = Array.isArray(this.pattern) ? this.pattern.length : null;
    this.steps = checkNumber(who, 'steps', args.steps ?? listed ?? this.groups, integerAtLeast(1));
    if (listed !== null && listed !== this.steps) throw new Error(`${who}: pattern lists ${listed} steps, but steps is ${this.steps}. Leave steps out.`);
    if (this.steps < this.groups) throw new Error(`${who}: ${this.steps} steps cannot use ${this.groups} groups. Use at least ${this.groups} steps.`);
    this.stepSignal = checkChoice(who, 'stepSignal', args.stepSignal ?? 'none', SIGNALS);
    this.normalization = checkChoice(who, 'normalization', args.normalization ?? 'shared', ['shared', 'perStep']);
    this.checkpointing = checkBoolean(who, 'checkpointing', args.checkpointing ?? false);
    this.inferenceSteps = args.inferenceSteps ?? null;
    this.supportsMasking = true;
  }

  override get trainableWeights(): LayerVariable[] {
    const frozen = this.#frozen();
    return super.trainableWeights.filter((weight) => !frozen.has(weight));
  }

  override get nonTrainableWeights(): LayerVariable[] {
    return [...new Set([...super.nonTrainableWeights, ...this.#frozen()])];
  }

  /** Those weights of steps whose layer's own do not train. */
  #frozen(): Set<LayerVariable> {
    const train = new Set(this.innerLayers.flatMap((layer) => layer.trainableWeights));
    return new Set([...this.#originals].filter(([, original]) => !train.has(original)).map(([weight]) => weight));
  }

  /** Steps in inference, if others than in training; null: as in training. @throws Error if it needs weights that only `steps` steps have. */
  get inferenceSteps(): number | null {
    return this.#inferenceSteps;
  }

  set inferenceSteps(steps: number | null) {
    const who = 'RecurrentDepth';
    if (steps !== null) {
      checkNumber(who, 'inferenceSteps', steps, integerAtLeast(1));
      const [what, option] = this.stepSignal === 'learned' ? ['a learned signal', "stepSignal: 'sinusoidal'"] : ['normalisation', "normalization: 'shared'"];
      if (steps > this.steps && (this.stepSignal === 'learned' || this.normalization === 'perStep')) {
        throw new Error(`${who}: inferenceSteps is ${steps}, but ${what} exists for ${this.steps} steps only. Use ${option}.`);
      }
      if (this.normalization === 'perStep' && this.pattern === 'blocks' && this.groups > 1 && steps !== this.steps) {
        throw new Error(`${who}: with normalization 'perStep' and pattern 'blocks', other steps than ${this.steps} would use other groups' normalisations. Use pattern: 'cycle'.`);
      }
    }
    this.#inferenceSteps = steps;
  }

  override build(inputShape: Shape | Shape[]): void {
    const who = `RecurrentDepth '${this.name}'`;
    const shapes = shapeList(inputShape);
    for (const group of this.#groups) checkState(who, group, shapes);
    const width = shapes[0].at(-1);
    if (this.stepSignal !== 'none' && width == null) throw new Error(`${who}: stepSignal '${this.stepSignal}' needs a state of known width, got ${shownShape(shapes[0])}.`);
    if (this.stepSignal === 'learned') {
      // As T2T starts them.
      this.#signals = this.addWeight('step_signals', [this.steps, width!], 'float32', initializers.randomNormal({ mean: 0, stddev: width! ** -0.5 }));
    }
    if (this.normalization === 'perStep') {
      if (normalizationsIn(this.innerLayers).length === 0) throw new Error(`${who}: normalization 'perStep' finds no layer, batch or group normalisation in its layers. Use 'shared'.`);
      this.#normalizations = weightsOfSteps(this.#groups, groupOfSteps(this.pattern, this.steps, this.groups), (name, shape, initializer, regularizer, trainable, constraint) =>
        this.addWeight(name, shape, 'float32', initializer, regularizer ?? undefined, trainable, constraint ?? undefined),
      );
      for (const { layer, weights } of this.#normalizations.flat()) for (const [part, weight] of Object.entries(weights)) this.#originals.set(weight, (layer as unknown as Record<string, LayerVariable>)[part]);
    }
    super.build(inputShape);
  }

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor {
    return tfc.tidy(() => {
      this.invokeCallHook(inputs, kwargs);
      const [state, ...context] = [inputs].flat();
      const training = kwargs['training'] === true;
      const steps = training ? this.steps : (this.inferenceSteps ?? this.steps);
      const masks = [(kwargs['mask'] ?? null) as Tensor | null | (Tensor | null)[]].flat();
      const given = masks.filter((mask) => mask !== null);
      // The masks travel with the context, so that each is there when a step is computed again.
      const masksFrom = (tensors: readonly Tensor[]) => {
        let next = 0;
        const all = masks.map((mask) => (mask === null ? null : tensors[next++]));
        return all.length === 1 ? all[0] : all;
      };
      const chain = groupOfSteps(this.pattern, steps, this.groups).map((group, step): ChainStep => ([h], more) => {
        const mask = given.length === 0 ? {} : { mask: masksFrom(more.slice(context.length)) };
        return [this.#step(h, more.slice(0, context.length), this.#groups[group], step, { training, ...mask })];
      });
      const others = [...context, ...given];
      if (!this.checkpointing || !isRecording()) return chain.reduce((h, step, i) => following(h, () => step([h], others)[0], i > 0), state);
      checkCallLosses(`RecurrentDepth '${this.name}'`, 'checkpointing computes each step again', this.innerLayers);
      const changed = watchStatistics(this.innerLayers);
      const variables = [...this.trainableWeights, ...this.nonTrainableWeights].map(variableOf);
      const [last] = checkpointedLayers(chain, [state], { inputs: others, variables, segment: 1 });
      const statistic = changed();
      if (statistic !== null) {
        throw new Error(`RecurrentDepth '${this.name}': checkpointing calls each layer twice, which would count each batch twice in the running statistics '${statistic.name}'. Use layerNormalization, or checkpointing: false.`);
      }
      return last;
    });
  }

  #step(state: Tensor, context: readonly Tensor[], group: readonly Layer[], step: number, kwargs: Record<string, unknown>): Tensor {
    const width = state.shape.at(-1)!;
    const start = this.stepSignal === 'none' ? state : tfc.add(state, this.#signals === null ? tfc.reshape(sinusoids(step + 1, 1, width), [width]) : learnedRow(variableOf(this.#signals), step));
    return withWeights(this.#normalizations[step] ?? [], () => group.reduce((h, layer) => applied(layer, [h, ...context], kwargs)[0], start));
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape {
    return shapeList(inputShape)[0];
  }

  override computeMask(_inputs: Tensor | Tensor[], mask?: Tensor | Tensor[]): Tensor {
    // The host's types know no null here; at run time it means: no mask.
    return ((Array.isArray(mask) ? mask[0] : mask) ?? null) as Tensor;
  }

  override getConfig(): serialization.ConfigDict {
    return {
      ...super.getConfig(),
      ...(this.#single ? { layer: serialized(this.innerLayers[0]) } : { layers: savedLayers(this.#groups.flat()) }),
      steps: this.steps,
      groups: this.groups,
      pattern: Array.isArray(this.pattern) ? [...(this.pattern as number[])] : (this.pattern as string),
      stepSignal: this.stepSignal,
      normalization: this.normalization,
      checkpointing: this.checkpointing,
      inferenceSteps: this.inferenceSteps,
    };
  }

  /** @nocollapse */
  static override fromConfig<T extends serialization.Serializable>(cls: serialization.SerializableConstructor<T>, config: serialization.ConfigDict, customObjects?: serialization.ConfigDict): T {
    const { layer, layers, ...args } = config;
    const inner = layer == null ? { layers: revivedLayers('RecurrentDepth', layers, customObjects) } : { layer: revivedLayer('RecurrentDepth', layer, customObjects) };
    return new cls({ ...args, ...inner });
  }
}

/** The next state; in inference what is behind is freed at once. */
function following(before: Tensor, step: () => Tensor, owned: boolean): Tensor {
  const next = tfc.tidy(step);
  if (owned && next !== before && !isRecording()) before.dispose();
  return next;
}

function checkState(who: string, group: readonly Layer[], [state, ...context]: Shape[]): void {
  let h = state;
  for (const layer of group) [h] = builtFor(who, layer, [h, ...context]);
  const same = h.length === state.length && h.every((length, axis) => length == null || state[axis] == null || length === state[axis]);
  if (same) return;
  throw new Error(`${who}: the layer '${group.at(-1)!.name}' makes ${shownShape(h)} of a state ${shownShape(state)}: what is applied again must keep the shape. Put a dense layer of ${state.at(-1) ?? 'that'} units at its end.`);
}

/** Layers applied in depth with shared weights. See {@link RecurrentDepth}. */
export function recurrentDepth(args: RecurrentDepthArgs): RecurrentDepth {
  return new RecurrentDepth(args);
}

tfc.serialization.registerClass(RecurrentDepth);
