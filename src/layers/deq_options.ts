/** What a deep equilibrium layer is made with, checked. */
import { checkHas, checkKeys, checkNumber, describe, integerAtLeast, NON_NEGATIVE, OPEN_UNIT } from '../checks.js';
import { LAYER_OPTIONS, type Layer, type LayerArgs } from '../host.js';
import { anderson } from '../solvers/anderson.js';
import { checkGradient, checkSolver, type EquilibriumGradient } from '../solvers/equilibrium.js';
import { implicit } from '../solvers/implicit.js';
import type { Solver } from '../solvers/solver.js';
import type { KernelNormalization } from './kernel_normalization.js';

export interface JacobianPenaltyOptions {
  /** Factor γ of the penalty in the training loss. ≥ 0. */
  weight: number;
  /** Random vectors per estimate. Integer ≥ 1. Default 1. */
  samples?: number;
  /** Probability that a step has the penalty, in (0, 1]; its expectation does not change. Default 1. */
  frequency?: number;
}

export interface DEQLayerArgs extends LayerArgs {
  /** The map: a model (or layer) with inputs [z…, x…] and outputs, the next z…, in the shapes of the states. Required. */
  cell: Layer;
  /** Default: `anderson()`. */
  solver?: Solver;
  /** Solver in inference: often more iterations. Default null: `solver`. */
  inferenceSolver?: Solver | null;
  /** How to differentiate: `implicit`, `phantom`, `jacobianFree` or `unrolled`. Default: `implicit()`. */
  gradient?: EquilibriumGradient;
  /**
   * Where the solve begins: `zeros`; `learned`, weights of the layer that follow the mean of the solutions (the fixed point itself does not depend
   * on its start); or `given`, further inputs of the layer, after the others. Default `zeros`.
   */
  initialState?: 'zeros' | 'learned' | 'given';
  /** Adds γ‖∂f/∂z‖²_F / numel at the solution to the training loss. A number is γ. Default null: none. */
  jacobianPenalty?: number | JacobianPenaltyOptions | null;
  /** Reparametrises the cell's kernels (its trainable weights of rank ≥ 2): `weightNormalization()`, `spectralNormalization()`. Default null. */
  kernelNormalization?: KernelNormalization | null;
  /** Iterations after which the state is an output too, for supervision on the way (see `fixedPointCorrection`). Default [], none. */
  trajectory?: number[];
}

export const OPTIONS = ['cell', 'solver', 'inferenceSolver', 'gradient', 'initialState', 'jacobianPenalty', 'kernelNormalization', 'trajectory', ...LAYER_OPTIONS] as const;
export const START = ['zeros', 'learned', 'given'] as const;

/** What may change between steps. */
export interface StepSettings {
  solver: Solver;
  inferenceSolver: Solver | null;
  gradient: EquilibriumGradient;
  jacobianPenalty: Required<JacobianPenaltyOptions> | null;
}

/** Without what is undefined. */
export const given = <T extends object>(changes: T): Partial<T> => Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined)) as Partial<T>;

export function settingsOf({ solver: given, inferenceSolver, gradient, jacobianPenalty: penalty }: Partial<DEQLayerArgs>): StepSettings {
  const who = 'DEQLayer';
  const solver = checkSolver(who, 'solver', given ?? anderson());
  return {
    solver,
    inferenceSolver: inferenceSolver == null ? null : checkSolver(who, 'inferenceSolver', inferenceSolver),
    gradient: checkGradient(who, gradient ?? implicit(), solver),
    jacobianPenalty: checkPenalty(penalty ?? null),
  };
}

export const checkNormalization = (normalization: KernelNormalization | null): KernelNormalization | null =>
  normalization && checkHas('DEQLayer', 'kernelNormalization', normalization, 'weightsFor', 'weightNormalization() or spectralNormalization()');

function checkPenalty(penalty: number | JacobianPenaltyOptions | null): Required<JacobianPenaltyOptions> | null {
  if (penalty === null) return null;
  const who = 'DEQLayer: jacobianPenalty';
  const { weight, samples = 1, frequency = 1 } = typeof penalty === 'number' ? { weight: penalty } : penalty;
  if (typeof penalty === 'object') checkKeys(who, penalty, ['weight', 'samples', 'frequency']);
  return {
    weight: checkNumber(who, 'weight', weight, NON_NEGATIVE),
    samples: checkNumber(who, 'samples', samples, integerAtLeast(1)),
    frequency: frequency === 1 ? 1 : checkNumber(who, 'frequency', frequency, OPEN_UNIT),
  };
}

export function checkTrajectory(trajectory: number[]): readonly number[] {
  const sensible = Array.isArray(trajectory) && trajectory.every((iteration, i) => Number.isInteger(iteration) && iteration >= 1 && (i === 0 || iteration > trajectory[i - 1]));
  if (sensible) return [...trajectory];
  throw new Error(`DEQLayer: trajectory must be a list of rising iterations ≥ 1, got ${describe(trajectory)}.`);
}
