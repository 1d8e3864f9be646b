/**
 * Phantom gradients (Geng et al., On Training Implicit Models, NeurIPS 2021): differentiate a few damped steps from the fixed point instead
 * of the fixed point itself.
 */
import * as tfc from '@tensorflow/tfjs-core';
import { serialization, type Tensor } from '@tensorflow/tfjs-core';
import { isRecording } from '../autodiff/tape.js';
import { checkKeys, checkNumber, integerAtLeast } from '../checks.js';
import { forwardSolve, type EquilibriumGradient, type EquilibriumProblem } from './equilibrium.js';
import { DAMPING } from './fixed_point_iteration.js';
import type { StateMap } from './space.js';

export interface PhantomArgs {
  /** Steps that are recorded. Integer ≥ 1. Default 5. */
  steps?: number;
  /** Share τ of f(z) in each step, in (0, 1]; 1 is no damping. Default 1. */
  damping?: number;
}

/** `steps` times z ← τ f(z) + (1 − τ) z. */
export function dampedSteps(f: StateMap, z: readonly Tensor[], steps: number, damping: number, visit?: (state: Tensor[], step: number) => void): Tensor[] {
  let state = [...z];
  for (let i = 0; i < steps; i++) {
    if (i > 0) visit?.(state, i);
    const image = f(state);
    state = damping === 1 ? image : image.map((part, j) => tfc.add(tfc.mul(part, damping), tfc.mul(state[j], 1 - damping)));
  }
  return state;
}

/**
 * Solves without recording, then records `steps` damped steps z ← τ f(z) + (1 − τ) z from there, whose last state is the value. (Outside of
 * gradient evaluations the value is the solution itself.)
 * Approximates the gradient by the first terms of τ Σ_k (τ Jᵀ + (1 − τ) I)ᵏ: cheaper than `implicit` and never unstable, but biased, the more so
 * the closer the spectral radius is to 1. Memory for `steps` evaluations of f. TorchDEQ advises τ of 0.5–0.7 for multiscale image models.
 *
 * ```js
 * equilibrium(f, [z0], {solver: anderson(), gradient: phantom({steps: 5, damping: 0.7}), wrt: [w]});
 * ```
 */
export class Phantom extends serialization.Serializable implements EquilibriumGradient {
  /** @nocollapse */
  static readonly className = 'Phantom';
  readonly steps: number;
  readonly damping: number;

  constructor(args: PhantomArgs = {}) {
    super();
    checkKeys('phantom', args, ['steps', 'damping']);
    this.steps = checkNumber('phantom', 'steps', args.steps ?? 5, integerAtLeast(1));
    this.damping = checkNumber('phantom', 'damping', args.damping ?? 1, DAMPING);
  }

  apply(problem: EquilibriumProblem): Tensor[] {
    return stepsFromSolution(problem, this.steps, this.damping);
  }

  getConfig(): serialization.ConfigDict {
    return { steps: this.steps, damping: this.damping };
  }
}

/** The solution, and where a gradient evaluation records, damped steps from it. */
export function stepsFromSolution(problem: EquilibriumProblem, steps: number, damping: number): Tensor[] {
  const solution = forwardSolve(problem);
  problem.onForward(solution);
  return isRecording() ? dampedSteps(problem.f, solution.state, steps, damping) : solution.state;
}

export const phantom = (args?: PhantomArgs): Phantom => new Phantom(args);

serialization.registerClass(Phantom);
