/**
 * From a learned mixture to a codebook: components are dropped, merged by Kullback–Leibler divergence, the one nearest zero
 * put on zero, and weights assigned. Pure functions, float64.
 * Ullrich, Meeds & Welling, ICLR 2017, §4.2 and appendix A; Han et al. for the codebook that results.
 */
import type { Mixture } from '../kernels/mixture_energy/mixture.js';

/** One Gaussian with its proportion; `zero` marks the fixed zero component, `members` the indices it was merged from. */
export interface Component {
  mean: number;
  variance: number;
  mixing: number;
  zero: boolean;
  members: number[];
}

export interface Merge {
  /** Original indices of the components on either side. */
  kept: number[];
  absorbed: number[];
  /** Symmetric KL divergence, in nats, at which they were merged. */
  divergence: number;
}

export interface MergeOptions {
  /** Pairs below this symmetric divergence (nats) are merged, nearest first. */
  threshold: number;
  /** Variance of a merged pair: π-weighted average (the paper), or the variance of the pair's density (exact moments). */
  variance: 'average' | 'moments';
  /** Whether the zero component may take part; then the merged mean may leave zero before it is snapped. */
  mergeZero: boolean;
}

/** KL(a ‖ b) = ½ (log σ_b²/σ_a² + (σ_a² + (μ_a − μ_b)²)/σ_b² − 1), in nats. */
export function klDivergence(a: { mean: number; variance: number }, b: { mean: number; variance: number }): number {
  const d = a.mean - b.mean;
  return 0.5 * (Math.log(b.variance / a.variance) + (a.variance + d * d) / b.variance - 1);
}

/** (KL(a ‖ b) + KL(b ‖ a)) / 2, in nats. */
export function symmetricDivergence(a: { mean: number; variance: number }, b: { mean: number; variance: number }): number {
  return 0.5 * (klDivergence(a, b) + klDivergence(b, a));
}

export function toComponents({ means, variances, mixing }: Mixture): Component[] {
  return Array.from({ length: means.length }, (_, j) => ({ mean: means[j], variance: variances[j], mixing: mixing[j], zero: j === 0, members: [j] }));
}

/** The pair as one component: π adds, μ is the π-weighted average, σ² as `variance` says. */
export function mergePair(a: Component, b: Component, variance: MergeOptions['variance']): Component {
  const mixing = a.mixing + b.mixing;
  const mean = (a.mixing * a.mean + b.mixing * b.mean) / mixing;
  const average = (a.mixing * a.variance + b.mixing * b.variance) / mixing;
  const between = (a.mixing * (a.mean - mean) ** 2 + b.mixing * (b.mean - mean) ** 2) / mixing;
  return {
    mean,
    variance: variance === 'moments' ? average + between : average,
    mixing,
    zero: a.zero || b.zero,
    members: [...a.members, ...b.members],
  };
}

/** Greedily merges the nearest pair while it is below the threshold. Result by increasing mean. */
export function mergeComponents(components: readonly Component[], options: MergeOptions): { components: Component[]; merges: Merge[] } {
  const left = [...components];
  const merges: Merge[] = [];
  for (;;) {
    let nearest = { divergence: Infinity, i: -1, k: -1 };
    for (let i = 0; i < left.length; i++) {
      for (let k = i + 1; k < left.length; k++) {
        if (!options.mergeZero && (left[i].zero || left[k].zero)) continue;
        const divergence = symmetricDivergence(left[i], left[k]);
        if (divergence < nearest.divergence) nearest = { divergence, i, k };
      }
    }
    if (!(nearest.divergence < options.threshold)) break;
    const [a, b] = [left[nearest.i], left[nearest.k]];
    merges.push({ kept: a.members, absorbed: b.members, divergence: nearest.divergence });
    left.splice(nearest.k, 1);
    left[nearest.i] = mergePair(a, b, options.variance);
  }
  return { components: left.sort((a, b) => a.mean - b.mean), merges };
}

/** A copy in which the mean nearest zero is exactly 0. */
export function snapNearestToZero(components: readonly Component[]): Component[] {
  const nearest = components.reduce((best, { mean }, j) => (Math.abs(mean) < Math.abs(components[best].mean) ? j : best), 0);
  return components.map((component, j) => (j === nearest ? { ...component, mean: 0 } : component));
}

/**
 * For each weight the index of its most probable component: argmax_j π_j N(w | j), or argmax_j N(w | j) without `useMixing`
 * (both are in use: with π a rare component loses ground to a frequent neighbour).
 */
export function assignComponents(weights: ArrayLike<number>, components: readonly Component[], useMixing = true): Uint16Array {
  const logScale = components.map(({ mixing, variance }) => (useMixing ? Math.log(mixing) : 0) - 0.5 * Math.log(variance));
  const halfPrecision = components.map(({ variance }) => 0.5 / variance);
  const means = components.map(({ mean }) => mean);
  const assignment = new Uint16Array(weights.length);
  for (let i = 0; i < weights.length; i++) {
    let best = -Infinity;
    for (let j = 0; j < means.length; j++) {
      const d = weights[i] - means[j];
      const score = logScale[j] - halfPrecision[j] * d * d;
      if (score > best) {
        best = score;
        assignment[i] = j;
      }
    }
  }
  return assignment;
}
