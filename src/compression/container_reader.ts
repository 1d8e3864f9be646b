/**
 * Reads a `.tfws` file: 4 bytes `TFWS`, 1 byte version, 4 bytes CRC-32 of all that follows, then one coded stream with
 * everything that is JSON and the tensors in the order of `weightSpecs`. Nothing is allocated before the checksum and
 * every declared size have been held against the file's size.
 */
import type { io } from '@tensorflow/tfjs-core';
import { codeText } from './byte_model.js';
import { crc32 } from './checksum.js';
import { matrixShape } from './index_model.js';
import { codeNumber, P_MIN, RangeDecoder } from './range_coder.js';
import { codeTensor, newHistory, type TensorBytes } from './tensor_codec.js';

export const MAGIC = 'TFWS';
export const VERSION = 1;
export const HEADER_BYTES = 9;
/** No model gives a symbol more than probability 1 − 2⁻¹⁶; the encoder pads the rare file that would declare more. */
export const VALUES_PER_BYTE = 1 / P_MIN;
export const TEXT_PER_BYTE = 4096;

type Spec = io.WeightsManifestEntry;

const WIDTHS: Record<string, number> = {
  float32: 4, int32: 4, bool: 1, string: 1, complex64: 4, uint8: 1, uint16: 2, float16: 2,
};

/** How a weight lies in the concatenated weight data. `stringBytes` is the length of a string tensor. */
export function tensorLayout(spec: Spec, stringBytes: number): { width: number; count: number; columns: number } {
  const width = WIDTHS[spec.quantization?.dtype ?? spec.dtype];
  const size = spec.shape.reduce((product, n) => product * n, 1);
  if (spec.dtype === 'string') return { width, count: stringBytes, columns: stringBytes };
  const count = spec.dtype === 'complex64' ? size * 2 : size;
  return { width, count, columns: matrixShape(spec.shape, count)[1] };
}

export function isSpec(spec: unknown): spec is Spec {
  const { name, shape, dtype, quantization } = (spec ?? {}) as Partial<Spec>;
  return (
    typeof name === 'string' &&
    Array.isArray(shape) &&
    shape.every((n) => Number.isSafeInteger(n) && n >= 0) &&
    (quantization?.dtype ?? dtype ?? '') in WIDTHS
  );
}

/** Whether bytes begin like a `.tfws` file. */
export function hasMagic(bytes: Uint8Array): boolean {
  return [...MAGIC].every((c, i) => bytes[i] === c.charCodeAt(0));
}

/**
 * The model artefacts held by the bytes of a `.tfws` file, ready for `tf.loadLayersModel(tf.io.fromMemory(…))`.
 * `source` names the file in errors.
 */
export function decodeModelArtifacts(bytes: Uint8Array, source = 'these bytes'): io.ModelArtifacts {
  checkFrame(bytes, source);
  try {
    return decodeBody(bytes);
  } catch (error) {
    throw new Error(`compressed: ${source} is not a well-formed .tfws file: ${(error as Error).message}.`, { cause: error });
  }
}

function checkFrame(bytes: Uint8Array, source: string): void {
  const fail = (why: string): never => {
    throw new Error(`compressed: ${source} ${why}`);
  };
  if (bytes.length === 0) fail('is empty. Save the model again with model.save(compressed(…)).');
  if (!hasMagic(bytes)) {
    fail(`is not a .tfws file (it must begin with '${MAGIC}'). A stock model.json loads without compressed(…).`);
  }
  if (bytes.length < HEADER_BYTES) fail(`is truncated: ${bytes.length} bytes.`);
  if (bytes[4] > VERSION) {
    fail(`has format version ${bytes[4]}; this tfjs-weight-sharing reads up to ${VERSION}. Install a newer one.`);
  }
  if (bytes[4] === 0) fail('has format version 0, which does not exist: it is damaged.');
  const stored = (bytes[5] | (bytes[6] << 8) | (bytes[7] << 16) | (bytes[8] << 24)) >>> 0;
  if (stored !== crc32(bytes.subarray(HEADER_BYTES))) {
    fail('is truncated or damaged: its checksum does not match. Fetch or save it again.');
  }
}

function decodeBody(bytes: Uint8Array): io.ModelArtifacts {
  const coder = new RangeDecoder(bytes, HEADER_BYTES);
  const limit = (value: number, perByte: number, what: string): void => {
    if (!(value <= perByte * bytes.length)) throw new Error(`it declares ${value} ${what}, more than ${bytes.length} bytes can hold`);
  };
  const textLength = codeNumber(coder, 0);
  limit(textLength, TEXT_PER_BYTE, 'bytes of text');
  const text = new Uint8Array(textLength);
  codeText(coder, text);
  const artifacts = JSON.parse(new TextDecoder().decode(text)) as io.ModelArtifacts;
  const padding = codeNumber(coder, 0);
  limit(padding, 1, 'bytes of padding');
  coder.raw(new Uint8Array(padding));
  const specs: unknown = artifacts.weightSpecs ?? [];
  if (!Array.isArray(specs) || !specs.every(isSpec)) throw new Error('its list of weights is invalid');

  const layouts = specs.map((spec) => tensorLayout(spec, spec.dtype === 'string' ? codeNumber(coder, 0) : 0));
  let values = 0;
  let total = 0;
  for (const { count, width } of layouts) {
    values += count;
    total += count * width;
  }
  limit(values, VALUES_PER_BYTE, 'weights');
  const data = new Uint8Array(total);
  const history = newHistory();
  let offset = 0;
  for (const { count, width, columns } of layouts) {
    const tensor: TensorBytes = { bytes: data.subarray(offset, (offset += count * width)), width, columns };
    codeTensor(coder, tensor, history, null);
  }
  if (!coder.exhausted) throw new Error('its length does not fit its content');
  return artifacts.weightSpecs === undefined ? artifacts : { ...artifacts, weightData: data.buffer };
}
