/**
 * The loop that every method runs in: evaluate f, measure the residual, keep the best iterate of each sample, decide per sample whether to go
 * on, ask the method for the next iterate. A sample that is done stays at its best iterate.
 */
import { keep, type Tensor } from '@tensorflow/tfjs-core';
import type { Space, StateMap } from './space.js';

/** What a method sees of an iteration. */
export interface Iteration<V, S> {
  z: V;
  /** f(z) */
  image: V;
  /** f(z) − z, for methods that ask for it. */
  difference: V | null;
  /** ‖f(z) − z‖ per sample. */
  norm: S;
  /** The least norm so far, this one included. */
  leastNorm: S;
  /** Samples that go on; the others' next iterate is not looked at. */
  active: S;
}

/** A method at work on one problem. */
export interface Method<V, S> {
  /** Whether it wants `difference`. */
  readonly usesDifference: boolean;
  /** The next iterate. */
  step(iteration: Iteration<V, S>): V;
  /** Counts per sample, by name, e.g. how often it fell back to a plain step. */
  counts(): Record<string, S | number>;
}

export interface LoopLimits {
  tolerance: number;
  /** Residual ‖f(z) − z‖, or that over ‖f(z)‖ + 1e-9. */
  stop: 'absolute' | 'relative';
  /** Evaluations of f. */
  maxIterations: number;
  /** Iterations between looks at whether all are done, where looking is costly. */
  checkEvery: number;
}

/** A norm ‖f(z) − z‖ this many times the scale of the problem is divergence: whatever is bounded may still converge, however small it was at first. */
const DIVERGENCE = 1e4;
/** Stands for infinity, which GPU compilers may take for impossible; norms beyond it count as not finite. */
export const HUGE = 1e30;

/** What is known per sample while a solve goes on, and after it. */
export class Progress<S> {
  active: S;
  converged: S;
  diverged: S;
  /** The iteration (from 1) at which f was not finite, or 0. */
  nonFiniteAt: S;
  iterations: S;
  /** The least ‖f(z) − z‖, wherever. */
  leastNorm: S;
  /** The residual that the solve stops by, ‖f(z) − z‖ and ‖f(z)‖ at the best iterate: the one that met the tolerance, until then the one of least residual. */
  leastResidual: S;
  bestNorm: S;
  bestSize: S;
  /** The residual at each iteration. */
  readonly trace: S[] = [];
  looks = 0;
  readonly #space: Space<unknown, S, unknown>;
  readonly #limits: LoopLimits;
  readonly #leastScale: number;
  /** Norm and size at z₀. */
  #first: { norm: S; size: S } | null = null;

  /** @param leastScale of the state: 1, or 0 where f is affine, so that its scale is that of what it is given. */
  constructor(space: Space<unknown, S, unknown>, limits: LoopLimits, leastScale: number) {
    this.#space = space;
    this.#limits = limits;
    this.#leastScale = leastScale;
    const held = (value: number) => space.hold(space.scalars.fill(value));
    this.active = held(1);
    [this.converged, this.diverged, this.nonFiniteAt, this.iterations] = [held(0), held(0), held(0), held(0)];
    [this.leastNorm, this.leastResidual, this.bestNorm, this.bestSize] = [held(HUGE), held(HUGE), held(HUGE), held(HUGE)];
  }

