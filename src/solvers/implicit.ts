/**
 * Implicit differentiation of a fixed point (Bai, Kolter & Koltun, Deep Equilibrium Models, NeurIPS 2019): with J = ∂f/∂z at z* = f(z*),
 * ∂L/∂θ = uᵀ ∂f/∂θ, where u = Jᵀu + ∂L/∂z* is another fixed point.
 */
import * as tfc from '@tensorflow/tfjs-core';
import { serialization, type Tensor } from '@tensorflow/tfjs-core';
import { joined, parted } from '../autodiff/joined.js';
import { linearize, type Linearization } from '../autodiff/linearize.js';
import { disposeWithTape, isRecording, orderTape } from '../autodiff/tape.js';
import { checkBoolean, checkChoice, checkKeys, checkNumber, POSITIVE, warnOnce } from '../checks.js';
import { checkSolver, equilibrium, forwardSolve, type EquilibriumGradient, type EquilibriumProblem } from './equilibrium.js';
import { revive, serialized } from './serialized.js';
import { failureKey, failureOf, type Solution, type Solver, type SolveReport } from './solver.js';
import { total, type StateMap } from './space.js';

export interface ImplicitArgs {
  /** Solver of the backward pass. Default: the one that solves the forward pass, with `stop: 'relative'` (its tolerance within 1e-6 … 1e-3). */
  solver?: Solver;
  /**
   * Residual of the backward solve, ‖Jᵀu + ∂L/∂z* − u‖ relative or absolute as its solver stops, above which a sample counts as unsolved.
   * Default: the solver's tolerance.
   */
  acceptable?: number;
  /**
   * What an unsolved sample gets, after a warning: `best`, the u of least residual (never worse than the Jacobian-free one, from which the
   * solve starts unless a better start is known); `phantom`, the five first terms of the series Σ (Jᵀ)ᵏ ∂L/∂z*; `jacobianFree`, the first; or `throw`. Default `best`.
   */
  ifUnsolved?: 'best' | 'phantom' | 'jacobianFree' | 'throw';
  /** Start from the u of the last step, for batches that come back in the same order. Default false. */
  warmStart?: boolean;
  /**
   * Use the inverse that `broyden` has estimated in the forward pass (SHINE, Ramzi et al., ICLR 2022), as the `start` of the backward solve or,
   * without one, as its `answer`, which is then not checked. `broyden` then keeps all its updates, whatever its window; another solver of the
   * forward pass is an error. Default `none`.
   */
  inverseEstimate?: 'none' | 'start' | 'answer';
}

const OPTIONS = ['solver', 'acceptable', 'ifUnsolved', 'warmStart', 'inverseEstimate'] as const;
/** Terms of the series that stands in for an unsolved sample. */
const PHANTOM_TERMS = 5;
/** Tolerances of a backward solver that is taken over: tighter ones are beyond float32, looser ones no gradient. */
const [TIGHTEST, LOOSEST] = [1e-6, 1e-3];

/**
 * The exact gradient of a fixed point by the implicit function theorem, whatever path the solver took: memory for one evaluation of f,
 * independent of the number of iterations. f is recorded once, at z*; the backward pass solves u = Jᵀu + ∂L/∂z* by vector–Jacobian
 * products from that recording.
 *
 * Exact only as far as z* and u are: a backward solve that does not converge is told (a warning, once) and handled as `ifUnsolved`
 * says. Second derivatives work where the operations of f have them and what f closes over still exists in the backward pass; they evaluate f
 * again in each iteration.
 *
 * ```js
 * equilibrium(f, [z0], {solver: anderson(), gradient: implicit({solver: broyden()}), wrt: [w, x]});
 * ```
 *
 * Not for maps with a spectral radius near 1 and a loose tolerance: the error of u is up to the residual over the distance of J's nearest
 * eigenvalue from 1.
 */
export class Implicit extends serialization.Serializable implements EquilibriumGradient {
  /** @nocollapse */
  static readonly className = 'Implicit';
  readonly #args: Required<Omit<ImplicitArgs, 'solver' | 'acceptable'>> & Pick<ImplicitArgs, 'solver' | 'acceptable'>;
  #previous: Tensor[] = [];
  #inherited: { of: Solver; solver: Solver } | null = null;

