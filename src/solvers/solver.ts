/** What all solvers share: their common options, the result of a solve, and how failures are told. */
import * as tfc from '@tensorflow/tfjs-core';
import type { serialization, Tensor } from '@tensorflow/tfjs-core';
import { withoutTape } from '../autodiff/tape.js';
import { checkChoice, checkKeys, checkNumber, describe, integerAtLeast, POSITIVE, warnOnce } from '../checks.js';
import { DeviceSpace } from './device_space.js';
import { HostSpace } from './host_space.js';
import { lookingOn, type Looking } from './looking.js';
import { HUGE, iterate, type LoopLimits, type Method } from './loop.js';
import { replayed } from './replay.js';
import type { Space, StateMap } from './space.js';

export interface SolverArgs {
  /** Residual at which a sample is done, > 0. Default 1e-4. */
  tolerance?: number;
  /** What is held against it: ‖f(z) − z‖ / ‖f(z)‖ or ‖f(z) − z‖, Euclidean norms over all parts of a sample. Default `relative`. */
  stop?: 'relative' | 'absolute';
  /** Evaluations of f at most. Integer ≥ 1. Default 50. */
  maxIterations?: number;
  /** On webgl, where looking waits for the GPU: iterations between looks at whether all samples are done. Integer ≥ 1. Default 5. */
  checkEvery?: number;
  /**
   * Where a sample does not converge: warn, once for each kind of failure and setting, or throw. On webgl and webgpu that is known only after the step.
   * There `throw` looks at every solve when its step is over: a failure is warned of, `report()` rejects with it, and the next call of the layer (or of
   * `equilibrium` with this solver) throws it. `warn` looks at the 1st, 2nd, 4th, 8th … and every 100th solve of a layer, forward and backward apart.
   * Default `warn`.
   */
  onFailure?: 'warn' | 'throw';
}

export const SOLVER_OPTIONS = ['tolerance', 'stop', 'maxIterations', 'checkEvery', 'onFailure'] as const;

/** Why a solve ended: the worst of its samples. */
export type StopReason = 'converged' | 'maxIterations' | 'diverged' | 'nonFinite';

export interface SolveReport {
  reason: StopReason;
  /** Evaluations of f, of the whole batch. */
  iterations: number;
  /** Per sample: why it stopped, evaluations until then, and the residual of the state that is returned. */
  samples: { reason: StopReason; iterations: number; residual: number; relativeResidual: number }[];
  /** The residual (as `stop` says) of each sample at each iteration. */
  trace: Float32Array[];
  /** Where f first was not finite. */
  nonFinite: { iteration: number; sample: number } | null;
  /** How often the solve looked at values: at each iteration where that is free. */
  looks: number;
  /** Most bytes that the solver's own vectors took at once beside tensors: on cpu, wasm and tensorflow they lie in this process, elsewhere they are tensors (0). */
  bytes: number;
  /** What the method counted, summed over the samples, e.g. `plainSteps`, `restarts`. */
  counts: Record<string, number>;
}

/** A state of least residual (as `stop` says), per sample, and what is known of it; z₀ where the iterates ran away without being better than that. */
export interface Solution {
  /** As z₀; the caller's, or of the `tf.tidy` around. */
  state: Tensor[];
  /** What is known at once: null on backends that cannot be looked at. */
  readonly known: SolveReport | null;
  /** The same for every backend. */
  report(): Promise<SolveReport>;
  /** The method's own estimate of the inverse Jacobian of f − id at the state, where it was asked for and has one. */
  readonly inverse: InverseEstimate | null;
  /** Whether a failure is thrown when it becomes known, see {@link SolveOptions.throws}. */
  readonly throws: boolean;
  /** Frees what {@link report} needs, once a report that is awaited has come; neither the state nor the inverse. */
  dispose(): void;
}

export interface InverseEstimate {
  /** y ↦ (∂(f − id)/∂z)⁻ᵀ y, for y in the shapes of the state. */
  applyTranspose(y: readonly Tensor[]): Tensor[];
  dispose(): void;
}

export interface SolveOptions {
  /** v ↦ ∂f/∂z·v at any z, where f is affine. */
  product?: StateMap;
  /** Keep {@link Solution.inverse}, if the method has one; the caller disposes of it. */
  keepInverse?: boolean;
  /** Called with the report when it becomes known (at once, or by {@link Solution.report}), in the place of what `onFailure` says. */
  tell?: (report: SolveReport) => void;
  /** Whether `tell` throws at a failure: where reports must be awaited, each is then awaited. Default: as `onFailure` says. */
  throws?: boolean;
  /**
   * Run f once and then only those of its kernels that depend on z (see `traceProgram`): what f computes of weights and inputs alone is
   * computed once. Not where f decides by values of z, which is noticed. Default false.
   */
  replay?: boolean;
  /** Iterations (from 1) after which the best state so far is handed to `onTap`; all are, also where the solve ends before. */
  taps?: readonly number[];
  /** Takes the state at a tap; it is the callee's to dispose of. */
  onTap?: (state: Tensor[], iteration: number) => void;
  /** Compute as on a backend with this cost of looking; for tests. */
  looking?: Looking;
}

