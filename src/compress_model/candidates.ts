/** What a tensor can become: quantisers from coarse to fine, each with its estimated bytes and its squared error. Pure. */
import { classQuantizers, type ClassQuantizer, type PricedQuantizer } from '../clustering/entropy_constrained.js';
import { initialCentroids, lloyd } from '../clustering/lloyd.js';
import { optimalPartitions } from '../clustering/optimal_clusters.js';
import { assignValues, nearestQuantizer, quantizerCost, withCentroids, type ScalarQuantizer } from '../clustering/scalar_quantizer.js';
import { meanOf, pointCount, weightedPoints, type WeightedPoints } from '../clustering/weighted_points.js';
import { importanceClasses, oneClass, type ImportanceClasses } from './importance.js';
import { mixtureQuantizers } from './mixture_candidates.js';
import { uniformNumbers } from '../uniform_numbers.js';
import type { ResolvedOptions } from './options.js';
import { roundSignificand } from './tensor_values.js';
import { codedBytes, valueCost, type Candidate, type Quantized } from './value_cost.js';

/** Bytes of a float32 in byte planes, whole and of so many significant bits, likewise. */
const PLAIN_BYTES = 3.4;
const roundedBytes = (bits: number): number => 0.75 + (bits - 1) / 8;
/** Of float16; and fewer, for vectors of which it was measured what an error counts. */
export const SIGNIFICANT = 11;
const COARSER = [6, 8];
/** Share of zeros from which on a tensor counts as sparse. */
const SPARSE = 0.05;

const SIZES = [2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256];

export const keptCandidate = (values: Float32Array): Candidate => ({ size: 0, bytes: PLAIN_BYTES * values.length, error: 0, weighted: 0, apply: (w) => ({ values: w }) });

/** `importance`: the mean of what errors count, 1 where that is not known. */
export function roundedCandidate(values: Float32Array, importance = 1, bits = SIGNIFICANT): Candidate {
  const error = roundingError(values, bits);
  return { size: 0, bytes: roundedBytes(bits) * values.length, error, weighted: importance * error, apply: rounding(bits), rounded: true };
}

/** Roundings of a vector, the coarsest first. */
export const vectorCandidates = (values: Float32Array): Candidate[] => [...COARSER, SIGNIFICANT].map((bits) => roundedCandidate(values, 1, bits));

const rounding = (bits: number) => (values: Float32Array): { values: Float32Array } => ({ values: roundSignificand(values, bits) }); // prettier-ignore

/** Apart from the candidate, which would hold on to what a function within it names. */
function roundingError(values: Float32Array, bits: number): number {
  const rounded = roundSignificand(values, bits);
  return values.reduce((sum, w, i) => sum + (w - rounded[i]) ** 2, 0);
}

/**
 * Candidates for a tensor with `channels` entries in its last axis; rounding is the finest of them. `importance`: what an error of each weight
 * counts; the entropy-constrained ones go by it.
 */
export function tensorCandidates(values: Float32Array, channels: number, options: ResolvedOptions, measured: Float32Array | null = null): Candidate[] {
  // Where no weight counts, the outputs do not depend on the tensor: then none counts more than another.
  const importance = measured !== null && measured.some((h) => h > 0) ? measured : null;
  const points = weightedPoints(values);
  const zeros = values.reduce((sum, w) => sum + (w === 0 ? 1 : 0), 0);
  const zero = options.preserveSparsity && zeros >= SPARSE * values.length;
  const distinct = pointCount(points);
  const mean = importance === null ? 1 : importance.reduce((sum, h) => sum + h, 0) / importance.length;
  const fine = [roundedCandidate(values, mean), keptCandidate(values)];
  // Values of which there are few already need no others.
  const lossless = points.exact && distinct <= 256 ? [candidateOf(points, nearestQuantizer(points.values), false, true)] : [];
  const most = Math.min(256, distinct - 1, Math.max(2, values.length >> 1));
  const { bits } = options;
  if (distinct === 1 || most < 2) return [...lossless, ...fine];
  if (bits !== null && lossless.length > 0 && distinct <= 2 ** bits) return lossless;
  const sizes = (bits === null ? SIZES : [Math.floor(2 ** bits + 1e-9)]).filter((k) => k <= most);
  if (options.method === 'entropyConstrained') {
    const classes = importance === null ? oneClass(points) : importanceClasses(values, importance);
    const all = classQuantizers(classes.classes, slopes(points, values.length, importance === null ? 1 : mean), zero).map((priced) => classCandidate(classes, priced, zero));
    if (bits === null) return [...all, ...lossless, ...fine];
    const within = all.filter((candidate) => candidate.idealBits <= bits * values.length);
    return within.length === 0 ? all.slice(0, 1) : [within.reduce((best, c) => (c.weighted < best.weighted ? c : best))];
  }
  if (sizes.length === 0) return [...lossless, ...fine];
  const found =
    options.method === 'mixture' ? mixtureQuantizers(values, sizes, zero)
    : options.perChannel && channels > 1 ? channelCandidates(values, channels, sizes, zero, options)
    : kMeansQuantizers(zero ? weightedPoints(values.filter((w) => w !== 0)) : points, sizes, zero, options).map((q) => candidateOf(points, q, zero)); // prettier-ignore
  return bits === null ? [...found, ...lossless, ...fine] : found;
}

