/**
 * A `.tfws` file carried as a stock artefact, for storage that only takes those (IndexedDB, local storage, downloads, any
 * IOHandler): the file's bytes are the "weight data" of a model whose topology says so.
 */
import type { io } from '@tensorflow/tfjs-core';
import { decodeModelArtifacts } from './container_reader.js';

export const CARRIER_FORMAT = 'tfws';

/** The bytes that `artifacts` carry; throws if they are not a carrier of ours. */
export function unwrapCarrier(artifacts: io.ModelArtifacts, source: string): io.ModelArtifacts {
  const { weightData, format, modelTopology } = artifacts;
  const topology = modelTopology as { class_name?: unknown } | undefined;
  if ((format !== CARRIER_FORMAT && topology?.class_name !== CARRIER_FORMAT) || weightData === undefined) {
    throw new Error(
      `compressed: ${source} holds a model that was saved without compressed(…). Load it without compressed(…), or save it again with it.`,
    );
  }
  const parts = Array.isArray(weightData) ? weightData : [weightData];
  const bytes = new Uint8Array(parts.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(new Uint8Array(part), offset);
    offset += part.byteLength;
  }
  return decodeModelArtifacts(bytes, source);
}

/** Stock artefacts that carry the bytes of a `.tfws` file. */
export function wrapCarrier(bytes: Uint8Array): io.ModelArtifacts {
  return {
    modelTopology: { class_name: CARRIER_FORMAT, config: { read_with: "compressed(…) of 'tfjs-weight-sharing/load'" } },
    format: CARRIER_FORMAT,
    generatedBy: 'tfjs-weight-sharing',
    convertedBy: null,
    weightSpecs: [{ name: CARRIER_FORMAT, shape: [bytes.length], dtype: 'bool' }],
    weightData: bytes.slice().buffer,
  };
}
