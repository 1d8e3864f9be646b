/** Writes a `.tfws` file; `container_reader.ts` describes and reads it. */
import type { io } from '@tensorflow/tfjs-core';
import { describe } from '../checks.js';
import { codeText } from './byte_model.js';
import { crc32 } from './checksum.js';
import {
  decodeContainer, HEADER_BYTES, isSpec, MAGIC, TEXT_PER_BYTE, tensorLayout, VALUES_PER_BYTE, VERSION,
} from './container_reader.js';
import { type Coder, codeNumber, FREQUENCIES, RangeEncoder, type Section } from './range_coder.js';
import { codeTensor, newHistory, type TensorBytes, type TensorPlan } from './tensor_codec.js';
import { collectFacts, planTensor, type Quantity } from './tensor_planner.js';

type Spec = io.WeightsManifestEntry;

/** What one weight takes in the file. Bytes are fractions: the coder does not stop at byte boundaries. */
export interface EncodedWeight {
  spec: Spec;
  plan: TensorPlan | null;
  tensor: TensorBytes;
  headerBytes: number;
  codebookBytes: number;
  dataBytes: number;
}

/** A `.tfws` file and where its bytes went. */
export interface EncodedModel {
  bytes: Uint8Array;
  /** Frame, checksum, topology and everything else that is no weight. */
  topologyBytes: number;
  weights: EncodedWeight[];
}

/** The bytes of a `.tfws` file that holds `artifacts`, lossless. */
export function encodeModelArtifacts(artifacts: io.ModelArtifacts): Uint8Array {
  const who = 'encodeModelArtifacts';
  if ((artifacts as unknown) instanceof Promise) throw new Error(`${who}: expected model artefacts, got a Promise. Await it first.`);
  if (typeof artifacts !== 'object' || artifacts === null || (artifacts.modelTopology == null && artifacts.weightSpecs == null)) {
    const how = typeof (artifacts as { save?: unknown } | null)?.save === 'function' ? ' Save the model into an IOHandler, whose save(artifacts) gets them.' : '';
    throw new Error(`${who}: expected model artefacts, with modelTopology or weightSpecs, got ${describe(artifacts)}.${how}`);
  }
  return encodeDetailed(artifacts).bytes;
}

/**
 * The model artefacts held by the bytes of a `.tfws` file, ready for `tf.loadLayersModel(tf.io.fromMemory(…))`.
 * @param source names the file in errors
 */
export function decodeModelArtifacts(bytes: Uint8Array, source?: string): io.ModelArtifacts {
  if (!(bytes instanceof Uint8Array)) {
    const how = (bytes as unknown) instanceof ArrayBuffer ? ' Give new Uint8Array(buffer).' : '';
    throw new Error(`decodeModelArtifacts: expected the bytes of a .tfws file as a Uint8Array, got ${describe(bytes)}.${how}`);
  }
  return decodeContainer(bytes, source);
}

/** As `encodeModelArtifacts`, with the account of each weight. */
export function encodeDetailed(artifacts: io.ModelArtifacts): EncodedModel {
  const { weightSpecs = [], weightData } = artifacts;
  checkSpecs(weightSpecs);
  const data = joinBuffers(weightData);
  const tensors = splitTensors(weightSpecs, stringLengths(weightSpecs, data), data);
  return encodeTensors(artifacts, (index) => tensors[index].bytes, { keepPlans: true });
}

export interface EncodeOptions {
  /** Keep in the account what the plans hold of the size of their tensors. */
  keepPlans?: boolean;
  /** Called before each tensor is coded. */
  onTensor?: (index: number) => void;
}

/**
 * As `encodeDetailed`, with the bytes of each weight from `read`, which is asked several times for the same, so that not all of them need be in
 * memory at once. `padding` is for files so small that their declared sizes would look like an attack to the reader (a constant tensor of
 * millions): they are written again with as many zeros.
 */
export function encodeTensors(artifacts: io.ModelArtifacts, read: (index: number) => Uint8Array, options: EncodeOptions = {}, padding = 0): EncodedModel {
  const rest = { ...artifacts };
  delete rest.weightData;
  delete rest.getWeightStream;
  if (artifacts.modelTopology instanceof ArrayBuffer) {
    throw new Error('compressed: modelTopology is an ArrayBuffer; only JSON topologies can be packed. Convert the model to JSON first.');
  }
  const specs = artifacts.weightSpecs ?? [];
  checkSpecs(specs);
  const tensors = lazyTensors(specs, read);

  const encoder = new RangeEncoder();
  const counter = new CountingCoder(encoder);
  const text = new TextEncoder().encode(JSON.stringify(rest));
  codeNumber(counter, text.length);
  codeText(counter, text);
  codeNumber(counter, padding);
  counter.raw(new Uint8Array(padding), 0, 1);
  specs.forEach((spec, i) => spec.dtype === 'string' && codeNumber(counter, tensors[i].columns));
  counter.take();

  const facts = collectFacts(tensors, specs.map(quantityOf));
  const history = newHistory();
  let values = 0;
  const weights = specs.map((spec, i): EncodedWeight => {
    options.onTensor?.(i);
    const { length } = tensors[i].bytes;
    values += length / tensors[i].width;
    const plan = length === 0 ? null : planTensor(facts, i, history);
    if (plan !== null) codeTensor(counter, tensors[i], history, plan);
    else codeTensor(counter, tensors[i], history);
    const { header, codebook, data } = counter.take();
    const kept = plan === null || options.keepPlans ? plan : { kind: plan.kind, codebook: plan.codebook };
    return { spec, plan: kept, tensor: tensors[i], headerBytes: header, codebookBytes: codebook, dataBytes: data };
  });
  const bytes = frame(encoder.finish());
  const least = Math.ceil(Math.max(text.length / TEXT_PER_BYTE, values / VALUES_PER_BYTE));
  if (bytes.length < least) return encodeTensors(artifacts, read, options, least);
  const weightBytes = weights.reduce((sum, w) => sum + w.headerBytes + w.codebookBytes + w.dataBytes, 0);
  return { bytes, topologyBytes: bytes.length - weightBytes, weights };
}

