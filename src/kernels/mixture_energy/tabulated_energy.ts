/**
 * The mixture energy of many weights through a table: the energy is a function of one variable, so its slope is tabulated
 * on an error-controlled grid, read back by cubic Hermite interpolation, and the weights are deposited on the same nodes
 * for the mixture's own statistics. O(weights + nodes · components); no weights × components array exists.
 *
 * Grid. [lo, hi] is cut into equal bins, each bin into 2^k equal cells (so a lookup is two multiplications and no search).
 * Cells are halved until interpolation meets the exact values (grid_levels.ts). Bins that hold fewer weights than the cells
 * they would need, bins far from every component, and everything outside [lo, hi], are summed exactly instead.
 *
 * Refinement. The values at the nodes are exact for the current mixture at every step; only where the nodes stand may be
 * some steps old. The grid is laid anew when, since it was laid, a mean moved by more than `MAX_DRIFT` of its σ, a log
 * variance or log mixing proportion by more than `MAX_DRIFT`, or when more weights than planned fell on the exact path. Each
 * bin takes the finest resolution among its neighbours, so that what moves within that drift still meets fine cells.
 */
import { binLevels, isFar, MAX_LEVEL } from './grid_levels.js';
import { emptyStatistics, MixturePoint, type Mixture, type MixtureStatistics } from './mixture.js';

const BINS = 1024;
const MAX_DRIFT = 0.05;
/** Bins on either side whose resolution a bin takes over. */
const SPREAD = 3;
/** The share of the weights that may take the exact path, beside twice those the grid meant for it, before it is laid anew. */
const MAX_EXACT = 0.005;

export class TabulatedEnergy {
  /** How often the grid was laid; for tests and benchmarks. */
  layings = 0;
  /** A weight that was not finite was met since the last {@link reset}. */
  nonFinite = false;

  #point!: MixturePoint;
  #mixture!: Mixture;
  #laidFor: { means: Float64Array; logVariances: Float64Array; logMixing: Float64Array } | null = null;
  #lo = 0;
  #inverseBinWidth = 1;
  /** Per bin: index of its first cell, number of cells (0: exact path). */
  #bins = new Int32Array(2 * BINS);
  #nodes = new Float64Array(0);
  /** Per cell the coefficients of the slope and of the energy in t ∈ [0, 1), ascending powers. */
  #slope = new Float64Array(0);
  #energy = new Float64Array(0);
  /** Per cell Σ t⁰ … Σ t³ over its weights; `#moments` of all tensors since reset, `#scratch` of the current one. */
  #moments = new Float64Array(0);
  #scratch = new Float64Array(0);
  #nodeValues = new Float64Array(0);
  #responsibilities = new Float64Array(0);
  #exact: MixtureStatistics = emptyStatistics(0);
  /** The weights that took the exact path since reset. */
  #beside: number[] = [];
  #expectedExact = 0;
  #counted = 0;

