/** What a model takes as a `.tfws` file, by encoding it: exact for the file, to a fraction of a byte for its parts. */
import type { io } from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { describe } from '../checks.js';
import { encodeDetailed, type EncodedWeight } from './container.js';
import { decodeContainer } from './container_reader.js';
import { distinctValues } from './distinct_values.js';
import { isModel, modelArtifacts } from './model_artifacts.js';
import { rowLabels } from './row_plan.js';
import { stripTraining } from './strip_training.js';
import { COPY, INDICES, PLANES, ROWS, type TensorBytes } from './tensor_codec.js';

/** One weight in the file. Bytes are fractions: the coder does not stop at byte boundaries. */
export interface WeightSize {
  name: string;
  shape: number[];
  dtype: string;
  parameters: number;
  /** Distinct values (bit patterns). */
  distinct: number;
  /** Rows: units or input channels that a kernel reads (last axis but one of its shape). 0 for vectors and scalars. */
  rows: number;
  /** Distinct ones among them, a row of zeros included. */
  distinctRows: number;
  /**
   * `copy`: equal to an earlier weight; `constant`; `indices`: codebook and coded indices; `rows`: distinct rows and the number of each
   * row's; `raw`: bytes, plane by plane.
   */
  encoding: 'raw' | 'indices' | 'rows' | 'constant' | 'copy' | 'empty';
  /** Bits per parameter, all of this weight's bytes counted. */
  bitsPerWeight: number;
  /** The codebook, where this weight is the first to use it. */
  codebookBytes: number;
  indexBytes: number;
  headerBytes: number;
  totalBytes: number;
}

export interface SizeReport {
  weights: WeightSize[];
  parameters: number;
  /** Bytes of the whole file. */
  fileBytes: number;
  /** Of these: frame, checksum, topology, names, shapes, metadata. */
  topologyBytes: number;
  codebookBytes: number;
  indexBytes: number;
  headerBytes: number;
  /** Bits of the file per parameter. */
  bitsPerWeight: number;
  /** 4 bytes × parameters (biases included) over the bytes of the file. */
  ratio: number;
}

/**
 * The size of `model` as `model.save(compressed(…))` would write it; also of model artefacts, taken as they are, or of
 * the bytes of a `.tfws` file. Encodes everything, which takes as long as a save.
 */
export async function sizeReport(model: LayersModel | io.ModelArtifacts | Uint8Array): Promise<SizeReport> {
  if (model instanceof Uint8Array) return report(decodeContainer(model), model.length);
  if (isModel(model)) return report(stripTraining(await modelArtifacts(model)));
  if (typeof model !== 'object' || model === null || (model as io.ModelArtifacts).weightSpecs === undefined) {
    throw new Error(`sizeReport: expected a model, model artefacts or the bytes of a .tfws file, got ${describe(model)}.`);
  }
  return report(model as io.ModelArtifacts);
}

function report(artifacts: io.ModelArtifacts, fileBytes?: number): SizeReport {
  const encoded = encodeDetailed(artifacts);
  const weights = encoded.weights.map(weightSize);
  const sum = (key: 'parameters' | 'codebookBytes' | 'indexBytes' | 'headerBytes'): number =>
    weights.reduce((total, weight) => total + weight[key], 0);
  const parameters = sum('parameters');
  const bytes = fileBytes ?? encoded.bytes.length;
  return {
    weights,
    parameters,
    fileBytes: bytes,
    topologyBytes: encoded.topologyBytes,
    codebookBytes: sum('codebookBytes'),
    indexBytes: sum('indexBytes'),
    headerBytes: sum('headerBytes'),
    bitsPerWeight: parameters === 0 ? 0 : (8 * bytes) / parameters,
    ratio: (4 * parameters) / bytes,
  };
}

function weightSize({ spec, plan, tensor, headerBytes, codebookBytes, dataBytes }: EncodedWeight): WeightSize {
  const parameters = spec.shape.reduce((product, n) => product * n, 1);
  const totalBytes = headerBytes + codebookBytes + dataBytes;
  const distinct = countDistinct(tensor.bytes, tensor.width);
  const kinds = { [PLANES]: 'raw', [COPY]: 'copy', [ROWS]: 'rows', [INDICES]: distinct === 1 ? 'constant' : 'indices' } as const;
  return {
    name: spec.name,
    shape: spec.shape,
    dtype: spec.dtype,
    parameters,
    distinct,
    ...countRows(spec.shape, tensor),
    encoding: plan === null ? 'empty' : kinds[plan.kind],
    bitsPerWeight: parameters === 0 ? 0 : (8 * totalBytes) / parameters,
    codebookBytes,
    indexBytes: dataBytes,
    headerBytes,
    totalBytes,
  };
}

/** A row of a convolution's kernel is all that one input channel feeds, so pieces of it lie apart. */
function countRows(shape: readonly number[], { bytes, width }: TensorBytes): Pick<WeightSize, 'rows' | 'distinctRows'> {
  if (shape.length < 2 || bytes.length === 0) return { rows: 0, distinctRows: 0 };
  const [rows, columns] = shape.slice(-2);
  const piece = columns * width;
  const outer = bytes.length / (rows * piece);
  const joined = new Uint8Array(bytes.length);
  for (let o = 0; o < outer; o++) {
    for (let r = 0; r < rows; r++) joined.set(bytes.subarray((o * rows + r) * piece, (o * rows + r + 1) * piece), (r * outer + o) * piece);
  }
  return { rows, distinctRows: rowLabels(joined, outer * piece).firsts.length };
}

function countDistinct(bytes: Uint8Array, width: number): number {
  const values = Float64Array.from({ length: bytes.length / width }, (_, i) => {
    let value = 0;
    for (let k = width - 1; k >= 0; k--) value = value * 256 + bytes[i * width + k];
    return value;
  });
  return distinctValues(values);
}
