/** Jacobian-free backpropagation (Fung et al., JFB, AAAI 2022): the gradient of one step from the fixed point. */
import { serialization, type Tensor } from '@tensorflow/tfjs-core';
import type { EquilibriumGradient, EquilibriumProblem } from './equilibrium.js';
import { stepsFromSolution } from './phantom.js';

/**
 * Solves without recording, then records one evaluation of f there: u = ∂L/∂z* in place of (I − Jᵀ)⁻¹ ∂L/∂z*. The cheapest gradient, a
 * direction of descent where f is contractive enough; `phantom({steps: 1})` by another name.
 *
 * ```js
 * equilibrium(f, [z0], {solver: fixedPointIteration(), gradient: jacobianFree(), wrt: [w]});
 * ```
 */
export class JacobianFree extends serialization.Serializable implements EquilibriumGradient {
  /** @nocollapse */
  static readonly className = 'JacobianFree';

  apply(problem: EquilibriumProblem): Tensor[] {
    return stepsFromSolution(problem, 1, 1);
  }

  getConfig(): serialization.ConfigDict {
    return {};
  }
}

export const jacobianFree = (): JacobianFree => new JacobianFree();

serialization.registerClass(JacobianFree);
