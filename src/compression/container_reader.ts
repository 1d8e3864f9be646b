/**
 * Reads a `.tfws` file: 4 bytes `TFWS`, 1 byte version, 4 bytes CRC-32 of all that follows, then one coded stream with
 * everything that is JSON and the tensors in the order of `weightSpecs`. Nothing is allocated before the checksum and
 * every declared size have been held against the file's size.
 */
import type { io } from '@tensorflow/tfjs-core';
import { codeText } from './byte_model.js';
import { crc32 } from './checksum.js';
import { matrixColumns } from './index_model.js';
import { codeNumber, RangeDecoder } from './range_coder.js';
import { codeTensor, newHistory } from './tensor_codec.js';

export const MAGIC = 'TFWS';
export const VERSION = 1;
export const HEADER_BYTES = 9;
/** What a file may declare for each of its bytes bounds work and memory; the encoder pads the rare file that holds more. */
export const VALUES_PER_BYTE = 256;
export const TEXT_PER_BYTE = 64;

type Spec = io.WeightsManifestEntry;

const WIDTHS: Record<string, number> = { bool: 1, string: 1, uint8: 1, uint16: 2, float16: 2, float32: 4, int32: 4, complex64: 4 };

/** How a weight lies in the concatenated weight data. `stringBytes` is the length of a string tensor. */
export function tensorLayout(spec: Spec, stringBytes: number): { width: number; count: number; columns: number } {
  const width = WIDTHS[spec.quantization?.dtype ?? spec.dtype];
  const size = spec.shape.reduce((product, n) => product * n, 1);
  if (spec.dtype === 'string') return { width, count: stringBytes, columns: stringBytes };
  const count = spec.dtype === 'complex64' ? size * 2 : size;
  return { width, count, columns: matrixColumns(spec.shape, count) };
}

export function isSpec(spec: unknown): spec is Spec {
  const { name, shape, dtype, quantization } = spec as Partial<Spec>;
  return (
    typeof name === 'string' &&
    Array.isArray(shape) &&
    shape.every((n) => Number.isSafeInteger(n) && n >= 0) &&
    WIDTHS[quantization?.dtype ?? dtype ?? ''] > 0
  );
}

/** Whether bytes begin like a `.tfws` file. */
export function hasMagic(bytes: Uint8Array): boolean {
  return new TextDecoder().decode(bytes.subarray(0, 4)) === MAGIC;
}

/** The model artefacts held by the bytes of a `.tfws` file; `source` names it in errors. */
export function decodeContainer(bytes: Uint8Array, source = 'these bytes'): io.ModelArtifacts {
  checkFrame(bytes, source);
  try {
    return decodeBody(bytes);
  } catch (error) {
    throw new Error(`compressed: ${source} is damaged: ${(error as Error).message}.`, { cause: error });
  }
}

function checkFrame(bytes: Uint8Array, source: string): void {
  const damaged = (): boolean =>
    bytes.length < HEADER_BYTES || new DataView(bytes.buffer, bytes.byteOffset).getUint32(5, true) !== crc32(bytes.subarray(HEADER_BYTES));
  const problem =
    bytes.length === 0 ? 'is empty. Fetch or save it again'
    : !hasMagic(bytes) ? `is not a .tfws file (it does not begin with 'TFWS'). Load a stock model.json without compressed(…)`
    : bytes[4] !== VERSION ? `has format version ${bytes[4]}, this package reads version ${VERSION}. Install a newer tfjs-weight-sharing`
    : damaged() ? 'is truncated or damaged: its checksum does not match. Fetch or save it again'
    : ''; // prettier-ignore
  if (problem !== '') throw new Error(`compressed: ${source} ${problem}.`);
}

function decodeBody(bytes: Uint8Array): io.ModelArtifacts {
  const coder = new RangeDecoder(bytes, HEADER_BYTES);
  const limit = (value: number, perByte: number, what: string): void => {
    if (!(value <= perByte * bytes.length)) throw new Error(`${value} ${what} cannot be in ${bytes.length} bytes`);
  };
  const textLength = codeNumber(coder);
  limit(textLength, TEXT_PER_BYTE, 'bytes');
  const text = new Uint8Array(textLength);
  codeText(coder, text);
  const artifacts = JSON.parse(new TextDecoder().decode(text)) as io.ModelArtifacts;
  const padding = codeNumber(coder);
  limit(padding, 1, 'bytes');
  coder.raw(new Uint8Array(padding), 0, 1);
  const specs: unknown = artifacts.weightSpecs ?? [];
  if (!Array.isArray(specs) || !specs.every(isSpec)) throw new Error('its weights are not described');

  const layouts = specs.map((spec) => tensorLayout(spec, spec.dtype === 'string' ? codeNumber(coder) : 0));
  const sum = (size: (layout: (typeof layouts)[0]) => number): number => layouts.reduce((total, layout) => total + size(layout), 0);
  limit(sum(({ count }) => count), VALUES_PER_BYTE, 'weights');
  const data = new Uint8Array(sum(({ count, width }) => count * width));
  const history = newHistory();
  let offset = 0;
  for (const { count, width, columns } of layouts) {
    codeTensor(coder, { bytes: data.subarray(offset, (offset += count * width)), width, columns }, history);
  }
  if (!coder.exhausted) throw new Error('its length is out of range');
  return artifacts.weightSpecs === undefined ? artifacts : { ...artifacts, weightData: data.buffer };
}
