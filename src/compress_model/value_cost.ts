/** What a tensor can become, and what that is estimated to cost in the file. Pure. */

/** What becomes of a tensor's values: numbers into a codebook, or values. */
export type Quantized = { codebook: Float32Array; indices: Uint8Array } | { values: Float32Array };

export interface Candidate {
  /** Distinct values; 0 for values as they are or rounded. */
  size: number;
  /** Estimate for the file: order-0 entropy of the numbers, and the codebook. */
  bytes: number;
  /** Σ (w − q)². */
  error: number;
  /** Σ h (w − q)², where h is what an error of each weight counts; `error` where nothing is known of that. */
  weighted: number;
  apply(values: Float32Array): Quantized;
  /** Whether all values have at most 11 significant bits. */
  rounded?: boolean;
}

/** Bytes of a codebook entry after coding, and of what stands before the numbers: measured on files. */
const ENTRY_BYTES = 3.3;
const HEADER_BYTES = 6;

/** `bits` are those of an ideal code of the numbers. */
export const codedBytes = (bits: number, entries: number): number => bits / 8 + ENTRY_BYTES * entries + HEADER_BYTES;

/** The cost of any quantisation, from its result. */
export function valueCost(values: Float32Array, quantized: Float32Array): Pick<Candidate, 'size' | 'bytes' | 'error' | 'weighted'> {
  const counts = new Map<number, number>();
  let error = 0;
  for (let i = 0; i < values.length; i++) {
    counts.set(quantized[i], (counts.get(quantized[i]) ?? 0) + 1);
    error += (values[i] - quantized[i]) ** 2;
  }
  let bits = 0;
  for (const n of counts.values()) bits -= n * Math.log2(n / values.length);
  return { size: counts.size, bytes: codedBytes(bits, counts.size), error, weighted: error };
}
