/**
 * How fine the grid of {@link TabulatedEnergy} must be where: a cell is halved until, in its middle, cubic Hermite
 * interpolation meets the exact value and slope of everything that is read from the table.
 */
import { MixturePoint, type Mixture } from './mixture.js';

/** Error allowed: for the slope relative to Σ r_j/σ_j; absolutely for r_j, r_j z_j and r_j z_j², z = (x − μ_j)/σ_j. */
const TOLERANCE = 1e-6;
/** A bin is halved at most this often. */
export const MAX_LEVEL = 12;
/** z² beyond which a point counts as far from a component: there a drift of log σ² by δ shifts exponents by z² δ / 2. */
const FAR = 30;

/** Whether all of [from, to] is far from every component. */
export function isFar({ means, variances }: Mixture, from: number, to: number): boolean {
  for (let j = 0; j < means.length; j++) {
    const gap = Math.max(from - means[j], means[j] - to, 0);
    if (gap * gap <= FAR * variances[j]) return false;
  }
  return true;
}

interface Node {
  x: number;
  slope: number;
  curvature: number;
  responsibility: Float64Array;
}

/**
 * How often each bin must be halved for interpolation to meet `TOLERANCE` (MAX_LEVEL + 1: it cannot). Bins in a stretch
 * without weights are not looked into: 0.
 */
export function binLevels(mixture: Mixture, lo: number, width: number, bins: number, occupancy: Float64Array | null): Uint8Array {
  const point = new MixturePoint(mixture);
  const node = (x: number): Node => {
    point.at(x);
    return { x, slope: point.slope, curvature: point.curvature, responsibility: point.responsibility.slice() };
  };
  const sigma = Float64Array.from(mixture.variances, Math.sqrt);

  // A cell wider than a σ could step over that component without seeing it.
  const least = new Uint8Array(bins);
  for (let j = 0; j < sigma.length; j++) {
    const level = Math.ceil(Math.log2(width / sigma[j]));
    if (level <= 0) continue;
    const from = Math.max(0, Math.floor((mixture.means[j] - 8 * sigma[j] - lo) / width));
    const to = Math.min(bins - 1, Math.floor((mixture.means[j] + 8 * sigma[j] - lo) / width));
    for (let b = from; b <= to; b++) least[b] = Math.max(least[b], Math.min(level, MAX_LEVEL + 1));
  }

  const depth = (left: Node, right: Node, level: number, required: number): number => {
    if (level > MAX_LEVEL) return level;
    const middle = node(0.5 * (left.x + right.x));
    if (level >= required && meetsTolerance(left, middle, right, mixture.means, sigma)) return level;
    const first = depth(left, middle, level + 1, required);
    return first > MAX_LEVEL ? first : Math.max(first, depth(middle, right, level + 1, required));
  };

  const levels = new Uint8Array(bins);
  let left: Node | null = null;
  for (let b = 0; b < bins; b++) {
    if (occupancy !== null && !(occupancy[b] > 0 || occupancy[b - 1] > 0 || occupancy[b + 1] > 0)) {
      left = null;
      continue;
    }
    const right = node(lo + (b + 1) * width);
    levels[b] = depth(left ?? node(lo + b * width), right, 0, least[b]);
    left = right;
  }
  return levels;
}

/**
 * Compares value and slope of the Hermite interpolant of [left, right] with the exact ones in the middle (the value alone
 * would miss what is antisymmetric there; an error in slope of δ stands for one in value of about h·δ/6).
 */
function meetsTolerance(left: Node, middle: Node, right: Node, means: ArrayLike<number>, sigma: Float64Array): boolean {
  const h = right.x - left.x;
  const error = (v0: number, d0: number, v: number, d: number, v1: number, d1: number) =>
    Math.max(
      Math.abs(0.5 * (v0 + v1) + 0.125 * h * (d0 - d1) - v),
      Math.abs(1.5 * (v1 - v0) - 0.25 * h * (d0 + d1) - h * d) / 6,
    );
  let slopeScale = 0;
  for (let j = 0; j < sigma.length; j++) slopeScale += middle.responsibility[j] / sigma[j];
  const ofSlope = error(left.slope, left.curvature, middle.slope, middle.curvature, right.slope, right.curvature);
  if (ofSlope > TOLERANCE * slopeScale) return false;
  for (let j = 0; j < sigma.length; j++) {
    const r0 = left.responsibility[j];
    const r = middle.responsibility[j];
    const r1 = right.responsibility[j];
    if (r0 < 1e-12 && r1 < 1e-12 && r < 1e-12) continue;
    const s = sigma[j];
    const z0 = (left.x - means[j]) / s;
    const z = (middle.x - means[j]) / s;
    const z1 = (right.x - means[j]) / s;
    const d0 = r0 * (left.slope - z0 / s);
    const d = r * (middle.slope - z / s);
    const d1 = r1 * (right.slope - z1 / s);
    if (error(r0, d0, r, d, r1, d1) > TOLERANCE) return false;
    if (error(r0 * z0, d0 * z0 + r0 / s, r * z, d * z + r / s, r1 * z1, d1 * z1 + r1 / s) > TOLERANCE) return false;
    const ofSquare = error(
      r0 * z0 * z0, d0 * z0 * z0 + (2 * r0 * z0) / s,
      r * z * z, d * z * z + (2 * r * z) / s,
      r1 * z1 * z1, d1 * z1 * z1 + (2 * r1 * z1) / s,
    ); // prettier-ignore
    if (ofSquare > TOLERANCE * Math.max(1, r * z * z)) return false;
  }
  return true;
}
