/** What compression did to each weight and to the whole. */
import type { ResolvedOptions } from './options.js';
import type { Spec } from './weight_source.js';

/** One weight. Errors compare with the values that it had, of which N are not zero. */
export interface CompressedWeight {
  name: string;
  shape: number[];
  dtype: string;
  parameters: number;
  /** `codebook`: few values; `rounded`: at most 11 significant bits; `kept`: as it was, for `reason`. */
  treatment: 'codebook' | 'rounded' | 'kept';
  reason?: string;
  /** Distinct values after; 0 where not counted (rounded or kept). */
  values: number;
  /** Bytes before, as stored in the input. */
  bytesBefore: number;
  /** Estimated bytes after: order-0 entropy of the numbers, and the codebook. `sizeReport` measures. */
  bytesEstimate: number;
  /** ‖w − q‖ / ‖w‖; 0 for a tensor of zeros. */
  relativeError: number;
  /** max |w − q|. */
  maxDeviation: number;
  /** What an error of this weight counts, relative to the others; null where it had no say. */
  sensitivity: number | null;
}

export interface CompressionReport {
  weights: CompressedWeight[];
  parameters: number;
  /** 4 bytes a parameter. */
  float32Bytes: number;
  /** Of the result: the `.tfws` file, or stock artefacts (topology as JSON, weights) as they are and after gzip. */
  bytes: number;
  gzipBytes: number | null;
  /** float32Bytes over `bytes` of a `.tfws` file, over `gzipBytes` of stock artefacts. */
  ratio: number;
  /** ‖w − q‖ / ‖w‖ over all weights that were changed. */
  relativeError: number;
  /** max of the weights' maxDeviation. */
  maxDeviation: number;
  /** How errors of tensors were weighed: by measured outputs, or by the weights alone, each tensor's relative to its norm. */
  sensitivity: 'outputs' | 'weights';
  method: ResolvedOptions['method'];
  format: ResolvedOptions['format'];
  /** What a user should know: weights that are not finite, quantised inputs. */
  warnings: string[];
}

/** Norms of a weight and of what happened to it. */
export function deviation(before: Float32Array, after: Float32Array): { error: number; norm: number; maxDeviation: number } {
  let error = 0;
  let norm = 0;
  let maxDeviation = 0;
  for (let i = 0; i < before.length; i++) {
    const d = Math.abs(before[i] - after[i]);
    error += d * d;
    norm += before[i] * before[i];
    if (d > maxDeviation) maxDeviation = d;
  }
  return { error, norm, maxDeviation };
}

export const relative = (error: number, norm: number): number => (norm > 0 ? Math.sqrt(error / norm) : 0);

export const parametersOf = ({ shape }: Spec): number => shape.reduce((product, n) => product * n, 1);
