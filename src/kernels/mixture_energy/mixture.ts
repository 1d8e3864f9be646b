/**
 * The density of a one-dimensional Gaussian mixture at one point, in float64: the definition that every faster form of
 * the mixture energy is measured against, and the path they take where a table would not pay.
 * Nowlan & Hinton, "Simplifying Neural Networks by Soft Weight-Sharing", Neural Computation 4 (1992), eqs. 3–9.
 */

/** p(w) = Σ_j mixing[j] · N(w | means[j], variances[j]); all arrays have one entry per component. */
export interface Mixture {
  readonly means: ArrayLike<number>;
  readonly variances: ArrayLike<number>;
  readonly mixing: ArrayLike<number>;
}

/**
 * Sums over weights w with responsibilities r_j(w) = mixing[j] N(w | j) / p(w). They are all that gradients of the energy
 * with respect to the mixture, and the M-step of expectation maximisation, need.
 */
export interface MixtureStatistics {
  /** Number of weights. */
  count: number;
  /** −Σ log p(w), in nats. */
  energy: number;
  /** Σ r_j */
  responsibility: Float64Array;
  /** Σ r_j (w − means[j]) */
  first: Float64Array;
  /** Σ r_j (w − means[j])² */
  second: Float64Array;
}

export function emptyStatistics(components: number): MixtureStatistics {
  return {
    count: 0,
    energy: 0,
    responsibility: new Float64Array(components),
    first: new Float64Array(components),
    second: new Float64Array(components),
  };
}

/** exp(−40) of the largest term is below float64 resolution of any sum here. */
const NEGLIGIBLE = -40;

/** Evaluates one mixture point by point. Fields hold the result of the last {@link at}; nothing is allocated per point. */
export class MixturePoint {
  readonly components: number;
  readonly means: Float64Array;
  readonly precisions: Float64Array;
  readonly responsibility: Float64Array;
  /** −log p(x) */
  energy = 0;
  /** d energy / dx */
  slope = 0;
  /** d² energy / dx² */
  curvature = 0;
  readonly #logScale: Float64Array;

  constructor({ means, variances, mixing }: Mixture) {
    this.components = means.length;
    this.means = Float64Array.from(means);
    this.precisions = Float64Array.from(variances, (variance) => 1 / variance);
    this.responsibility = new Float64Array(this.components);
    this.#logScale = Float64Array.from(mixing, (pi, j) => Math.log(pi) - 0.5 * Math.log(2 * Math.PI * variances[j]));
  }

  at(x: number): this {
    const { components, means, precisions, responsibility } = this;
    const logScale = this.#logScale;
    let largest = -Infinity;
    for (let j = 0; j < components; j++) {
      const d = x - means[j];
      const exponent = logScale[j] - 0.5 * precisions[j] * d * d;
      responsibility[j] = exponent;
      if (exponent > largest) largest = exponent;
    }
    let sum = 0;
    for (let j = 0; j < components; j++) {
      const gap = responsibility[j] - largest;
      if (gap < NEGLIGIBLE) {
        responsibility[j] = 0;
      } else {
        const term = Math.exp(gap);
        responsibility[j] = term;
        sum += term;
      }
    }
    let slope = 0;
    let spread = 0;
    let precision = 0;
    for (let j = 0; j < components; j++) {
      if (responsibility[j] === 0) continue;
      const r = (responsibility[j] /= sum);
      const force = precisions[j] * (x - means[j]);
      slope += r * force;
      spread += r * force * force;
      precision += r * precisions[j];
    }
    this.energy = -largest - Math.log(sum);
    this.slope = slope;
    this.curvature = precision - spread + slope * slope;
    return this;
  }

  /** Adds the statistics of one weight `x` to `sums` and returns d energy / dx. */
  addTo(sums: MixtureStatistics, x: number): number {
    this.at(x);
    sums.count++;
    sums.energy += this.energy;
    for (let j = 0; j < this.components; j++) {
      const r = this.responsibility[j];
      if (r === 0) continue;
      const d = x - this.means[j];
      sums.responsibility[j] += r;
      sums.first[j] += r * d;
      sums.second[j] += r * d * d;
    }
    return this.slope;
  }
}

/** Statistics of `weights` by direct summation, O(weights · components); also writes dC/dw where `gradient` is given. */
export function directStatistics(weights: ArrayLike<number>, mixture: Mixture, gradient?: Float64Array): MixtureStatistics {
  const point = new MixturePoint(mixture);
  const sums = emptyStatistics(point.components);
  for (let i = 0; i < weights.length; i++) {
    const slope = point.addTo(sums, weights[i]);
    if (gradient) gradient[i] = slope;
  }
  return sums;
}