function classCandidate({ classes, of }: ImportanceClasses, { quantizer, error, weighted, bits, used }: PricedQuantizer, zero: boolean): Candidate & { idealBits: number } {
  const importances = classes.map(({ importance }) => importance);
  return { size: used, bytes: codedBytes(bits, used), error, weighted, apply: assignment(quantizer, of, importances, zero), idealBits: bits };
}

/** Apart from the candidate, which would hold on to the points. */
function assignment({ values, thresholds }: ClassQuantizer, of: Uint8Array | null, importances: readonly number[], zero: boolean): Candidate['apply'] {
  return (weights) => {
    const indices = of === null ? assignValues(weights, { values, thresholds: thresholds[0] }) : assignValues(weights, { values, thresholds }, of);
    const exact = withCentroids(weights, indices, values, zero, of === null ? undefined : (i) => importances[of[i]]);
    return { codebook: exact.values, indices: exact.indices };
  };
}

function candidateOf(points: WeightedPoints, quantizer: ScalarQuantizer, zero: boolean, lossless = false): Candidate {
  const { error, bits, used } = quantizerCost(points, quantizer);
  const apply = (weights: Float32Array): Quantized => {
    const indices = assignValues(weights, quantizer);
    if (lossless) return { codebook: quantizer.values, indices };
    const exact = withCentroids(weights, indices, quantizer.values, zero);
    return { codebook: exact.values, indices: exact.indices };
  };
  return { size: used, bytes: codedBytes(bits, used), error, weighted: error, apply };
}

/** λ from the variance, as it counts, down to 2⁻¹⁷ of it; closer to one another where quantisers have few values. */
function slopes(points: WeightedPoints, count: number, importance: number): number[] {
  const n = points.values.length;
  const variance = (importance * points.second[n]) / count;
  const octaves = [...Array.from({ length: 60 }, (_, j) => 0.1 * j), ...Array.from({ length: 38 }, (_, j) => 6 + 0.3 * j)];
  return octaves.map((octave) => variance * 2 ** -octave);
}

/** k-means for each k; `clustered` are the points without the zeros where those have a value of their own. */
function kMeansQuantizers(clustered: WeightedPoints, sizes: readonly number[], zero: boolean, { initialization }: ResolvedOptions): ScalarQuantizer[] {
  const own = (k: number): number => Math.max(1, zero ? k - 1 : k);
  if (pointCount(clustered) === 0) return sizes.map(() => nearestQuantizer([0]));
  const partitions = initialization === 'optimal' ? optimalPartitions(clustered, own(Math.max(...sizes))) : null;
  return sizes.map((size) => {
    const k = Math.min(own(size), pointCount(clustered));
    const ends = partitions?.ends(k) ?? [];
    const centres =
      initialization === 'optimal'
        ? ends.map((end, j) => meanOf(clustered, j === 0 ? 0 : ends[j - 1], end))
        : lloyd(clustered, initialCentroids(clustered, k, initialization, uniformNumbers(k)));
    return nearestQuantizer(zero ? [...centres, 0] : centres);
  });
}

const channelOf = (values: Float32Array, channels: number, c: number): Float32Array => Float32Array.from({ length: values.length / channels }, (_, i) => values[i * channels + c]);

function channelQuantizers(values: Float32Array, channels: number, sizes: readonly number[], zero: boolean, options: ResolvedOptions): ScalarQuantizer[][] {
  return Array.from({ length: channels }, (_, c) => {
    const own = channelOf(values, channels, c);
    return kMeansQuantizers(weightedPoints(zero ? own.filter((w) => w !== 0) : own), sizes, zero, options);
  });
}

/** k-means in each channel. The union of their values is the tensor's codebook, and the estimate goes by that. */
function channelCandidates(values: Float32Array, channels: number, sizes: readonly number[], zero: boolean, options: ResolvedOptions): Candidate[] {
  const quantizers = channelQuantizers(values, channels, sizes, zero, options);
  return sizes.map((_, s) => {
    const apply = (w: Float32Array): { values: Float32Array } => {
      const result = new Float32Array(w.length);
      for (let c = 0; c < channels; c++) {
        const own = channelOf(w, channels, c);
        const exact = withCentroids(own, assignValues(own, quantizers[c][s]), quantizers[c][s].values, zero);
        exact.indices.forEach((j, i) => (result[i * channels + c] = exact.values[j]));
      }
      return { values: result };
    };
    const quantized = apply(values).values;
    return { ...valueCost(values, quantized), apply };
  });
}
