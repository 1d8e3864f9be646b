/**
 * A layer of infinite depth: the fixed point of a cell.
 * Bai, Kolter & Koltun, Deep Equilibrium Models, NeurIPS 2019 (arXiv 1909.01377); for several resolutions, Multiscale Deep Equilibrium Models,
 * NeurIPS 2020 (arXiv 2006.08656).
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Scalar, serialization, Tensor, Tensor1D, Variable } from '@tensorflow/tfjs-core';
import { layers, type LayerVariable, type Shape } from '@tensorflow/tfjs-layers';
import { disposeWithTape, isRecording, withoutTape } from '../autodiff/tape.js';
import { checkChoice, checkKeys, describe, warnOnce } from '../checks.js';
import { declaredTrainable, revivedLayer, variableOf, type Initializer, type Layer } from '../host.js';
import type { EquilibriumGradient } from '../solvers/equilibrium.js';
import { jacobianPenalty } from '../solvers/jacobian_penalty.js';
import { revive, serialized } from '../solvers/serialized.js';
import { LateChecks } from '../solvers/late_checks.js';
import { failureKey, type Solver, type SolveReport } from '../solvers/solver.js';
import type { StateMap } from '../solvers/space.js';
import { spectralRadius, type SpectralRadiusArgs } from '../solvers/spectral_radius.js';
import { Unrolled } from '../solvers/unrolled.js';
import { planCell, stateShapes, type CellPlan } from './deq_cell.js';
import { checkNormalization, checkTrajectory, given, OPTIONS, settingsOf, START, type DEQLayerArgs, type JacobianPenaltyOptions, type StepSettings } from './deq_options.js';
import { CallRecord, layerFailure, type CallInputs, type CallKind, type DEQReport } from './deq_record.js';
import { freshSeed, withFixedDraws } from '../autodiff/fixed_draws.js';
import type { KernelNormalization } from './kernel_normalization.js';
import { applied, checkCallLosses, OuterLayer, shapeList, watchStatistics } from './outer_layer.js';
import { RepeatedCalls } from './repeated_calls.js';
import { surroundings, withReads } from './stand_ins.js';

/**
 * z* = f(z*, x): the fixed point of `cell`, to which infinitely many weight-tied layers would lead, found by `solver` and differentiated by
 * `gradient`. The memory of a training step is that of one evaluation of the cell and of the solver's window, however many iterations.
 *
 * Inputs: the cell's x…, `[batch, …]`, then with `initialState: 'given'` the states to begin at. Output: z…, and with `trajectory` the states after
 * those iterations (one step of the cell further, through which they are differentiated), each part of each.
 *
 * The weights, regularizers and constraints of the cell are the layer's: trained, counted and saved once. Dropout and noise in the cell keep their
 * draws during one call, forward and backward. Samples of a batch converge, and stop, each by itself. A mask of `[batch, time]` is given to
 * the layers of the cell, holds states of rank ≥ 3 with that time at 0 where it is false, and is passed on for those.
 *
 * ```js
 * const [z, x] = [tf.input({shape: [64]}), tf.input({shape: [64]})];
 * const sum = tf.layers.add().apply([tf.layers.dense({units: 64}).apply(z), x]);
 * const cell = tf.model({inputs: [z, x], outputs: tf.layers.activation({activation: 'tanh'}).apply(sum)});
 * const model = tf.sequential({layers: [tf.layers.dense({units: 64, inputShape: [784]}), deqLayer({cell}), tf.layers.dense({units: 10})]});
 * ```
 *
 * After each call {@link report} tells iterations, residual and reason, `deqMonitor()` logs them per epoch; a solve that does not
 * converge warns, once for each kind and setting, or throws (`onFailure` of the solver). Solvers, gradient and penalty may be changed
 * between steps ({@link configure}, `deqSchedule`). While `gradient` is `unrolled` the layer is that network of fixed depth, in inference too.
 *
 * Limits: the cell must not normalise by statistics of the batch, nor be stateful. On GPUs all iterations are done where values cannot be
 * looked at (webgpu). When not to use it: where a few layers suffice, they are faster; an equilibrium costs an evaluation per iteration.
 */
