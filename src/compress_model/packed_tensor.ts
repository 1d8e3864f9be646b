/** A weight after compression, in few bytes: a codebook with numbers into it, or bytes as they are. Pure. */
import type { Spec } from './weight_source.js';
import { toFloat16 } from './tensor_values.js';

export type PackedTensor = { spec: Spec; codebook: Float32Array; indices: Uint8Array } | { spec: Spec; bytes: Uint8Array };

/** The bytes of the weight data. */
export function tensorBytes(packed: PackedTensor): Uint8Array {
  if ('bytes' in packed) return packed.bytes;
  const { codebook, indices } = packed;
  const values = new Float32Array(indices.length);
  for (let i = 0; i < values.length; i++) values[i] = codebook[indices[i]];
  return new Uint8Array(values.buffer);
}

export const floatBytes = (values: Float32Array): Uint8Array => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** A specification of float32 values that are stored as such. */
export function plainSpec(spec: Spec): Spec {
  const plain = { ...spec };
  delete plain.quantization;
  return plain;
}

/**
 * Codebook values on the grid min + scale · {0 … levels}, of which 0 is a point: what the host expands for uint8 (levels 255) and
 * uint16 weights.
 */
export function affineGrid(codebook: Float32Array, levels: number): { min: number; scale: number; codes: number[]; values: Float32Array } {
  const low = Math.min(0, ...codebook);
  const high = Math.max(0, ...codebook);
  // One step fewer than there are: moving 0 onto the grid takes up to one.
  const scale = high > low ? (high - low) / (levels - 1) : 1;
  const zero = Math.round(-low / scale);
  const min = zero === 0 ? 0 : -zero * scale;
  const codes = Array.from(codebook, (value) => Math.min(levels, Math.max(0, Math.round(value / scale) + zero)));
  return { min, scale, codes, values: Float32Array.from(codes, (code) => code * scale + min) };
}

/** More of the squared error of clustering than this share must not come from snapping to a grid of 256; then it has 65536. */
export const SNAPPING_SHARE = 0.1;

/**
 * As weights that any tfjs decodes: codebooks as affine uint8, or uint16 where that grid is too coarse for them; 11-bit values as float16;
 * everything else as it is. `error` is Σ (w − value)² of clustering.
 */
export function stockTensor(packed: PackedTensor, error: number, rounded: boolean): PackedTensor {
  if ('bytes' in packed) return rounded ? halfPrecision(packed) : packed;
  const { codebook, indices } = packed;
  const spec = plainSpec(packed.spec);
  const counts = new Float64Array(codebook.length);
  for (let i = 0; i < indices.length; i++) counts[indices[i]]++;
  const fine = affineGrid(codebook, 255);
  const snapping = codebook.reduce((sum, value, j) => sum + counts[j] * (value - fine.values[j]) ** 2, 0);
  if (snapping <= SNAPPING_SHARE * error) {
    const codes = Uint8Array.from(fine.codes);
    return { spec: { ...spec, quantization: { dtype: 'uint8', min: fine.min, scale: fine.scale } }, bytes: indices.map((j) => codes[j]) };
  }
  const { min, scale, codes } = affineGrid(codebook, 65535);
  const words = Uint16Array.from(indices, (j) => codes[j]);
  return { spec: { ...spec, quantization: { dtype: 'uint16', min, scale } }, bytes: new Uint8Array(words.buffer) };
}

function halfPrecision(packed: { spec: Spec; bytes: Uint8Array }): PackedTensor {
  const values = new Float32Array(packed.bytes.slice().buffer);
  const patterns = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const pattern = toFloat16(values[i]);
    if (pattern === null) return packed;
    patterns[i] = pattern;
  }
  return { spec: { ...plainSpec(packed.spec), quantization: { dtype: 'float16' } }, bytes: new Uint8Array(patterns.buffer) };
}
