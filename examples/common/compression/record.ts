/** Everything one run leaves behind, as plain JSON: the report is rendered from it alone, also much later. */
import { median } from '../variant_runs.js';
import type { Settings } from './settings.js';

export const RECORD_FORMAT = 'tfjs-weight-sharing/compression/1';

export interface Histogram {
  /** Left edge of the first bin. */
  start: number;
  binWidth: number;
  counts: number[];
}

export interface Mixture {
  means: number[];
  variances: number[];
  /** Component 0 is the zero component; with a mixture for each layer, the first of each. */
  mixing: number[];
}

export interface EpochRecord {
  epoch: number;
  /** Loss per training image, prior included while it is attached. */
  loss: number;
  /** Percent, on the validation images. */
  validationError: number;
}

export interface RetrainingEpoch extends EpochRecord {
  /** τ/N · C, the prior's part of the loss. */
  gmmEnergy: number;
  components: number;
  /** What the callback expects the ratio to be. */
  ratioEstimate: number;
  mixture: Mixture;
  /** Kernels at the end of the epoch; bins as in every other epoch. */
  histogram: Histogram;
}

export interface TensorBytes {
  name: string;
  parameters: number;
  distinctValues: number;
  bytes: number;
}

export interface ComparisonRow {
  method: string;
  /** What was chosen on the validation images, in words. */
  chosen: string;
  validationError: number;
  testError: number;
  fileBytes: number;
  ratio: number;
}

export interface Merge {
  /** Components of the mixture, as they were numbered before merging. */
  kept: number[];
  absorbed: number[];
  divergence: number;
}

export interface SeedRecord {
  seed: number;
  parameters: number;
  baseline: EpochRecord[];
  retraining: RetrainingEpoch[];
  /** Kernels before and after retraining, on the same bins. */
  histograms: { before: Histogram; retrained: Histogram };
  /** Each value that remains in the quantised weights, and how often. */
  quantizedValues: { value: number; count: number }[];
  /** The mixture at the end of retraining, before merging. */
  mixture: Mixture;
  merges: Merge[];
  /** Percent. The test errors were read once, after everything was chosen. */
  errors: {
    baseline: { validation: number; test: number };
    retrained: { validation: number };
    quantized: { validation: number; test: number };
  };
  components: { before: number; after: number };
  /** ‖w − q‖ / ‖w‖ of quantising. */
  relativeDistance: number;
  /** Percent of the quantised weights that are not zero. */
  nonZeroPercent: number;
  tensors: TensorBytes[];
  /** Bytes of the file that belong to no tensor: frame, packed topology, checksum. Fractions, as the coder does not stop at bytes. */
  otherBytes: number;
  fileBytes: number;
  ratio: number;
  comparison: ComparisonRow[];
  seconds: number;
}

/** The last line of `--json`: medians over the seeds. */
export interface Summary {
  baselineError: number;
  quantizedError: number;
  ratio: number;
  fileBytes: number;
  components: number;
  nonZeroPercent: number;
  seconds: number;
}

export interface RunRecord {
  format: typeof RECORD_FORMAT;
  /** Name of the example on the command line, and of its network. */
  example: string;
  network: string;
  data: { origin: string; train: number; validation: number; test: number };
  backend: string;
  settings: Settings;
  seeds: SeedRecord[];
  summary: Summary;
}

/** Counts values into `bins` equal bins from `low` to `high`; what lies outside goes into the outermost bins. */
export function histogram(values: Iterable<number>, low: number, high: number, bins: number): Histogram {
  const binWidth = (high - low) / bins;
  const counts = new Array<number>(bins).fill(0);
  for (const value of values) counts[Math.min(bins - 1, Math.max(0, Math.floor((value - low) / binWidth)))]++;
  return { start: low, binWidth, counts };
}

/** Least and greatest of all values. */
export function rangeOf(arrays: readonly Float32Array[]): [number, number] {
  let low = Infinity;
  let high = -Infinity;
  for (const v of each(arrays)) {
    low = Math.min(low, v);
    high = Math.max(high, v);
  }
  return [low, high];
}

/** All values, one after the other. */
export function* each(arrays: readonly Float32Array[]): Generator<number> {
  for (const array of arrays) yield* array;
}

export function summarize(seeds: readonly SeedRecord[]): Summary {
  const medianOf = (pick: (seed: SeedRecord) => number, digits: number) => Number(median(seeds.map(pick)).toFixed(digits));
  return {
    baselineError: medianOf((s) => s.errors.baseline.test, 3),
    quantizedError: medianOf((s) => s.errors.quantized.test, 3),
    ratio: medianOf((s) => s.ratio, 2),
    fileBytes: medianOf((s) => s.fileBytes, 1),
    components: medianOf((s) => s.components.after, 1),
    nonZeroPercent: medianOf((s) => s.nonZeroPercent, 3),
    seconds: medianOf((s) => s.seconds, 1),
  };
}

/** Parses a saved record; an other file gives an error that says what it should be. */
export function parseRecord(text: string, name: string): RunRecord {
  let record: RunRecord;
  try {
    record = JSON.parse(text) as RunRecord;
  } catch (error) {
    throw new Error(`${name}: not JSON (${(error as Error).message}). Expected a record.json that a compression example has written.`, { cause: error });
  }
  if (record?.format !== RECORD_FORMAT) {
    throw new Error(`${name}: expected a record with format '${RECORD_FORMAT}', got '${record?.format}'. Give a record.json that this version of the example has written.`);
  }
  return record;
}