function checkSpecs(specs: readonly Spec[]): void {
  const wrong = specs.find((spec) => !isSpec(spec));
  if (wrong !== undefined) throw new Error(`compressed: the weight specification ${JSON.stringify(wrong)} is invalid.`);
}

/** Tensors whose bytes are asked for when needed; the last ones are kept, for they are asked for again. */
function lazyTensors(specs: readonly Spec[], read: (index: number) => Uint8Array): TensorBytes[] {
  let last = -1;
  let lastBytes = new Uint8Array(0);
  const bytesOf = (index: number): Uint8Array => {
    if (index !== last) [last, lastBytes] = [index, read(index) as Uint8Array<ArrayBuffer>];
    return lastBytes;
  };
  return specs.map((spec, index) => {
    const { width, columns } = tensorLayout(spec, spec.dtype === 'string' ? bytesOf(index).length : 0);
    return {
      width,
      columns,
      get bytes() {
        return bytesOf(index);
      },
    };
  });
}

/** Passes bits on and adds up their information content, so that parts of one stream can be told apart. */
class CountingCoder implements Coder {
  private section: Section = 'header';
  private bytes = { header: 0, codebook: 0, data: 0 };

  constructor(private readonly inner: Coder) {}

  bit(p: number, bit: number): number {
    this.bytes[this.section] -= Math.log2((bit ? p : 65536 - p) / 65536) / 8;
    return this.inner.bit(p, bit);
  }

  narrow(low: number, high: number): void {
    this.bytes[this.section] -= Math.log2((high - low) / FREQUENCIES) / 8;
    this.inner.narrow(low, high);
  }

  raw(bytes: Uint8Array, start: number, step: number): void {
    this.bytes[this.section] += Math.ceil((bytes.length - start) / step);
    this.inner.raw(bytes, start, step);
  }

  mark(section: Section): void {
    this.section = section;
  }

  /** Bytes since the last call, by section. */
  take(): Record<Section, number> {
    const { bytes } = this;
    this.bytes = { header: 0, codebook: 0, data: 0 };
    return bytes;
  }
}

/** Magic, version and checksum before the stream. */
function frame(stream: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + stream.length);
  for (let i = 0; i < MAGIC.length; i++) bytes[i] = MAGIC.charCodeAt(i);
  bytes[4] = VERSION;
  bytes.set(stream, HEADER_BYTES);
  const crc = crc32(stream);
  for (let k = 0; k < 4; k++) bytes[5 + k] = crc >>> (8 * k);
  return bytes;
}

function quantityOf({ dtype, quantization }: Spec): Quantity {
  const stored = quantization?.dtype ?? dtype;
  return stored === 'int32' ? 'signed' : stored === 'float32' || stored === 'float16' || stored === 'complex64' ? 'float' : 'unsigned';
}

/** The weight data as one run of bytes. */
export function joinBuffers(data: io.WeightData | undefined): Uint8Array {
  if (data === undefined) return new Uint8Array(0);
  if (!Array.isArray(data)) return new Uint8Array(data);
  const joined = new Uint8Array(data.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let offset = 0;
  for (const buffer of data) {
    joined.set(new Uint8Array(buffer), offset);
    offset += buffer.byteLength;
  }
  return joined;
}

/** Bytes of every string tensor (each string stands after its length in 4 bytes), 0 for the others. */
export function stringLengths(specs: readonly Spec[], data: Uint8Array): number[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let offset = 0;
  return specs.map((spec) => {
    if (spec.dtype !== 'string') {
      const { count, width } = tensorLayout(spec, 0);
      offset += count * width;
      return 0;
    }
    const start = offset;
    const strings = spec.shape.reduce((product, n) => product * n, 1);
    for (let i = 0; i < strings && offset + 4 <= data.length; i++) offset += 4 + view.getUint32(offset, true);
    return offset - start;
  });
}

export function splitTensors(specs: readonly Spec[], strings: readonly number[], data: Uint8Array): TensorBytes[] {
  let offset = 0;
  const tensors = specs.map((spec, i) => {
    const { count, width, columns } = tensorLayout(spec, strings[i]);
    return { bytes: data.subarray(offset, (offset += count * width)), width, columns };
  });
  if (offset !== data.length) {
    throw new Error(
      `compressed: the weight specifications describe ${offset} bytes, but the weight data has ${data.length}. ` +
        'Pass artefacts as model.save() hands them to an IOHandler.',
    );
  }
  return tensors;
}
