/** A fixed point as a differentiable value: a solver finds it, a gradient method says how to differentiate through it. */
import * as tfc from '@tensorflow/tfjs-core';
import type { serialization, Tensor } from '@tensorflow/tfjs-core';
import { checkHas, checkKeys, describe } from '../checks.js';
import { lateChecksOf } from './late_checks.js';
import type { Solution, SolveOptions, Solver } from './solver.js';
import { layoutOf, type StateMap } from './space.js';

/** A fixed point z = f(z) to be found from `z0`, and the tensors that f depends on and gradients are wanted for. */
export interface EquilibriumProblem {
  f: StateMap;
  z0: readonly Tensor[];
  solver: Solver;
  /** Tensors and variables that f closes over. What is not listed gets no gradient from methods that do not record all of f. */
  wrt: readonly Tensor[];
  /** For the solve that finds z. */
  forward?: Pick<SolveOptions, 'tell' | 'taps' | 'onTap'>;
  /** Takes the solve that found z; disposes of it, and must not keep its state. */
  onForward: (solution: Solution) => void;
  /** Takes the solve of the backward pass, where there is one, and disposes of it. */
  onBackward: (solution: Solution) => void;
  /** Whose it is, for what is told of the backward pass. */
  owner?: string;
}

/** The solve that finds z. */
export const forwardSolve = ({ f, z0, solver, forward }: EquilibriumProblem, options?: SolveOptions): Solution => solver.solve(f, z0, { replay: true, ...forward, ...options });

/** How to differentiate through a fixed point: `implicit`, `phantom`, `jacobianFree`, `unrolled`. */
export interface EquilibriumGradient extends serialization.Serializable {
  /** The fixed point, or what stands for it, connected to `wrt` for `tf.grads`. */
  apply(problem: EquilibriumProblem): Tensor[];
  /** @throws Error if it cannot go with the solutions of this solver. */
  checkSolver?(who: string, solver: Solver): void;
  /** Frees what it keeps between steps. */
  dispose?(): void;
}

/** Returns `solver`. @throws Error if it is none. */
export const checkSolver = (who: string, option: string, solver: Solver, example = 'anderson'): Solver => checkHas(who, option, solver, 'solve', `a solver such as ${example}()`);

/** Returns `gradient`. @throws Error if it is no gradient method, or does not go with `solver`. */
export function checkGradient(who: string, gradient: EquilibriumGradient, solver: Solver): EquilibriumGradient {
  checkHas(who, 'gradient', gradient, 'apply', 'a gradient method such as implicit()').checkSolver?.(who, solver);
  return gradient;
}

export interface EquilibriumArgs extends Pick<EquilibriumProblem, 'solver'>, Partial<Pick<EquilibriumProblem, 'onForward' | 'onBackward'>> {
  gradient: EquilibriumGradient;
  /** Default: none. */
  wrt?: readonly Tensor[];
}

/**
 * z* = f(z*), found by `solver` from `z0` and differentiable with respect to `wrt` by `gradient`. f maps a list of float32 tensors
 * `[batch, …]` to a list of the same shapes; weights and inputs are what it closes over. It must not change between calls (no fresh dropout
 * masks). The start `z0` gets no gradient, except by `unrolled`.
 *
 * ```js
 * const f = ([z]) => [tf.tanh(tf.add(tf.matMul(z, w), x))];
 * const loss = () => {
 *   const [z] = equilibrium(f, [tf.zeros(x.shape)], {solver: anderson(), gradient: implicit(), wrt: [w, x]});
 *   return tf.mean(tf.square(tf.sub(z, target)));
 * };
 * const {grads} = tf.variableGrads(loss, [w]);
 * ```
 *
 * @throws Error for states that are not float32 or differ in their batch, and if f's results do not have the state's shapes.
 */
export function equilibrium(f: StateMap, z0: readonly Tensor[], args: EquilibriumArgs): Tensor[] {
  const who = 'equilibrium';
  checkKeys(who, args, ['solver', 'gradient', 'wrt', 'onForward', 'onBackward']);
  const { solver, gradient, wrt = [] } = args;
  checkSolver(who, 'solver', solver);
  checkGradient(who, gradient, solver);
  if (typeof f !== 'function') throw new Error(`${who}: f must be a function from a list of tensors to a list of tensors, got ${describe(f)}.`);
  layoutOf(who, z0);
  const checks = lateChecksOf(solver);
  checks.raise();
  const checked = (kind: string) => (solution: Solution) => {
    checks.look(kind, solution);
    solution.dispose();
  };
  const { onForward = checked('forward'), onBackward = checked('backward') } = args;
  return tfc.tidy(() => gradient.apply({ f, z0, solver, wrt: [...new Set(wrt)], onForward, onBackward }));
}
