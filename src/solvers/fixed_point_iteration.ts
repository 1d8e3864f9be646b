/** Damped fixed-point (Picard) iteration: z ← τ f(z) + (1 − τ) z. */
import { serialization, type Tensor } from '@tensorflow/tfjs-core';
import { checkNumber } from '../checks.js';
import { solverLimits, solveWith, type MakeMethod, type SolverLimits, type Solution, type SolveOptions, type Solver, type SolverArgs } from './solver.js';
import type { StateMap } from './space.js';

export interface FixedPointIterationArgs extends SolverArgs {
  /** Share τ of f(z) in the next state, in (0, 1]; 1 is no damping. Default 1. */
  damping?: number;
}

const fixedPointMethod = (damping: number): MakeMethod => (space) => ({
  usesDifference: false,
  step: ({ z, image }) => (damping === 1 ? image : space.sum([damping, image], [1 - damping, z])),
  counts: () => ({}),
});

/**
 * z ← τ f(z) + (1 − τ) z for each sample until ‖f(z) − z‖ is small. One evaluation of f per iteration and no memory; converges where f
 * is a contraction, by the factor of its spectral radius per iteration. Use `anderson` or `broyden` where that is close to 1 or above.
 *
 * ```js
 * const {state: [z]} = fixedPointIteration({tolerance: 1e-5}).solve(([z]) => [tf.cos(z)], [tf.scalar(1)]);
 * ```
 */
export class FixedPointIteration extends serialization.Serializable implements Solver {
  /** @nocollapse */
  static readonly className = 'FixedPointIteration';
  readonly limits: SolverLimits;
  readonly #damping: number;

  constructor(args: FixedPointIterationArgs = {}) {
    super();
    this.limits = solverLimits('fixedPointIteration', args, ['damping']);
    this.#damping = checkNumber('fixedPointIteration', 'damping', args.damping ?? 1, DAMPING);
  }

  solve(f: StateMap, z0: readonly Tensor[], options?: SolveOptions): Solution {
    return solveWith('fixedPointIteration', fixedPointMethod(this.#damping), this.limits, f, z0, options);
  }

  getConfig(): serialization.ConfigDict {
    return { ...this.limits, damping: this.#damping };
  }
}

/** 0 < x ≤ 1 */
export const DAMPING = { expected: 'a number > 0 and ≤ 1', holds: (x: number) => x > 0 && x <= 1 };

export const fixedPointIteration = (args?: FixedPointIterationArgs): FixedPointIteration => new FixedPointIteration(args);

serialization.registerClass(FixedPointIteration);