  constructor(args: ImplicitArgs = {}) {
    super();
    const who = 'implicit';
    checkKeys(who, args, OPTIONS);
    this.#args = {
      solver: args.solver && checkSolver(who, 'solver', args.solver, 'broyden'),
      acceptable: args.acceptable === undefined ? undefined : checkNumber(who, 'acceptable', args.acceptable, POSITIVE),
      ifUnsolved: checkChoice(who, 'ifUnsolved', args.ifUnsolved ?? 'best', ['best', 'phantom', 'jacobianFree', 'throw']),
      warmStart: checkBoolean(who, 'warmStart', args.warmStart ?? false),
      inverseEstimate: checkChoice(who, 'inverseEstimate', args.inverseEstimate ?? 'none', ['none', 'start', 'answer']),
    };
  }

  checkSolver(who: string, solver: Solver): void {
    const { inverseEstimate } = this.#args;
    if (inverseEstimate === 'none' || solver.estimatesInverse === true) return;
    throw new Error(`${who}: implicit with inverseEstimate: '${inverseEstimate}' needs a solver that estimates the inverse Jacobian, got ${solver.getClassName()}. Take broyden as the solver, or inverseEstimate: 'none'.`);
  }

  apply(problem: EquilibriumProblem): Tensor[] {
    const { f, z0, wrt, onForward } = problem;
    if (!isRecording() || wrt.length === 0) {
      const solution = forwardSolve(problem);
      onForward(solution);
      return solution.state;
    }
    this.checkSolver('implicit', problem.solver);
    const value = tfc.customGrad((...args: unknown[]) => {
      const save = args.at(-1) as (tensors: Tensor[]) => void;
      const solution = forwardSolve(problem, { keepInverse: this.#args.inverseEstimate !== 'none' });
      const { state, inverse } = solution;
      onForward(solution);
      const tangent = linearize((...inputs) => f(inputs.slice(0, state.length)), [...state, ...wrt]);
      // The backward pass may not come by, and may come by more than once.
      disposeWithTape({ dispose: () => (tangent.dispose(), inverse?.dispose()) });
      const whole = joined(state);
      save([whole]);
      const gradFunc = (dy: Tensor, [saved]: Tensor[]) =>
        tfc.tidy(() => {
          const cotangents = parted(dy, z0);
          return isRecording() ? this.#recorded(problem, parted(saved, z0), cotangents) : tangent.vjp(this.#solve(problem, tangent, solution, cotangents), wrt);
        });
      return { value: whole, gradFunc };
    })(...wrt);
    return parted(value, z0);
  }

  /** u of {@link Implicit}, by products with the Jacobian at the solution. */
  #solve(problem: EquilibriumProblem, tangent: Linearization, { state, inverse }: Solution, cotangents: Tensor[]): Tensor[] {
    const { inverseEstimate, warmStart, ifUnsolved } = this.#args;
    // (I − J)⁻ᵀ = −(J − I)⁻ᵀ
    const estimated = inverse?.applyTranspose(cotangents).map((part) => tfc.neg(part));
    if (inverseEstimate === 'answer') return estimated === undefined ? cotangents : finiteOr(estimated, cotangents);
    const solver = this.#backward(problem);
    const product = (u: Tensor[]) => tangent.vjp(u, state);
    const map = (u: Tensor[]) => product(u).map((part, i) => tfc.add(part, cotangents[i]));
    const start = estimated === undefined ? ((warmStart ? this.#previousLike(cotangents) : null) ?? cotangents) : finiteOr(estimated, cotangents);
    const solution = solver.solve(map, start, { product, tell: (report) => this.#tell(report, solver, problem.owner), throws: ifUnsolved === 'throw' });
    const result = start === cotangents ? solution : this.#colder(solution, solver, map, product, cotangents);
    problem.onBackward(solution);
    // From what is not solved, the next step would not come back.
    if (warmStart) this.#remember(chosen(this.#solved(result, solver, map), result.state, cotangents));
    return this.#mended(result, solver, map, cotangents);
  }

  /** A solution from a start that was thought better than the cotangents; where that led nowhere, one from these instead. */
  #colder(solution: Solution, solver: Solver, map: StateMap, product: StateMap, cotangents: Tensor[]): Pick<Solution, 'state' | 'known'> {
    const { state, known } = solution;
    const { stop } = solver.limits;
    // Where it is not known in time, the nearer of the two.
    if (known === null) return { state: better(state, cotangents, map, this.#acceptable(solver), stop), known };
    if (!known.samples.some((sample) => this.#isUnsolved(sample, solver))) return solution;
    const cold = solver.solve(map, cotangents, { product, tell: () => undefined });
    const mixed = chosen(this.#solved(solution, solver, map), state, cold.state);
    cold.dispose();
    return { state: mixed, known: null };
  }

  /** Flags [batch]: whether u = map(u) as far as is acceptable; false for what is not finite. */
  #solved({ state, known }: Pick<Solution, 'state' | 'known'>, solver: Solver, map: StateMap): Tensor {
    if (known !== null) return tfc.tensor1d(known.samples.map((sample) => !this.#isUnsolved(sample, solver)), 'bool'); // prettier-ignore
    return tfc.lessEqual(residuals(state, map([...state]), solver.limits.stop), this.#acceptable(solver));
  }

  #acceptable({ limits: { tolerance } }: Solver): number {
    return this.#args.acceptable ?? tolerance;
  }

  /**
   * The solver of the backward pass. One that is taken over from the forward pass stops relative to its own scale: the cotangents of a loss that is a mean
   * may all be smaller than an absolute tolerance for states.
   */
  #backward({ solver }: EquilibriumProblem): Solver {
    if (this.#args.solver !== undefined) return this.#args.solver;
    if (solver.limits.stop === 'relative') return solver;
    if (this.#inherited?.of !== solver) {
      const { className, config } = serialized(solver) as { className: string; config: serialization.ConfigDict };
      const tolerance = Math.min(LOOSEST, Math.max(TIGHTEST, solver.limits.tolerance));
      this.#inherited = { of: solver, solver: revive('implicit', { className, config: { ...config, stop: 'relative', tolerance } }) };
    }
    return this.#inherited.solver;
  }

  #isUnsolved({ residual, relativeResidual }: SolveReport['samples'][number], solver: Solver): boolean {
    return !((solver.limits.stop === 'relative' ? relativeResidual : residual) <= this.#acceptable(solver));
  }

  #tell(report: SolveReport, solver: Solver, owner: string | undefined): void {
    const { ifUnsolved } = this.#args;
    const unsolved = report.samples.filter((sample) => this.#isUnsolved(sample, solver)).length;
    if (unsolved === 0) return;
    const who = `${owner === undefined ? '' : `${owner}: `}implicit (backward pass)`;
    const failure = failureOf(who, report, solver.limits) ?? `${who}: the residual is above acceptable.`;
    const message = `${failure} ${CONSEQUENCES[ifUnsolved]}`;
    if (ifUnsolved === 'throw') throw new Error(message);
    warnOnce(`${who} ${failureKey(report, solver.limits)}`, message);
  }

  /** The solution of the backward pass, with what `ifUnsolved` says in the place of samples that have none. */
  #mended(solution: Pick<Solution, 'state' | 'known'>, solver: Solver, map: StateMap, cotangents: Tensor[]): Tensor[] {
    const { ifUnsolved } = this.#args;
    const { state, known } = solution;
    if (ifUnsolved === 'best' || ifUnsolved === 'throw') return state;
    if (known?.samples.some((sample) => this.#isUnsolved(sample, solver)) === false) return state;
    let other = cotangents;
    if (ifUnsolved === 'phantom') for (let k = 1; k < PHANTOM_TERMS; k++) other = map(other);
    return chosen(this.#solved(solution, solver, map), state, other);
  }

  /** The gradients as functions of z*, the cotangents and `wrt`, for second derivatives: u is an equilibrium itself. */
  #recorded(problem: EquilibriumProblem, state: Tensor[], cotangents: Tensor[]): Tensor[] {
    const { f, wrt } = problem;
    // Else the saved z* would not be seen to depend on anything.
    orderTape();
    const map = (u: Tensor[]) => {
      const tangent = linearize((...z) => f(z), state);
      const image = tangent.vjp(u).map((part, i) => tfc.add(part, cotangents[i]));
      tangent.dispose();
      return image;
    };
    const solver = this.#backward(problem);
    const gradient = new Implicit({ ...this.#args, inverseEstimate: 'none', warmStart: false });
    const u = equilibrium(map, cotangents, { solver, gradient, wrt: [...state, ...cotangents, ...wrt], onForward: problem.onBackward });
    return linearize(() => f(state), wrt).vjp(u);
  }

  #previousLike(cotangents: readonly Tensor[]): Tensor[] | null {
    const previous = this.#previous;
    const same = previous.length === cotangents.length && previous.every(({ shape }, i) => tfc.util.arraysEqual(shape, cotangents[i].shape));
    return same ? previous : null;
  }

  #remember(u: readonly Tensor[]): void {
    this.dispose();
    this.#previous = u.map((part) => tfc.keep(tfc.where(tfc.isFinite(part), part, tfc.zerosLike(part))));
  }

  /** Frees what `warmStart` keeps. */
  dispose(): void {
    tfc.dispose(this.#previous);
    this.#previous = [];
  }

  getConfig(): serialization.ConfigDict {
    const { solver, acceptable, ...args } = this.#args;
    return { ...args, solver: solver === undefined ? null : serialized(solver), acceptable: acceptable ?? null };
  }

  static override fromConfig<T extends serialization.Serializable>(cls: serialization.SerializableConstructor<T>, config: serialization.ConfigDict): T {
    const { solver, acceptable, ...args } = config;
    return new cls({ ...args, ...(solver == null ? {} : { solver: revive('implicit', solver) }), ...(acceptable == null ? {} : { acceptable }) });
  }
}

const CONSEQUENCES = {
  best: "These samples get the u of least residual (ifUnsolved: 'best').",
  phantom: `These samples get ${PHANTOM_TERMS} terms of the series instead (ifUnsolved: 'phantom').`,
  jacobianFree: "These samples get the Jacobian-free gradient instead (ifUnsolved: 'jacobianFree').",
  throw: "Choose ifUnsolved: 'best', 'phantom' or 'jacobianFree' to go on nevertheless.",
};

/** a for samples whose flag is set, else b. */
const chosen = (flags: Tensor, a: readonly Tensor[], b: readonly Tensor[]): Tensor[] =>
  a.map((part, i) => tfc.where(tfc.reshape(flags, part.shape.map((_, axis) => (axis === 0 ? flags.size : 1))), part, b[i])); // prettier-ignore

/** u where it is solved, or nearer to it than the cotangents; else these. */
function better(u: readonly Tensor[], cotangents: readonly Tensor[], map: StateMap, acceptable: number, stop: 'relative' | 'absolute'): Tensor[] {
  const residual = residuals(u, map([...u]), stop);
  return chosen(tfc.logicalOr(tfc.lessEqual(residual, acceptable), tfc.lessEqual(residual, residuals(cotangents, map([...cotangents]), stop))), u, cotangents);
}

/** Samples of `estimated` that are finite throughout, else those of `others`. */
function finiteOr(estimated: readonly Tensor[], others: readonly Tensor[]): Tensor[] {
  const sums = total(estimated.map((part) => tfc.sum(tfc.abs(tfc.reshape(part, [part.shape[0] ?? 1, -1])), 1))); // prettier-ignore
  return chosen(tfc.isFinite(sums), estimated, others);
}

/** ‖image − u‖ per sample, relative to ‖image‖ if asked: [batch]. */
function residuals(u: readonly Tensor[], image: readonly Tensor[], stop: 'relative' | 'absolute'): Tensor {
  const squared = (parts: readonly Tensor[]) =>
    total(parts.map((part) => tfc.sum(tfc.square(tfc.reshape(part, [part.shape[0] ?? 1, -1])), 1))); // prettier-ignore
  const norm = tfc.sqrt(squared(u.map((part, i) => tfc.sub(image[i], part))));
  return stop === 'relative' ? tfc.div(norm, tfc.add(tfc.sqrt(squared(image)), 1e-9)) : norm;
}

export const implicit = (args?: ImplicitArgs): Implicit => new Implicit(args);

serialization.registerClass(Implicit);