/** Finds z = f(z). */
export interface Solver extends serialization.Serializable {
  readonly limits: Readonly<SolverLimits>;
  /** Whether its method estimates the inverse Jacobian, see {@link SolveOptions.keepInverse}. Default false. */
  readonly estimatesInverse?: boolean;
  /**
   * Iterates from `z0`: float32 tensors whose first axis is the batch, each sample a problem of its own. `f` must not change between its calls.
   * Nothing is recorded for gradients: use {@link equilibrium} for those.
   * @throws Error if f's results do not have the state's shapes; where the solver was told to, if a sample does not converge.
   */
  solve(f: StateMap, z0: readonly Tensor[], options?: SolveOptions): Solution;
}

/** What a method gets to see of the problem. */
export interface Problem<V> {
  f: StateMap;
  /** v ↦ ∂f/∂z·v where f is affine. */
  product: ((v: V) => V) | null;
  /** Steps that there will be at most, where the method's estimate of the inverse is wanted at their end; else null. */
  stepsToKeep: number | null;
}

export interface SolverMethod<V, S> extends Method<V, S> {
  /** What {@link Solution.inverse} is made of: B⁻¹ = −I + Σ u vᵀ, each [batch, n, width]. */
  inverse?(): { u: Tensor; v: Tensor } | null;
}

export type MakeMethod = <V, S, W>(space: Space<V, S, W>, problem: Problem<V>) => SolverMethod<V, S>;

export type SolverLimits = LoopLimits & { onFailure: 'warn' | 'throw' };

/** Checks the options that all solvers have, and that there are no others but `own`. */
export function solverLimits(who: string, args: SolverArgs, own: readonly string[]): SolverLimits {
  checkKeys(who, args, [...own, ...SOLVER_OPTIONS]);
  return {
    tolerance: checkNumber(who, 'tolerance', args.tolerance ?? 1e-4, POSITIVE, 'For a fixed number of iterations set maxIterations.'),
    stop: checkChoice(who, 'stop', args.stop ?? 'relative', ['relative', 'absolute']),
    maxIterations: checkNumber(who, 'maxIterations', args.maxIterations ?? 50, integerAtLeast(1)),
    checkEvery: checkNumber(who, 'checkEvery', args.checkEvery ?? 5, integerAtLeast(1)),
    onFailure: checkChoice(who, 'onFailure', args.onFailure ?? 'warn', ['warn', 'throw']),
  };
}

/** One solve by `make`'s method, wherever the active backend's tensors lie. */
export function solveWith(who: string, make: MakeMethod, limits: SolverLimits, f: StateMap, z0: readonly Tensor[], options: SolveOptions = {}): Solution {
  if (!Array.isArray(z0)) throw new Error(`${who}: expected a list of tensors to start from, as in solve(f, [z0]), got ${describe(z0)}.`);
  const looking = options.looking ?? lookingOn();
  return withoutTape(() =>
    looking === 'free'
      ? solveIn(new HostSpace(who, z0), who, make, limits, f, z0, options)
      : solveIn(new DeviceSpace(who, z0, looking), who, make, limits, f, z0, options),
  );
}

function solveIn<V, S, W>(space: Space<V, S, W>, who: string, make: MakeMethod, limits: SolverLimits, f: StateMap, z0: readonly Tensor[], options: SolveOptions): Solution {
  const { product, throws = limits.onFailure === 'throw' } = options;
  const replay = options.replay === true ? replayed(who, f) : null;
  try {
    const method = make(space, { f, product: product === undefined ? null : (v) => space.evaluate(product, v), stepsToKeep: options.keepInverse === true ? limits.maxIterations : null });
    const { best, progress } = iterate(space, replay?.f ?? f, z0, method, limits, options);
    const counts = Object.entries(method.counts());
    const { bytes } = space;
    const { iterations, converged, diverged, nonFiniteAt, bestNorm, bestSize, trace } = progress;
    const numbers = space.read([iterations, converged, diverged, nonFiniteAt, bestNorm, bestSize, ...trace, ...counts.flatMap(([, count]) => (typeof count === 'number' ? [] : [count]))]);
    const { tell = (report) => tellFailure(who, report, limits) } = options;
    const report = (values: Float64Array[]) => {
      const told = reportOf(values, counts, { looks: progress.looks, bytes });
      tell(told);
      return told;
    };
    const known = numbers.now === null ? null : report(numbers.now);
    const estimate = options.keepInverse === true ? (method.inverse?.() ?? null) : null;
    let awaited: Promise<SolveReport> | null = known === null ? null : Promise.resolve(known);
    return {
      state: space.tensors(best),
      known,
      report: () => (awaited ??= numbers.later().then(report)),
      inverse: estimate === null ? null : inverseEstimate(estimate),
      throws,
      dispose: numbers.dispose,
    };
  } finally {
    replay?.dispose();
    space.dispose();
  }
}

