/** What a model takes as a `.tfws` file, by encoding it: exact for the file, to a fraction of a byte for its parts. */
import { io } from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { describe } from '../checks.js';
import { encodeDetailed, type EncodedWeight } from './container.js';
import { decodeModelArtifacts } from './container_reader.js';
import { stripTraining } from './strip_training.js';

/** One weight in the file. Bytes are fractions: the coder does not stop at byte boundaries. */
export interface WeightSize {
  name: string;
  shape: number[];
  dtype: string;
  parameters: number;
  /** Distinct values (bit patterns). */
  distinct: number;
  /** `copy`: equal to an earlier weight; `constant`; `indices`: codebook and coded indices; `raw`: bytes, plane by plane. */
  encoding: 'raw' | 'indices' | 'constant' | 'copy' | 'empty';
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
  if (model instanceof Uint8Array) return report(decodeModelArtifacts(model), model.length);
  if (typeof (model as LayersModel)?.save === 'function') {
    let artifacts: io.ModelArtifacts = {};
    const info: io.ModelArtifactsInfo = { dateSaved: new Date(), modelTopologyType: 'JSON' };
    await (model as LayersModel).save(
      io.withSaveHandler(async (saved) => {
        artifacts = saved;
        return { modelArtifactsInfo: info };
      }),
    );
    return report(stripTraining(artifacts));
  }
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
  const kinds = { planes: 'raw', copy: 'copy', indices: distinct === 1 ? 'constant' : 'indices' } as const;
  return {
    name: spec.name,
    shape: spec.shape,
    dtype: spec.dtype,
    parameters,
    distinct,
    encoding: plan === null ? 'empty' : kinds[plan.kind],
    bitsPerWeight: parameters === 0 ? 0 : (8 * totalBytes) / parameters,
    codebookBytes,
    indexBytes: dataBytes,
    headerBytes,
    totalBytes,
  };
}

function countDistinct(bytes: Uint8Array, width: number): number {
  const values = new Set<number>();
  for (let i = 0; i < bytes.length; i += width) {
    let value = 0;
    for (let k = width - 1; k >= 0; k--) value = value * 256 + bytes[i + k];
    values.add(value);
  }
  return values.size;
}
