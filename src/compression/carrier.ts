/**
 * A `.tfws` file carried as a stock artefact, for storage that only takes those (IndexedDB, local storage, downloads, any
 * IOHandler): the file's bytes are the "weight data" of a model whose topology says so.
 */
import type { io } from '@tensorflow/tfjs-core';
import { decodeContainer } from './container_reader.js';

export const CARRIER_FORMAT = 'tfws';

/** The model that `artifacts` carry; throws if they are not a carrier of ours. */
export async function unwrapCarrier(artifacts: io.ModelArtifacts, source: string): Promise<io.ModelArtifacts> {
  const { weightData, modelTopology } = artifacts;
  if ((modelTopology as { class_name?: unknown } | undefined)?.class_name !== CARRIER_FORMAT || weightData === undefined) {
    throw new Error(`compressed: ${source} holds a model saved without compressed(…). Load it without compressed(…).`);
  }
  const bytes = await new Blob(Array.isArray(weightData) ? weightData : [weightData]).arrayBuffer();
  return decodeContainer(new Uint8Array(bytes), source);
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
