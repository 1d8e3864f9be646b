/**
 * Broyden's good method with limited memory (Broyden, Math. Comp. 19, 1965; Kelley, Iterative Methods, 1995, ch. 7), per sample, on
 * g(z) = f(z) − z.
 */
import { serialization, type Tensor } from '@tensorflow/tfjs-core';
import { checkBoolean, checkNumber, integerAtLeast } from '../checks.js';
import { DAMPING } from './fixed_point_iteration.js';
import { LineSearch } from './line_search.js';
import { solverLimits, solveWith, type MakeMethod, type Solution, type SolveOptions, type Solver, type SolverArgs, type SolverLimits } from './solver.js';
import type { StateMap } from './space.js';

export interface BroydenArgs extends SolverArgs {
  /** Updates of the inverse after which it is begun afresh from −I. Integer ≥ 1. Default 30. */
  window?: number;
  /** Length α of a step, in (0, 1]. Default 1. */
  stepSize?: number;
  /** Halve a step, up to five times, while it does not shorten the residual. Default false. */
  lineSearch?: boolean;
}

type Own = Required<Omit<BroydenArgs, keyof SolverArgs>>;

/** How often the line search may halve a step. */
const HALVINGS = 5;
/** An update whose denominator vᵀΔg is a smaller share of its two terms is rounding, and left out. */
const CANCELLED = 1e-6;

const broydenMethod = ({ window: asked, stepSize, lineSearch }: Own): MakeMethod => (space, { stepsToKeep }) => {
  const { scalars: s } = space;
  // An estimate that is wanted at the end must not be begun afresh, not even while nobody can see that all have converged.
  const window = Math.max(asked, stepsToKeep ?? 0);
  let us = space.ring(window);
  let vs = space.ring(window);
  const search = new LineSearch(space, stepSize, lineSearch ? HALVINGS : 0);
  type Vector = Parameters<typeof space.dot>[0];
  let gBefore: Vector | null = null;
  let restarts = 0;
  let skippedUpdates = space.hold(s.fill(0));
  return {
    usesDifference: true,
    step({ z, difference, norm, active }) {
      const g = difference!;
      const accepted = search.accepted(norm);
      if (us.length === window) {
        // Forgetting single updates instead, as TorchDEQ does, makes contractions diverge: the later ones were made on top of them.
        us.clear();
        vs.clear();
        [us, vs] = [space.ring(window), space.ring(window)];
        space.release(gBefore!);
        gBefore = null;
        restarts++;
      }
      // w = −B⁻¹g; the next direction, once B⁻¹ has learnt from the last step.
      let w = us.length === 0 ? g : us.sum(vs.dots(g), -1, g);
      if (gBefore !== null) {
        const before = search.direction!;
        const whole = stepSize === 1 && !lineSearch;
        const dz = whole ? before : space.sum([search.stepSize, before]);
        // v = B⁻ᵀΔz
        const v = us.length === 0 ? space.sum([-1, dz]) : vs.sum(us.dots(dz), 1, dz, -1);
        const [vg, vgBefore] = [space.dot(v, g), space.dot(v, gBefore)];
        const denominator = s.sub(vg, vgBefore);
        const learns = s.mul(accepted, s.less(s.mul(s.add(s.abs(vg), s.abs(vgBefore)), CANCELLED), s.abs(denominator)));
        const inverse = s.where(learns, s.div(1, s.where(learns, denominator, 1)), 0);
        // u = (Δz − B⁻¹Δg) / vᵀΔg, where B⁻¹g before is −direction
        const u = whole ? space.sum([inverse, w]) : space.sum([inverse, w], [s.mul(inverse, s.sub(search.stepSize, 1)), before]);
        w = space.sum([1, w], [s.mul(vg, -1), u]);
        us.push(u);
        vs.push(v);
        skippedUpdates = space.exchange(skippedUpdates, s.add(skippedUpdates, s.mul(active, s.sub(accepted, learns))));
      }
      const gNow = gBefore === null ? g : space.select(accepted, g, gBefore);
      gBefore = gBefore === null ? space.hold(gNow) : space.exchange(gBefore, gNow);
      return search.next(accepted, z, w, norm);
    },
    counts: () => ({ skippedUpdates, restarts }),
    inverse: () => (us.length === 0 ? null : { u: us.matrix(), v: vs.matrix() }),
  };
};

/**
 * z ← z − α B⁻¹g(z), g(z) = f(z) − z, with an estimate of the inverse Jacobian of each sample that learns from every step:
 * B₀⁻¹ = −I, B⁻¹ ← B⁻¹ + (Δz − B⁻¹Δg) ΔzᵀB⁻¹ / (ΔzᵀB⁻¹Δg). One evaluation of f per iteration, memory for 2·`window` states,
 * 4·(updates kept)·size multiplications. Converges superlinearly where it converges, also where f is expansive.
 *
 * Updates whose denominator is all rounding are left out (`counts.skippedUpdates`); after `window` updates all are forgotten (`counts.restarts`).
 * The estimate can serve the backward pass too, see `inverseEstimate` of `implicit`.
 *
 * ```js
 * const {state: [z]} = broyden({tolerance: 1e-5}).solve(([z]) => [tf.sub(tf.mul(z, -3), 1)], [tf.zeros([4, 2])]); // −¼, f is expansive
 * ```
 */
export class Broyden extends serialization.Serializable implements Solver {
  /** @nocollapse */
  static readonly className = 'Broyden';
  readonly limits: SolverLimits;
  readonly estimatesInverse = true;
  readonly #own: Own;

  constructor(args: BroydenArgs = {}) {
    super();
    this.limits = solverLimits('broyden', args, ['window', 'stepSize', 'lineSearch']);
    this.#own = {
      window: checkNumber('broyden', 'window', args.window ?? 30, integerAtLeast(1)),
      stepSize: checkNumber('broyden', 'stepSize', args.stepSize ?? 1, DAMPING),
      lineSearch: checkBoolean('broyden', 'lineSearch', args.lineSearch ?? false),
    };
  }

  solve(f: StateMap, z0: readonly Tensor[], options?: SolveOptions): Solution {
    return solveWith('broyden', broydenMethod(this.#own), this.limits, f, z0, options);
  }

  getConfig(): serialization.ConfigDict {
    return { ...this.limits, ...this.#own };
  }
}

export const broyden = (args?: BroydenArgs): Broyden => new Broyden(args);

serialization.registerClass(Broyden);