  /** Takes notice of the residuals at an iterate; returns the samples for which it is the best so far. */
  observe(norm: S, size: S): S {
    const { scalars: s } = this.#space;
    const { stop, tolerance } = this.#limits;
    const residual = stop === 'relative' ? s.div(norm, s.add(size, 1e-9)) : s.mul(norm, 1);
    this.trace.push(this.#space.hold(residual));
    this.#first ??= { norm: this.#space.hold(s.mul(norm, 1)), size: this.#space.hold(s.mul(size, 1)) };
    const scale = s.add(s.add(this.#first.norm, this.#first.size), this.#leastScale);
    // NaN is not less than anything.
    const finite = s.less(s.add(norm, size), HUGE);
    // Where a sample is not active or not finite, nothing is less.
    const counts = s.mul(this.active, finite);
    const low = s.less(s.where(counts, residual, HUGE), tolerance);
    const better = s.add(low, s.mul(s.not(low), s.less(s.where(counts, residual, HUGE), this.leastResidual)));
    const lost = s.mul(s.not(low), s.less(s.mul(scale, DIVERGENCE), s.where(counts, norm, 0)));
    const broken = s.mul(this.active, s.not(finite));
    const { trace } = this;
    this.#replace({
      iterations: s.add(this.iterations, this.active),
      leastNorm: s.where(s.less(s.where(counts, norm, HUGE), this.leastNorm), norm, this.leastNorm),
      leastResidual: s.where(better, residual, this.leastResidual),
      bestNorm: s.where(better, norm, this.bestNorm),
      bestSize: s.where(better, size, this.bestSize),
      converged: s.add(this.converged, low),
      diverged: s.add(this.diverged, lost),
      nonFiniteAt: s.add(this.nonFiniteAt, s.mul(broken, trace.length)),
      active: s.mul(this.active, s.not(s.add(s.add(low, lost), broken))),
    });
    return better;
  }

  /**
   * Samples that ran away whose best iterate is one on the way out: relative to ‖f(z)‖, which grows too, that may be the least. They are to go back to z₀;
   * null where there are none, as far as that can be known.
   */
  goBack(): S | null {
    const { scalars: s, looking } = this.#space;
    const { norm, size } = this.#first!;
    const back = s.mul(this.diverged, s.less(norm, this.bestNorm));
    if (looking === 'free' && !this.#space.any(back)) return null;
    this.#replace({ bestNorm: s.where(back, norm, this.bestNorm), bestSize: s.where(back, size, this.bestSize) });
    return back;
  }

  /** Whether no sample goes on, as far as that can be known. */
  finished(): boolean {
    const { looking } = this.#space;
    if (looking === 'never' || (looking === 'costly' && this.trace.length % this.#limits.checkEvery !== 0)) return false;
    this.looks++;
    return !this.#space.any(this.active);
  }

  #replace(values: Partial<Record<'active' | 'converged' | 'diverged' | 'nonFiniteAt' | 'iterations' | 'leastNorm' | 'leastResidual' | 'bestNorm' | 'bestSize', S>>): void {
    for (const [name, value] of Object.entries(values) as [keyof typeof values, S][]) this[name] = this.#space.exchange(this[name], value);
  }
}

/** What is known of f, and iterations after which the best state so far is wanted. */
export interface LoopOptions {
  /** Given where f is affine. */
  product?: StateMap;
  taps?: readonly number[];
  onTap?: (state: Tensor[], iteration: number) => void;
}

/** Runs `method` from `z0` on; returns the best iterate of each sample, held, and what is known of it. */
export function iterate<V, S, W>(space: Space<V, S, W>, f: StateMap, z0: readonly Tensor[], method: Method<V, S>, limits: LoopLimits, { product, taps = [], onTap }: LoopOptions = {}): { best: V; progress: Progress<S> } {
  const tap = (iteration: number, best: V) => onTap?.(space.tensors(best).map((part) => keep(part)), iteration);
  const progress = new Progress<S>(space as Space<unknown, S, unknown>, limits, product === undefined ? 1 : 0);
  let z = space.hold(space.load(z0));
  let best = space.hold(z);
  for (let iteration = 1, going = true; going; iteration++) {
    space.scope(() => {
      const image = space.evaluate(f, z);
      const { difference, norm, size } = space.distance(z, image, method.usesDifference);
      best = space.exchange(best, space.select(progress.observe(norm, size), z, best));
      going = iteration < limits.maxIterations && !progress.finished();
      for (const at of taps) if (at === iteration || (!going && at > iteration)) tap(at, best);
      if (!going) return;
      const { active, leastNorm } = progress;
      z = space.exchange(z, space.select(active, method.step({ z, image, difference, norm, leastNorm, active }), best));
    });
  }
  space.scope(() => {
    const back = progress.goBack();
    if (back !== null) best = space.exchange(best, space.select(back, space.load(z0), best));
  });
  return { best, progress };
}