export class DEQLayer extends OuterLayer {
  /** @nocollapse */
  static readonly className = 'DEQLayer';
  readonly cell: Layer;
  readonly initialState: 'zeros' | 'learned' | 'given';
  readonly kernelNormalization: KernelNormalization | null;
  readonly trajectory: readonly number[];
  /** Whether the inputs and masks of the last calls are kept, for {@link spectralRadius}. */
  keepsInputs = false;
  #settings: StepSettings;
  #plan: CellPlan | null = null;
  #starts: LayerVariable[] = [];
  #normalized: { kernel: LayerVariable; weights: LayerVariable[] }[] = [];
  #penalty: Tensor | null = null;
  #records: Partial<Record<CallKind | 'last', CallRecord>> = {};
  readonly #checks = new LateChecks();
  #repeated = new RepeatedCalls();

  constructor(args: DEQLayerArgs) {
    const who = 'DEQLayer';
    if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected an options object with a cell, got ${describe(args)}.`);
    checkKeys(who, args, OPTIONS);
    if (!(args.cell instanceof layers.Layer)) throw new Error(`${who}: cell must be a layer or a model with inputs [z…, x…] and outputs next z…, got ${describe(args.cell)}.`);
    super(who, args, [args.cell]);
    this.cell = args.cell;
    this.#settings = settingsOf(args);
    this.initialState = checkChoice(who, 'initialState', args.initialState ?? 'zeros', START);
    this.kernelNormalization = checkNormalization(args.kernelNormalization ?? null);
    this.trajectory = checkTrajectory(args.trajectory ?? []);
    this.supportsMasking = true;
  }

  get solver(): Solver {
    return this.#settings.solver;
  }

  get inferenceSolver(): Solver | null {
    return this.#settings.inferenceSolver;
  }

  get gradient(): EquilibriumGradient {
    return this.#settings.gradient;
  }

  get jacobianPenalty(): Required<JacobianPenaltyOptions> | null {
    return this.#settings.jacobianPenalty;
  }

  /** Changes what may change between steps; what is not named, or undefined, stays. @throws Error as the constructor does. */
  configure(changes: Partial<Pick<DEQLayerArgs, 'solver' | 'inferenceSolver' | 'gradient' | 'jacobianPenalty'>>): void {
    checkKeys(`DEQLayer '${this.name}': configure`, changes, ['solver', 'inferenceSolver', 'gradient', 'jacobianPenalty']);
    const { gradient } = this;
    this.#settings = settingsOf({ ...this.#settings, ...given(changes) });
    if (this.gradient !== gradient) gradient.dispose?.();
    this.#repeated = new RepeatedCalls();
  }

  /** Which option keeps its calls from adding to the loss; null where they do not. */
  get lossOfCalls(): string | null {
    return (this.jacobianPenalty?.weight ?? 0) === 0 ? null : 'jacobianPenalty: 0';
  }

  override build(inputShape: Shape | Shape[]): void {
    const who = `DEQLayer '${this.name}'`;
    checkCallLosses(who, 'the cell is called at each iteration', [this.cell]);
    this.#plan = planCell(who, this.cell, shapeList(inputShape), this.initialState === 'given');
    if (this.initialState === 'learned') this.#starts = this.#plan.states.map((shape, i) => this.#addStart(who, shape, i));
    if (this.kernelNormalization !== null) this.#addNormalization(who, this.kernelNormalization);
    this.addLoss(() => this.#takePenalty());
    super.build(inputShape);
  }

  #addStart(who: string, shape: Shape, part: number): LayerVariable {
    const own = shape.slice(1);
    if (own.some((length) => length == null)) throw new Error(`${who}: initialState 'learned' needs states of known shape, state ${part} is [${shape.map((length) => length ?? 'null').join(', ')}]. Use 'zeros' or 'given'.`);
    return this.addWeight(`start_${part}`, [1, ...own], 'float32', constantly(() => tfc.zeros([1, ...(own as number[])])));
  }

  #addNormalization(who: string, normalization: KernelNormalization): void {
    // Whatever is frozen now: a file does not tell what was when it was built.
    const kernels = declaredTrainable(this.cell).filter(({ shape }) => shape.length >= 2);
    if (kernels.length === 0) throw new Error(`${who}: kernelNormalization finds no trainable weight of rank ≥ 2 in the cell '${this.cell.name}'.`);
    this.#normalized = kernels.map((kernel, k) => {
      const wanted = normalization.weightsFor(variableOf(kernel));
      const weights = wanted.map(({ name, initial, trainable }) => this.addWeight(`${name}_${k}`, initial.shape, 'float32', constantly(() => tfc.clone(initial)), undefined, trainable));
      wanted.forEach(({ initial }) => initial.dispose());
      return { kernel, weights };
    });
  }

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor | Tensor[] {
    this.invokeCallHook(inputs, kwargs);
    const given = Array.isArray(inputs) ? inputs : [inputs];
    const training = kwargs['training'] === true;
    const mask = kwargs['mask'] as Tensor | null | undefined;
    const solve = () => tfc.tidy(() => this.#solve(given, training, mask));
    const count = this.#plan!.states.length * (1 + this.trajectory.length);
    // A power method's vectors move at each call in training: they are no sign of another.
    const weights = [...this.cell.weights, ...this.weights.filter(({ trainable }) => trainable)];
    const outputs = count === 1 ? solve() : this.#repeated.answer(mask == null ? given : [...given, mask], weights, training, solve);
    return outputs.length === 1 ? outputs[0] : outputs;
  }

  #solve(given: Tensor[], training: boolean, mask: Tensor | null | undefined): Tensor[] {
    const xs = given.slice(0, this.#plan!.injected);
    const z0 = this.#start(xs, given.slice(this.#plan!.injected));
    const normalized = this.#normalizedKernels(training);
    const here = surroundings();
    const map = this.#map(xs, training, mask, normalized);
    // The gradient calls it, too, when what stands in here is gone.
    const f: StateMap = (z) => here.within(here.tensors, () => map(z));
    const wrt = [...xs.filter(({ dtype }) => dtype === 'float32'), ...normalized.values(), ...here.tensors, ...here.variables, ...this.cell.trainableWeights.filter((weight) => !normalized.has(weight)).map(variableOf)];
    const solver = training ? this.solver : (this.inferenceSolver ?? this.solver);
    const kind = training ? 'training' : 'inference';
    const record = this.#begin(kind, solver, { inputs: given, mask: mask ?? null });
    const taps = new Map<number, Tensor[]>();
    const changed = watchStatistics([this.cell]);
    const solve = () => this.gradient.apply({
      f, z0, solver, wrt: [...new Set(wrt)],
      forward: { tell: (report) => this.#tell(report, kind, solver), taps: this.trajectory, onTap: (state, iteration) => taps.set(iteration, state) },
      onForward: (solution) => record.add('forward', solution),
      onBackward: (solution) => record.add('backward', solution),
      owner: `DEQLayer '${this.name}'`,
    }); // prettier-ignore
    let z: Tensor[];
    try {
      z = solve();
    } catch (error) {
      tfc.dispose([...taps.values()].flat());
      throw error;
    }
    const statistic = changed();
    if (statistic !== null) {
      throw new Error(`DEQLayer '${this.name}': the cell changes its weight '${statistic.name}' when it is called, so that it is another map at each iteration. Use layers without running statistics.`);
    }
    const visited = this.trajectory.flatMap((iteration) => {
      const state = taps.get(iteration)!;
      const next = f(state);
      state.forEach((part) => part.dispose());
      return next;
    });
    if (training && isRecording()) this.#addPenalty(f, z);
    return [...this.#followed(z, training), ...visited];
  }

  /** z ↦ the cell's output, with the same random draws at each call. */
  #map(xs: readonly Tensor[], training: boolean, mask: Tensor | null | undefined, normalized: ReadonlyMap<LayerVariable, Tensor>): StateMap {
    const seed = freshSeed();
    return (z) => {
      const image = withFixedDraws(seed, () => withReads(normalized, () => applied(this.cell, [...z, ...xs], mask == null ? { training } : { training, mask })));
      return image.map((part) => masked(part, mask));
    };
  }

  #start(xs: readonly Tensor[], given: readonly Tensor[]): Tensor[] {
    if (this.initialState === 'given') return [...given];
    const shapes = stateShapes(this.#plan!, xs, `DEQLayer '${this.name}'`);
    if (this.initialState === 'zeros') return shapes.map((shape) => tfc.zeros(shape));
    return this.#starts.map((start, i) => tfc.tile(variableOf(start), shapes[i].map((length, axis) => (axis === 0 ? length : 1)))); // prettier-ignore
  }

  /** The solution, which in training pulls a learned start towards its mean over the batch; `unrolled` differentiates through the start itself. */
  #followed(z: Tensor[], training: boolean): Tensor[] {
    if (this.#starts.length === 0 || !training || !isRecording() || this.gradient instanceof Unrolled) return z;
    return z.map((part, i) => pulling(part, variableOf(this.#starts[i])));
  }

  #normalizedKernels(training: boolean): Map<LayerVariable, Tensor> {
    return new Map(this.#normalized.map(({ kernel, weights }) => [kernel, this.kernelNormalization!.normalize(variableOf(kernel), weights.map(variableOf), training)]));
  }

  #addPenalty(f: StateMap, z: readonly Tensor[]): void {
    if (this.jacobianPenalty === null) return;
    const { weight, samples, frequency } = this.jacobianPenalty;
    if (weight === 0 || (frequency < 1 && Math.random() >= frequency)) return;
    const at = withoutTape(() => z.map((part) => tfc.clone(part)));
    const penalty = tfc.mul(weight / frequency, jacobianPenalty(f, at, { samples }, `DEQLayer '${this.name}': jacobianPenalty`));
    // Called twice in a step: both count.
    this.#penalty = tfc.keep(this.#penalty?.isDisposed === false ? tfc.add(this.#penalty, penalty) : penalty);
    disposeWithTape(this.#penalty);
  }

  #takePenalty(): Scalar {
    const penalty = this.#penalty;
    this.#penalty = null;
    return penalty === null || penalty.isDisposed ? tfc.scalar(0) : (tfc.clone(penalty) as Scalar);
  }

  #begin(kind: CallKind, solver: Solver, given: CallInputs): CallRecord {
    this.#checks.raise();
    this.#records[kind]?.dispose();
    const steps = this.gradient instanceof Unrolled ? this.gradient.steps : null;
    return (this.#records[kind] = this.#records.last = new CallRecord(kind, solver, steps, this.#checks, this.keepsInputs ? given : null));
  }

  #tell(report: SolveReport, kind: CallKind, solver: Solver): void {
    const failure = layerFailure(this.name, kind, report, solver);
    if (failure === null) return;
    if (solver.limits.onFailure === 'throw') throw new Error(failure);
    warnOnce(`${this.name} ${kind} ${solver.getClassName()} ${failureKey(report, solver.limits)}`, failure);
  }

  /**
   * What is known of the last call, in training, in inference or (default) of either; rejects before the first. Where a step calls the layer more than once,
   * that is the last of these calls.
   */
  async report(of: CallKind | 'last' = 'last'): Promise<DEQReport> {
    const record = this.#records[checkChoice(`DEQLayer '${this.name}'`, 'report', of, CALLS)];
    if (record === undefined) throw new Error(`DEQLayer '${this.name}': there is no report before the first call${of === 'last' ? '' : ` in ${of}`}.`);
    return record.report();
  }

  /** {@link report} without waiting: null before the first call, and on backends whose values must be awaited. */
  get lastReport(): DEQReport | null {
    return this.#records.last?.known() ?? null;
  }

  /**
   * Spectral radius of ∂f/∂z at the fixed point for these inputs (and `mask`), or for those of the last call in training, in inference or (default) of
   * either, if `keepsInputs`; per sample `[batch]`, by the power method. Below 1, plain iteration converges there.
   */
  spectralRadius(at: Tensor | Tensor[] | CallKind | 'last' = 'last', { mask, ...args }: SpectralRadiusArgs & { mask?: Tensor } = {}): Tensor1D {
    const given = typeof at === 'string' ? this.#records[at]?.given : { inputs: [at].flat(), mask: mask ?? null };
    if (this.#plan === null || given == null) throw new Error(`DEQLayer '${this.name}': spectralRadius needs inputs, or keepsInputs = true before the last call.`);
    const { injected } = this.#plan;
    return withoutTape(() =>
      tfc.tidy(() => {
        const xs = given.inputs.slice(0, injected);
        const f = this.#map(xs, false, given.mask, this.#normalizedKernels(false));
        const solution = (this.inferenceSolver ?? this.solver).solve(f, this.#start(xs, given.inputs.slice(injected)), { replay: true, tell: () => {} });
        solution.dispose();
        return spectralRadius(f, solution.state, args);
      }),
    );
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape | Shape[] {
    const shapes = shapeList(inputShape);
    const { states } = this.#plan ?? planCell(`DEQLayer '${this.name}'`, this.cell, shapes, this.initialState === 'given');
    const parts = states.map((shape) => shape.map((length, axis) => (axis === 0 ? shapes[0][0] : (length ?? shapes.find((other) => other.length === shape.length)?.[axis] ?? null))));
    const all = [parts, ...this.trajectory.map(() => parts)].flat();
    return all.length === 1 ? all[0] : all;
  }

  override computeMask(_inputs: Tensor | Tensor[], mask?: Tensor | Tensor[]): Tensor | Tensor[] {
    const first = (Array.isArray(mask) ? mask[0] : mask) ?? null;
    const parts = this.#plan!.states.map(({ length }) => (length >= 3 ? first : null));
    const all = [parts, ...this.trajectory.map(() => parts)].flat();
    // The host's types know no null here; at run time it means: no mask.
    return (all.length === 1 ? all[0] : all) as Tensor | Tensor[];
  }

  override dispose(): ReturnType<layers.Layer['dispose']> {
    const result = super.dispose();
    if (result.refCountAfterDispose === 0) this.#forget();
    return result;
  }

  #forget(): void {
    Object.values(this.#records).forEach((record) => record.dispose());
    this.#records = {};
    this.gradient.dispose?.();
  }

  override getConfig(): serialization.ConfigDict {
    const config = {
      ...super.getConfig(),
      cell: serialized(this.cell),
      solver: serialized(this.solver),
      inferenceSolver: this.inferenceSolver && serialized(this.inferenceSolver),
      gradient: serialized(this.gradient),
      initialState: this.initialState,
      jacobianPenalty: this.jacobianPenalty === null ? null : { ...this.jacobianPenalty },
      kernelNormalization: this.kernelNormalization && serialized(this.kernelNormalization),
      trajectory: [...this.trajectory],
    };
    return config;
  }

  /** @nocollapse */
  static override fromConfig<T extends serialization.Serializable>(cls: serialization.SerializableConstructor<T>, config: serialization.ConfigDict, customObjects?: serialization.ConfigDict): T {
    const { cell, solver, inferenceSolver, gradient, kernelNormalization, ...args } = config;
    const revived = (saved: unknown) => (saved == null ? null : revive<serialization.Serializable>('DEQLayer', saved));
    return new cls({
      ...args,
      cell: revivedLayer('DEQLayer', cell, customObjects),
      solver: revived(solver),
      inferenceSolver: revived(inferenceSolver),
      gradient: revived(gradient),
      kernelNormalization: revived(kernelNormalization),
    });
  }
}

const CALLS = ['training', 'inference', 'last'] as const;

const constantly = (make: () => Tensor): Initializer => ({ apply: make }) as unknown as Initializer;

/** `part`, 0 where a mask [batch, time] of its time is false. */
function masked(part: Tensor, mask: Tensor | null | undefined): Tensor {
  if (mask == null || part.rank < 3 || mask.rank !== 2 || part.shape[1] !== mask.shape[1]) return part;
  return tfc.mul(part, tfc.reshape(tfc.cast(mask, 'float32'), [...mask.shape, ...part.shape.slice(2).fill(1)]));
}

/** z, which gives `start` the gradient start − mean(z) over the batch, that of ½‖start − mean z‖². */
const pulling = (z: Tensor, start: Variable): Tensor =>
  tfc.customGrad((...args: unknown[]) => {
    const [state, from, save] = args as [Tensor, Tensor, (tensors: Tensor[]) => void];
    const difference = tfc.sub(from, tfc.mean(state, 0, true));
    save([difference]);
    return { value: tfc.clone(state), gradFunc: (dy: Tensor, [saved]: Tensor[]) => [tfc.clone(dy), tfc.clone(saved)] };
  })(z, start);

/** A layer whose output is the fixed point of a cell. See {@link DEQLayer}. */
export function deqLayer(args: DEQLayerArgs): DEQLayer {
  return new DEQLayer(args);
}

tfc.serialization.registerClass(DEQLayer);
