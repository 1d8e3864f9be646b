/** Fixed-point problems with known answers, shared by the suites; the numbers and their origin stand in ../fixtures/fixed_points.json. */
import * as tf from '@tensorflow/tfjs-core';
import { anderson } from '../../src/solvers/anderson.js';
import { broyden } from '../../src/solvers/broyden.js';
import { fixedPointIteration } from '../../src/solvers/fixed_point_iteration.js';
import { newtonKrylov } from '../../src/solvers/newton_krylov.js';
import type { Solver, SolverArgs, StopReason } from '../../src/solvers/solver.js';
import type { StateMap } from '../../src/solvers/space.js';
import reference from '../fixtures/fixed_points.json' with { type: 'json' };

export const METHODS = {
  fixedPointIteration: (args: SolverArgs): Solver => fixedPointIteration(args),
  anderson: (args: SolverArgs): Solver => anderson({ window: reference.window, ...args }),
  broyden: (args: SolverArgs): Solver => broyden(args),
  newtonKrylov: (args: SolverArgs): Solver => newtonKrylov(args),
};
export type MethodName = keyof typeof METHODS;

export interface FixedPointProblem {
  name: string;
  z0: number[][];
  root: number[][] | null;
  /** Evaluations of f until every sample is done, by others: null where they did not get there. */
  evaluations: Partial<Record<MethodName, { torchdeq?: number | null; scipy?: number | null }>>;
  f: StateMap;
}

export const { tolerance: TOLERANCE, maxIterations: MOST } = reference;

interface Data {
  kind: string;
  A?: number[][];
  c?: number[][];
  a?: number[];
}

function mapOf({ kind, A, c, a }: Data): StateMap {
  const moved = (z: tf.Tensor) => tf.add(tf.matMul(z as tf.Tensor2D, tf.tensor2d(A!), false, true), tf.tensor2d(c!));
  const kinds: Record<string, (z: tf.Tensor) => tf.Tensor> = {
    affine: moved,
    tanh: (z) => tf.tanh(moved(z)),
    cos: (z) => tf.cos(z),
    bent: (z) => tf.add(tf.mul(tf.tensor1d(a!), tf.add(tf.tanh(z), z)), tf.tensor2d(c!)),
  };
  return ([z]) => [kinds[kind](z)];
}

/** Found by hand, and compared with nobody. */
const FURTHER = [
  // From 0 the residual first grows by a factor of 10⁶, then the iteration tends to 0.995.
  { name: 'late start', kind: 'tanh', A: [[3]], c: [[1e-6]], z0: [[0]], root: null, evaluations: {} },
  // A turn that is cut off: it ends in a cycle, with states of larger residuals that are smaller relative to f.
  { name: 'cycle', kind: 'tanh', A: [[0.5, -3], [3, 0.5]], c: [[0.2, 0]], z0: [[0, 0]], root: null, evaluations: {} }, // prettier-ignore
];

export const PROBLEMS: FixedPointProblem[] = [...reference.problems, ...FURTHER].map((problem) => ({ ...(problem as unknown as FixedPointProblem), f: mapOf(problem as unknown as Data) }));

/** How plain iteration fails where the map is no contraction. */
export const PLAIN_FAILS: Record<string, StopReason> = {
  rotation: 'maxIterations',
  'growing rotation': 'diverged',
  expansive: 'diverged',
  'expansive, bent': 'diverged',
  'no root': 'maxIterations',
  'tanh, strong': 'maxIterations',
  cycle: 'maxIterations',
};

export const problem = (name: string): FixedPointProblem => PROBLEMS.find((each) => each.name === name)!;
