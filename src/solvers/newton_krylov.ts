/**
 * Newton's method on g(z) = f(z) − z, each linear system solved by a Krylov method with products of the Jacobian only (Knoll & Keyes,
 * J. Comput. Phys. 193, 2004), per sample.
 *
 * The Krylov method is GCR (Eisenstat, Elman & Schultz, SIAM J. Numer. Anal. 20, 1983), which has the iterates of GMRES, but keeps the
 * products A p_j orthonormal rather than the directions p_j: each step then is two dot products, with no least-squares problem to be solved.
 * Where GCR would stall, because the residual is orthogonal to its image, the next direction is the last product (ORTHODIR).
 */
import { serialization, type Tensor } from '@tensorflow/tfjs-core';
import { linearize, NoGradientError } from '../autodiff/linearize.js';
import { checkBoolean, checkChoice, checkNumber, integerAtLeast, OPEN_UNIT } from '../checks.js';
import { LineSearch } from './line_search.js';
import { solverLimits, solveWith, type MakeMethod, type Solution, type SolveOptions, type Solver, type SolverArgs, type SolverLimits } from './solver.js';
import type { Space, StateMap } from './space.js';

export interface NewtonKrylovArgs extends SolverArgs {
  /** Products with the Jacobian per linear system at most. Integer ≥ 1. Default 20. */
  krylovIterations?: number;
  /** Residual to which a linear system is solved, relative to its right-hand side, in (0, 1). Default 1e-3. */
  krylovTolerance?: number;
  /**
   * Where products come from: `exact`, by differentiating f forward (the backward pass of f must be differentiable itself), or `differences`,
   * by one more evaluation of f each. Default `exact`.
   */
  products?: 'exact' | 'differences';
  /** Halve a step, up to eight times, while it does not shorten the residual. Default true. */
  lineSearch?: boolean;
}

type Own = Required<Omit<NewtonKrylovArgs, keyof SolverArgs>>;

const HALVINGS = 8;
/** Share of a product's squared norm that must be left of it after orthogonalisation. */
const DEPENDENT = 1e-10;
/** A squared norm below which a direction counts as none. */
const NOTHING = 1e-30;
/** A step of GCR that explains less than this share of the residual has stalled. */
const STALLED = 1e-3;

/** x with x − J x ≈ right for each sample, by GCR from x = 0; and how many products that took. */
export function krylovSolve<V, S, W>(space: Space<V, S, W>, product: (v: V) => V, right: V, iterations: number, tolerance: number): { x: V; products: number } {
  const { scalars: s } = space;
  const directions = space.ring(iterations);
  const images = space.ring(iterations);
  const least = s.mul(s.sqrt(space.dot(right, right)), tolerance);
  let x = space.hold(space.sum([0, right]));
  let residual = space.hold(right);
  let direction = space.hold(right);
  let products = 0;
  for (let going = true; going; ) {
    space.scope(() => {
      let p = direction;
      let image = space.sum([1, p], [-1, product(p)]);
      products++;
      const whole = space.dot(image, image);
      // Twice is enough for orthogonality to rounding.
      for (let pass = 0; pass < 2 && images.length > 0; pass++) {
        const weights = images.dots(image);
        image = images.sum(weights, -1, image);
        p = directions.sum(weights, -1, p);
      }
      const squared = space.dot(image, image);
      // What rounding leaves of a product that the others explain is no direction.
      const usable = s.less(s.add(s.mul(whole, DEPENDENT), NOTHING), squared);
      const scale = s.where(usable, s.div(1, s.sqrt(s.where(usable, squared, 1))), 0);
      [p, image] = [space.sum([scale, p]), space.sum([scale, image])];
      const share = space.dot(image, residual);
      x = space.exchange(x, space.sum([1, x], [share, p]));
      residual = space.exchange(residual, space.sum([1, residual], [s.mul(share, -1), image]));
      const left = s.sqrt(space.dot(residual, residual));
      going = products < iterations && (space.looking !== 'free' || space.any(s.mul(usable, s.less(least, left))));
      if (!going) return;
      directions.push(p);
      images.push(image);
      const stalled = s.less(s.abs(share), s.mul(left, STALLED));
      direction = space.exchange(direction, space.select(stalled, image, residual));
    });
  }
  // A copy that belongs to the scope around.
  const solution = space.sum([1, x]);
  for (const v of [x, residual, direction]) space.release(v);
  directions.clear();
  images.clear();
  return { x: solution, products };
}