  get cells(): number {
    return Math.max(0, this.#nodes.length - 1);
  }

  /** Takes the mixture of this step and forgets what was accumulated. */
  reset(mixture: Mixture): void {
    this.#point = new MixturePoint(mixture);
    this.nonFinite = false;
    if (this.#laidFor !== null && this.#isStale(mixture)) this.#lay(mixture, this.#range());
    this.#mixture = mixture;
    this.#moments.fill(0);
    this.#exact = emptyStatistics(this.#point.components);
    this.#beside = [];
    this.#counted = 0;
    this.#fillNodes();
  }

  /**
   * Adds `weights`; writes scale · dC/dw into `gradient` (same length) and returns C = −Σ log p(w) of these weights, in
   * nats. NaN and infinite weights set {@link nonFinite} and give NaN.
   */
  accumulate(weights: Float32Array, gradient: Float32Array, scale: number): number {
    if (this.#laidFor === null) {
      this.#lay(this.#mixture, rangeOf(weights));
      this.#fillNodes();
    }
    const scratch = this.#scratch;
    const exact = this.#exact;
    const exactEnergyBefore = exact.energy;
    scratch.fill(0);
    const beside = (w: number) => {
      if (Number.isFinite(w)) {
        this.#beside.push(w);
        return this.#point.addTo(exact, w);
      }
      this.nonFinite = true;
      exact.energy = NaN;
      return NaN;
    };
    lookUpAndDeposit(weights, gradient, scale, this.#lo, this.#inverseBinWidth, this.#bins, this.#slope, scratch, beside);
    this.#counted += weights.length;
    let energy = exact.energy - exactEnergyBefore;
    const coefficients = this.#energy;
    const moments = this.#moments;
    for (let k = 0; k < scratch.length; k++) {
      energy += scratch[k] * coefficients[k];
      moments[k] += scratch[k];
    }
    return energy;
  }

  /** The statistics of everything accumulated since {@link reset}. */
  statistics(): MixtureStatistics {
    const { components, means } = this.#point;
    const sums: MixtureStatistics = {
      count: this.#counted,
      energy: this.#exact.energy,
      responsibility: this.#exact.responsibility.slice(),
      first: this.#exact.first.slice(),
      second: this.#exact.second.slice(),
    };
    const nodes = this.#nodes;
    const moments = this.#moments;
    let carriedValue = 0;
    let carriedSlope = 0;
    for (let n = 0; n < nodes.length; n++) {
      // Σ over weights of the Hermite basis functions of node n: its left half comes from cell n−1, its right from cell n.
      let a = carriedValue;
      let b = carriedSlope;
      if (n < nodes.length - 1) {
        const k = n << 2;
        const h = nodes[n + 1] - nodes[n];
        const m2 = moments[k + 2];
        const m3 = moments[k + 3];
        a += moments[k] - 3 * m2 + 2 * m3;
        b += h * (moments[k + 1] - 2 * m2 + m3);
        carriedValue = 3 * m2 - 2 * m3;
        carriedSlope = h * (m3 - m2);
      }
      if (a === 0 && b === 0) continue;
      const x = nodes[n];
      const slope = this.#nodeValues[3 * n + 1];
      sums.energy += a * this.#nodeValues[3 * n] + b * slope;
      const row = n * components;
      for (let j = 0; j < components; j++) {
        const r = this.#responsibilities[row + j];
        if (r === 0) continue;
        const d = x - means[j];
        // d r_j / dx = r_j (C′ − (x − μ_j)/σ_j²)
        const dr = r * (slope - d * this.#point.precisions[j]);
        sums.responsibility[j] += a * r + b * dr;
        sums.first[j] += a * r * d + b * (r + dr * d);
        sums.second[j] += a * r * d * d + b * (2 * r * d + dr * d * d);
      }
    }
    return sums;
  }

  /** The range of the weights last accumulated, to the cell. One that was far out once does not stretch the grid for good. */
  #range(): [number, number] {
    const range = rangeOf(this.#beside);
    for (let n = 0; n < this.cells; n++) {
      if (this.#moments[4 * n] === 0) continue;
      range[0] = Math.min(range[0], this.#nodes[n]);
      range[1] = Math.max(range[1], this.#nodes[n + 1]);
    }
    return range;
  }

  #isStale({ means, variances, mixing }: Mixture): boolean {
    const laid = this.#laidFor;
    if (laid === null || laid.means.length !== means.length) return true;
    if (this.#exact.count > 2 * this.#expectedExact + Math.max(64, MAX_EXACT * this.#counted)) return true;
    for (let j = 0; j < means.length; j++) {
      const logVariance = Math.log(variances[j]);
      if (Math.abs(logVariance - laid.logVariances[j]) > MAX_DRIFT) return true;
      if (Math.abs(Math.log(mixing[j]) - laid.logMixing[j]) > MAX_DRIFT) return true;
      if (Math.abs(means[j] - laid.means[j]) > MAX_DRIFT * Math.exp(0.5 * Math.min(logVariance, laid.logVariances[j]))) return true;
    }
    return false;
  }

  /** Lays the grid for `mixture` over `range`, where the weights last accumulated are. */
  #lay(mixture: Mixture, range: [number, number]): void {
    const [least, greatest] = range[0] <= range[1] ? range : [-1, 1];
    const margin = 0.02 * (greatest - least) + 1e-3;
    const lo = least - margin;
    const width = (greatest + margin - lo) / BINS;
    const occupancy = this.#occupancy(lo, width);

    const levels = binLevels(mixture, lo, width, BINS, occupancy);
    const cells = new Int32Array(BINS);
    for (let b = 0; b < BINS; b++) {
      if (isFar(mixture, lo + b * width, lo + (b + 1) * width)) continue;
      const level = Math.max(...levels.subarray(Math.max(0, b - SPREAD), b + SPREAD + 1));
      const wanted = 1 << level;
      cells[b] = level > MAX_LEVEL || (occupancy !== null && occupancy[b] < wanted) ? 0 : wanted;
    }

    this.#expectedExact = 0;
    if (occupancy !== null) for (let b = 0; b < BINS; b++) if (cells[b] === 0) this.#expectedExact += occupancy[b];

    let total = 0;
    for (let b = 0; b < BINS; b++) {
      this.#bins[2 * b] = total;
      this.#bins[2 * b + 1] = cells[b];
      // An exact bin still takes one (unread) cell, so that nodes stay contiguous.
      total += Math.max(1, cells[b]);
    }
    this.#nodes = new Float64Array(total + 1);
    for (let b = 0, n = 0; b < BINS; b++) {
      const count = Math.max(1, cells[b]);
      for (let c = 0; c < count; c++) this.#nodes[n++] = lo + (b + c / count) * width;
    }
    this.#nodes[total] = lo + BINS * width;
    this.#slope = new Float64Array(4 * total);
    this.#energy = new Float64Array(4 * total);
    this.#moments = new Float64Array(4 * total);
    this.#scratch = new Float64Array(4 * total);
    this.#nodeValues = new Float64Array(3 * (total + 1));
    this.#responsibilities = new Float64Array((total + 1) * this.#point.components);
    this.#lo = lo;
    this.#inverseBinWidth = 1 / width;
    this.#laidFor = {
      means: Float64Array.from(mixture.means),
      logVariances: Float64Array.from(mixture.variances, Math.log),
      logMixing: Float64Array.from(mixture.mixing, Math.log),
    };
    this.layings++;
  }

  /** How many of the weights last accumulated lie in each bin of a new grid; null before the first. */
  #occupancy(lo: number, width: number): Float64Array | null {
    if (this.#laidFor === null || this.#counted === 0) return null;
    const occupancy = new Float64Array(BINS);
    const bin = (x: number) => Math.min(BINS - 1, Math.max(0, Math.floor((x - lo) / width)));
    for (let n = 0; n < this.cells; n++) {
      const count = this.#moments[4 * n];
      if (count > 0) occupancy[bin(this.#nodes[n] + (this.#moments[4 * n + 1] / count) * (this.#nodes[n + 1] - this.#nodes[n]))] += count;
    }
    for (const w of this.#beside) occupancy[bin(w)]++;
    return occupancy;
  }

  #fillNodes(): void {
    const nodes = this.#nodes;
    const point = this.#point;
    const components = point.components;
    const values = this.#nodeValues;
    for (let n = 0; n < nodes.length; n++) {
      point.at(nodes[n]);
      values[3 * n] = point.energy;
      values[3 * n + 1] = point.slope;
      values[3 * n + 2] = point.curvature;
      this.#responsibilities.set(point.responsibility, n * components);
    }
    for (let c = 0; c < nodes.length - 1; c++) {
      const h = nodes[c + 1] - nodes[c];
      const left = 3 * c;
      const right = left + 3;
      hermite(this.#slope, 4 * c, values[left + 1], h * values[left + 2], values[right + 1], h * values[right + 2]);
      hermite(this.#energy, 4 * c, values[left], h * values[left + 1], values[right], h * values[right + 1]);
    }
  }
}

/**
 * The loop over all weights, kept apart from the class so that it stays monomorphic: twice as fast. A weight outside the
 * table goes `beside` it, which returns its slope.
 */
function lookUpAndDeposit(
  weights: Float32Array,
  gradient: Float32Array,
  scale: number,
  lo: number,
  inverseBinWidth: number,
  bins: Int32Array,
  slope: Float64Array,
  moments: Float64Array,
  beside: (w: number) => number,
): void {
  for (let i = 0; i < weights.length; i++) {
    const w = weights[i];
    const u = (w - lo) * inverseBinWidth;
    // Written so that NaN goes beside.
    if (u >= 0 && u < BINS) {
      const b = u | 0;
      const cells = bins[2 * b + 1];
      if (cells > 0) {
        const v = (u - b) * cells;
        const cell = v | 0;
        const t = v - cell;
        const k = (bins[2 * b] + cell) << 2;
        const t2 = t * t;
        const t3 = t2 * t;
        gradient[i] = scale * (slope[k] + t * slope[k + 1] + t2 * slope[k + 2] + t3 * slope[k + 3]);
        moments[k] += 1;
        moments[k + 1] += t;
        moments[k + 2] += t2;
        moments[k + 3] += t3;
        continue;
      }
    }
    gradient[i] = scale * beside(w);
  }
}

/** Of the finite ones; the empty range [∞, −∞] where there are none. */
function rangeOf(weights: ArrayLike<number>): [number, number] {
  const range: [number, number] = [Infinity, -Infinity];
  for (let i = 0; i < weights.length; i++) {
    const w = weights[i];
    if (w < range[0] && w !== -Infinity) range[0] = w;
    if (w > range[1] && w !== Infinity) range[1] = w;
  }
  return range;
}

/** Writes the cubic through (0, v0), (1, v1) with slopes d0, d1 as ascending coefficients. */
function hermite(into: Float64Array, k: number, v0: number, d0: number, v1: number, d1: number): void {
  into[k] = v0;
  into[k + 1] = d0;
  into[k + 2] = 3 * (v1 - v0) - 2 * d0 - d1;
  into[k + 3] = 2 * (v0 - v1) + d0 + d1;
}
