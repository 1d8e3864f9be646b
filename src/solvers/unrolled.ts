/** Backpropagation through a fixed number of iterations: what deep equilibrium models are pre-trained by, and the yardstick for the others. */
import * as tfc from '@tensorflow/tfjs-core';
import { serialization, type Tensor } from '@tensorflow/tfjs-core';
import { checkKeys, checkNumber, integerAtLeast } from '../checks.js';
import type { EquilibriumGradient, EquilibriumProblem } from './equilibrium.js';
import { DAMPING } from './fixed_point_iteration.js';
import { dampedSteps } from './phantom.js';

export interface UnrolledArgs {
  /** Iterations, of all samples. Integer ≥ 1. Required. */
  steps: number;
  /** Share τ of f(z) in each step, in (0, 1]; 1 is no damping. Default 1. */
  damping?: number;
}

/**
 * `steps` times z ← τ f(z) + (1 − τ) z from z₀, all recorded: a weight-tied network of that depth, with its exact gradient (of z₀ too).
 * Memory grows with `steps`. The solver is not used.
 *
 * ```js
 * equilibrium(f, [z0], {solver: anderson(), gradient: unrolled({steps: 5}), wrt: [w]});
 * ```
 */
export class Unrolled extends serialization.Serializable implements EquilibriumGradient {
  /** @nocollapse */
  static readonly className = 'Unrolled';
  readonly steps: number;
  readonly damping: number;

  constructor(args: UnrolledArgs) {
    super();
    checkKeys('unrolled', args, ['steps', 'damping']);
    this.steps = checkNumber('unrolled', 'steps', args.steps, integerAtLeast(1));
    this.damping = checkNumber('unrolled', 'damping', args.damping ?? 1, DAMPING);
  }

  apply({ f, z0, forward: { taps = [], onTap } = {} }: EquilibriumProblem): Tensor[] {
    const visited = (state: Tensor[], step: number) => taps.filter((at) => at === step || (step === this.steps && at > step)).forEach((at) => onTap?.(state.map((part) => tfc.clone(part)), at));
    const state = dampedSteps(f, z0, this.steps, this.damping, visited);
    visited(state, this.steps);
    return state;
  }

  getConfig(): serialization.ConfigDict {
    return { steps: this.steps, damping: this.damping };
  }
}

export const unrolled = (args: UnrolledArgs): Unrolled => new Unrolled(args);

serialization.registerClass(Unrolled);
