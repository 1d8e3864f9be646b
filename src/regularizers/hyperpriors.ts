/**
 * Priors on the mixture's own parameters, as energies (negative logarithms, constants dropped).
 * Ullrich, Meeds & Welling, "Soft Weight-Sharing for Neural Network Compression", ICLR 2017, §4 and appendix.
 */

/** Shape and rate of a Gamma density. */
export interface GammaShapeRate {
  shape: number;
  rate: number;
}

/**
 * - `gammaPrecision`: Gamma(shape, rate) on the precision λ = 1/σ², mode (shape − 1)/rate; the authors' choice.
 * - `inverseGammaVariance`: inverse-Gamma(shape, rate) on σ² itself, mode of σ² rate/(shape + 1). The same family, but as a
 *   density of σ² it carries the Jacobian: its mode is another.
 */
export type VarianceHyperprior = 'gammaPrecision' | 'inverseGammaVariance';

/** Energy of one component's variance. gammaPrecision: (1 − a) log λ + b λ; inverseGammaVariance: (a + 1) log σ² + b/σ². */
export function varianceEnergy(kind: VarianceHyperprior, logVariance: number, { shape, rate }: GammaShapeRate): number {
  const precision = Math.exp(-logVariance);
  return kind === 'gammaPrecision' ? (shape - 1) * logVariance + rate * precision : (shape + 1) * logVariance + rate * precision;
}

/** Derivative of {@link varianceEnergy} with respect to log σ². */
export function varianceEnergySlope(kind: VarianceHyperprior, logVariance: number, { shape, rate }: GammaShapeRate): number {
  const precision = Math.exp(-logVariance);
  return (kind === 'gammaPrecision' ? shape - 1 : shape + 1) - rate * precision;
}

/** Energy of the zero component's proportion under Beta(a, b): −(a − 1) log π₀ − (b − 1) log(1 − π₀). */
export function betaEnergy(pi: number, a: number, b: number): number {
  return -(a - 1) * Math.log(pi) - (b - 1) * Math.log(1 - pi);
}

/** Derivative of {@link betaEnergy} with respect to logit(π₀). */
export function betaEnergySlope(pi: number, a: number, b: number): number {
  return -(a - 1) * (1 - pi) + (b - 1) * pi;
}
