/** The numbers of one weight, whatever way they are stored; and why some weights are left alone. Pure. */
import type { Spec } from './weight_source.js';

/** Values as the host decodes them (`tf.io.decodeWeights`), or the reason why the weight stays as it is. */
export type TensorValues = { values: Float32Array } | { kept: string };

export function tensorValues(spec: Spec, bytes: Uint8Array): TensorValues {
  if (spec.dtype !== 'float32') return { kept: `${spec.dtype} weights are passed through` };
  if (bytes.length === 0) return { kept: 'it is empty' };
  const values = decodeValues(spec, bytes);
  const broken = values.findIndex((value) => !Number.isFinite(value));
  if (broken >= 0) return { kept: `value ${broken} is ${values[broken]}: weights that are not finite are passed through` };
  return { values };
}

function decodeValues({ quantization }: Spec, bytes: Uint8Array): Float32Array {
  // A copy: weight data of mixed types is not aligned.
  const { buffer } = bytes.slice();
  if (quantization === undefined) return new Float32Array(buffer);
  const { dtype, min = 0, scale = 1 } = quantization;
  if (dtype === 'float16') return Float32Array.from(new Uint16Array(buffer), fromFloat16);
  return Float32Array.from(dtype === 'uint8' ? new Uint8Array(buffer) : new Uint16Array(buffer), (q) => q * scale + min);
}

/** The number that a float16 pattern stands for. */
export function fromFloat16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : NaN;
  return sign * (exponent === 0 ? mantissa * 2 ** -24 : (1 + mantissa / 1024) * 2 ** (exponent - 15));
}

const word = new Uint32Array(1);
const float = new Float32Array(word.buffer);

/** The float16 pattern of a float32 with at most 11 significant bits, or null where that type cannot hold it. */
export function toFloat16(value: number): number | null {
  float[0] = value;
  const sign = (word[0] >>> 16) & 0x8000;
  if (value === 0) return sign;
  const exponent = ((word[0] >>> 23) & 255) - 127;
  if (exponent < -14 || exponent > 15 || (word[0] & 0x1fff) !== 0) return null;
  return sign | ((exponent + 15) << 10) | ((word[0] >>> 13) & 1023);
}

/** To `bits` significant bits, ties to even: relative error ≤ 2^−bits. 11 are float16's precision, at float32's range. */
export function roundSignificand(values: Float32Array, bits = 11): Float32Array {
  const rounded = values.slice();
  const words = new Uint32Array(rounded.buffer);
  const dropped = 24 - bits;
  for (let i = 0; i < words.length; i++) {
    const up = words[i] + (2 ** (dropped - 1) - 1) + ((words[i] >>> dropped) & 1);
    // The largest numbers would round to Infinity.
    if ((up & 0x7f800000) !== 0x7f800000) words[i] = up & ~(2 ** dropped - 1);
  }
  return rounded;
}