const newtonKrylovMethod = ({ krylovIterations, krylovTolerance, products, lineSearch }: Own): MakeMethod => (space, { f, product }) => {
  const { scalars: s } = space;
  const search = new LineSearch(space, 1, lineSearch ? HALVINGS : 0);
  let counted = 0;

  type Vector = Parameters<typeof space.dot>[0];
  const solve = (apply: (v: Vector) => Vector, difference: Vector) => {
    const { x, products: count } = krylovSolve(space, apply, difference, krylovIterations, krylovTolerance);
    counted += count;
    return x;
  };
  const direction = (z: Vector, image: Vector, difference: Vector): Vector => {
    if (product !== null) return solve(product, difference);
    if (products === 'differences') return solve(differences(z, image), difference);
    const state = space.tensors(z);
    const tangent = linearize((...parts) => f(parts), state);
    try {
      return solve((v) => space.evaluate((parts) => tangent.jvp(parts), v), difference);
    } catch (error) {
      if (!(error instanceof NoGradientError)) throw error;
      throw new Error(`newtonKrylov: exact products differentiate the gradients of f, and the operation ${error.kernelName} has none. Use products: 'differences', or compose f of operations that can be differentiated twice.`, { cause: error });
    } finally {
      tangent.dispose();
      [...state, ...tangent.value].forEach((tensor) => tensor.dispose());
    }
  };
  /** v ↦ (f(z + εv) − f(z)) / ε, with ε so that both changes and rounding are small in float32. */
  const differences = (z: Vector, image: Vector) => {
    const scale = s.add(s.sqrt(space.dot(z, z)), s.sqrt(space.dot(image, image)));
    const size = s.where(s.less(NOTHING, scale), scale, 1);
    return (v: Vector) => {
      const length = s.sqrt(space.dot(v, v));
      const some = s.less(NOTHING, length);
      const epsilon = s.where(some, s.div(s.mul(size, 1e-3), s.where(some, length, 1)), 1);
      const there = space.evaluate(f, space.sum([1, z], [epsilon, v]));
      const inverse = s.div(1, epsilon);
      return space.sum([inverse, there], [s.mul(inverse, -1), image]);
    };
  };
  return {
    usesDifference: true,
    step({ z, image, difference, norm }) {
      const accepted = search.accepted(norm);
      // Where nobody wants a new direction none is computed, as far as that can be known.
      const needed = space.looking !== 'free' || space.any(accepted);
      return search.next(accepted, z, needed ? direction(z, image, difference!) : search.direction!, norm);
    },
    counts: () => ({ products: counted }),
  };
};

/**
 * z ← z + λ δ, (I − J) δ = f(z) − z, J = ∂f/∂z: a handful of iterations, each with up to `krylovIterations` products with the Jacobian
 * (`counts.products`; each costs about as much as f, two with `differences`) and memory for 2·`krylovIterations` states. For systems that
 * are stiff, expansive or wanted to high accuracy. With few, cheap evaluations `anderson` or `broyden` are faster.
 *
 * The backward pass of `implicit` is linear: there it takes one or two iterations.
 *
 * ```js
 * const {state: [z]} = newtonKrylov({tolerance: 1e-6}).solve(([z]) => [tf.cos(z)], [tf.ones([8, 1])]);
 * ```
 *
 * Deviation from GMRES: see above; the iterates are the same in exact arithmetic.
 */
export class NewtonKrylov extends serialization.Serializable implements Solver {
  /** @nocollapse */
  static readonly className = 'NewtonKrylov';
  readonly limits: SolverLimits;
  readonly #own: Own;

  constructor(args: NewtonKrylovArgs = {}) {
    super();
    const who = 'newtonKrylov';
    this.limits = solverLimits(who, args, ['krylovIterations', 'krylovTolerance', 'products', 'lineSearch']);
    this.#own = {
      krylovIterations: checkNumber(who, 'krylovIterations', args.krylovIterations ?? 20, integerAtLeast(1)),
      krylovTolerance: checkNumber(who, 'krylovTolerance', args.krylovTolerance ?? 1e-3, OPEN_UNIT),
      products: checkChoice(who, 'products', args.products ?? 'exact', ['exact', 'differences']),
      lineSearch: checkBoolean(who, 'lineSearch', args.lineSearch ?? true),
    };
  }

  solve(f: StateMap, z0: readonly Tensor[], options?: SolveOptions): Solution {
    return solveWith('newtonKrylov', newtonKrylovMethod(this.#own), this.limits, f, z0, options);
  }

  getConfig(): serialization.ConfigDict {
    return { ...this.limits, ...this.#own };
  }
}

export const newtonKrylov = (args?: NewtonKrylovArgs): NewtonKrylov => new NewtonKrylov(args);

serialization.registerClass(NewtonKrylov);