function reportOf(values: Float64Array[], counts: [name: string, count: unknown][], { looks, bytes }: Pick<SolveReport, 'looks' | 'bytes'>): SolveReport {
  const [iterations, converged, diverged, nonFiniteAt, bestNorm, bestSize, ...rest] = values;
  const perSample = rest.splice(rest.length - counts.filter(([, count]) => typeof count !== 'number').length);
  const total = (count: unknown) => (typeof count === 'number' ? count : perSample.shift()!.reduce((sum, value) => sum + value, 0));
  const reasonOf = (i: number): StopReason => (converged[i] ? 'converged' : nonFiniteAt[i] ? 'nonFinite' : diverged[i] ? 'diverged' : 'maxIterations');
  const samples = Array.from(iterations, (count, i) => ({
    reason: reasonOf(i),
    iterations: count,
    residual: bestNorm[i] < HUGE ? bestNorm[i] : NaN,
    relativeResidual: bestNorm[i] < HUGE ? bestNorm[i] / (bestSize[i] + 1e-9) : NaN,
  }));
  const reasons = new Set(samples.map(({ reason }) => reason));
  const broken = samples.findIndex(({ reason }) => reason === 'nonFinite');
  return {
    reason: REASONS.find((reason) => reasons.has(reason)) as StopReason,
    iterations: samples.reduce((most, sample) => Math.max(most, sample.iterations), 0),
    samples,
    trace: rest.map((residuals) => Float32Array.from(residuals)),
    nonFinite: broken < 0 ? null : { iteration: nonFiniteAt[broken], sample: broken },
    looks,
    bytes,
    counts: Object.fromEntries(counts.map(([name, count]) => [name, total(count)])),
  };
}

/** Worst first. */
const REASONS: readonly StopReason[] = ['nonFinite', 'diverged', 'maxIterations', 'converged'];

/** What went wrong, in words; null if nothing did. */
export function failureOf(who: string, report: SolveReport, { tolerance, stop, maxIterations }: Pick<SolverLimits, 'tolerance' | 'stop' | 'maxIterations'>): string | null {
  const { reason, samples, nonFinite } = report;
  if (reason === 'converged') return null;
  const failed = samples.filter((sample) => sample.reason === reason).length;
  const many = `${failed} of ${samples.length} samples`;
  if (nonFinite !== null) {
    return (
      `${who}: f was not finite at iteration ${nonFinite.iteration} in sample ${nonFinite.sample} (${many}); the best state before that is returned` +
      `${nonFinite.iteration === 1 ? ', which is z₀' : ''}. Look at the inputs and weights, or damp the steps.`
    );
  }
  const residualOf = ({ residual, relativeResidual }: SolveReport['samples'][number]) => (stop === 'relative' ? relativeResidual : residual);
  const worst = samples.reduce((index, sample, i) => (residualOf(sample) > residualOf(samples[index]) ? i : index), 0);
  const state = `the ${stop} residual of the state that is returned is up to ${residualOf(samples[worst]).toPrecision(3)} (sample ${worst}), tolerance ${tolerance}`;
  return reason === 'diverged'
    ? `${who}: the iterates ran away in ${many}; ${state}. Damp the steps, take anderson, broyden or newtonKrylov, or keep f contractive (jacobianPenalty, spectral normalisation).`
    : `${who}: ${many} did not converge within ${maxIterations} evaluations; ${state}. Raise maxIterations or the tolerance, or take another solver.`;
}

/** Failures that are told once: of a kind, under the same limits. */
export const failureKey = ({ reason }: SolveReport, { tolerance, stop, maxIterations }: SolverLimits): string => `${reason} ${stop} ${tolerance} ${maxIterations}`;

export function tellFailure(who: string, report: SolveReport, limits: SolverLimits): void {
  const failure = failureOf(who, report, limits);
  if (failure !== null && limits.onFailure === 'throw') throw new Error(failure);
  if (failure !== null) warnOnce(`${who} ${failureKey(report, limits)}`, failure);
}

/** B⁻ᵀy = −y + Σ v (u·y), per sample. */
function inverseEstimate({ u, v }: { u: Tensor; v: Tensor }): InverseEstimate {
  tfc.keep(u);
  tfc.keep(v);
  return {
    applyTranspose: (y) =>
      tfc.tidy(() => {
        const batch = u.shape[0];
        const flat = tfc.concat(y.map((part) => tfc.reshape(part, [batch, 1, -1])), 2); // prettier-ignore
        const applied = tfc.sub(tfc.matMul(tfc.matMul(flat, u, false, true), v), flat);
        return tfc.split(applied, y.map(({ size }) => size / batch), 2).map((part, i) => tfc.reshape(part, y[i].shape)); // prettier-ignore
      }),
    dispose: () => tfc.dispose([u, v]),
  };
}
