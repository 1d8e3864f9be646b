/**
 * Anderson acceleration, type II (Anderson, J. ACM 12, 1965; Walker & Ni, SIAM J. Numer. Anal. 49, 2011), per sample, as deep
 * equilibrium models use it (Bai, Kolter & Koltun, NeurIPS 2019).
 */
import { serialization, type Tensor } from '@tensorflow/tfjs-core';
import { checkNumber, integerAtLeast, NON_NEGATIVE } from '../checks.js';
import { DAMPING } from './fixed_point_iteration.js';
import { solverLimits, solveWith, type MakeMethod, type Solution, type SolveOptions, type Solver, type SolverArgs, type SolverLimits } from './solver.js';
import type { StateMap } from './space.js';

export interface AndersonArgs extends SolverArgs {
  /** Iterates that are combined. Integer ≥ 2. Default 6. */
  window?: number;
  /** Ridge of the least squares, relative to the squared length of each difference of residuals. Number ≥ 0. Default 1e-5. */
  ridge?: number;
  /** Share β of the combined images in the next state, the rest being the combined states; in (0, 1]. Default 1. */
  mixing?: number;
  /** Where the absolute residual is this many times the least so far, the history is dropped. Number > 1. Default 10. */
  restart?: number;
}

const andersonMethod = ({ window, ridge, mixing, restart }: Required<Omit<AndersonArgs, keyof SolverArgs>>): MakeMethod => (space) => {
  const { scalars: s } = space;
  const differences = space.ring(window);
  const images = space.ring(window);
  let plainSteps = space.hold(s.fill(0));
  let restarts = space.hold(s.fill(0));
  return {
    usesDifference: true,
    step({ image, difference, norm, leastNorm, active }) {
      const grown = s.mul(active, s.less(s.mul(leastNorm, restart), norm));
      differences.forget(grown);
      differences.push(difference!);
      images.push(image);
      const { weights, unsolved } = differences.affineWeights(ridge);
      [plainSteps, restarts] = [space.exchange(plainSteps, s.add(plainSteps, s.mul(active, unsolved))), space.exchange(restarts, s.add(restarts, grown))];
      const combined = images.sum(weights, 1);
      return mixing === 1 ? combined : differences.sum(weights, mixing - 1, combined);
    },
    counts: () => ({ plainSteps, restarts }),
  };
};

const RESTART = { expected: 'a finite number > 1', holds: (x: number) => x > 1 };

/**
 * z ← Σ_j α_j (β f(z_j) + (1 − β) z_j) over the last `window` iterates, Σ α = 1, with the α of each sample that minimise
 * ‖Σ α_j (f(z_j) − z_j)‖. One evaluation of f per iteration, memory for 2·`window` states; on linear problems it is GMRES. Converges where
 * plain iteration is slow, and often where it fails.
 *
 * The least squares stay solvable when residuals are parallel, or more than dimensions: differences are scaled to unit length
 * before `ridge` is added. Where there still is no solution a plain step is taken (`counts.plainSteps`); where the residual has
 * grown `restart`-fold above the least so far, the history is dropped (`counts.restarts`).
 *
 * ```js
 * const {state: [z], known} = anderson({window: 6}).solve(([z]) => [tf.tanh(tf.add(tf.matMul(z, w), x))], [tf.zeros([32, 64])]);
 * ```
 */
export class Anderson extends serialization.Serializable implements Solver {
  /** @nocollapse */
  static readonly className = 'Anderson';
  readonly limits: SolverLimits;
  readonly #own: Required<Omit<AndersonArgs, keyof SolverArgs>>;

  constructor(args: AndersonArgs = {}) {
    super();
    this.limits = solverLimits('anderson', args, ['window', 'ridge', 'mixing', 'restart']);
    this.#own = {
      window: checkNumber('anderson', 'window', args.window ?? 6, integerAtLeast(2), 'With one iterate it is fixedPointIteration.'),
      ridge: checkNumber('anderson', 'ridge', args.ridge ?? 1e-5, NON_NEGATIVE),
      mixing: checkNumber('anderson', 'mixing', args.mixing ?? 1, DAMPING),
      restart: checkNumber('anderson', 'restart', args.restart ?? 10, RESTART),
    };
  }

  solve(f: StateMap, z0: readonly Tensor[], options?: SolveOptions): Solution {
    return solveWith('anderson', andersonMethod(this.#own), this.limits, f, z0, options);
  }

  getConfig(): serialization.ConfigDict {
    return { ...this.limits, ...this.#own };
  }
}

export const anderson = (args?: AndersonArgs): Anderson => new Anderson(args);

serialization.registerClass(Anderson);
