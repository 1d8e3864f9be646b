/** A model to compress, its weights read one by one. */
import type { io } from '@tensorflow/tfjs-core';
import { joinBuffers, splitTensors, stringLengths } from '../compression/container.js';
import { isSpec } from '../compression/container_reader.js';
import { stripTopology } from '../compression/strip_training.js';

export type Spec = io.WeightsManifestEntry;

export interface WeightSource {
  /** Everything but the weights: `weightSpecs` says what they are. */
  artifacts: io.ModelArtifacts;
  /** The bytes of weight `index` of `weightSpecs`, as they lie in the weight data. */
  read(index: number): Promise<Uint8Array>;
}

/** A source without what only training needs: optimizer weights, training configuration, regularizers, constraints, initializers. */
export function deploymentSource({ artifacts, read }: WeightSource): WeightSource {
  const { weightSpecs = [], ...rest } = artifacts;
  for (const key of ['trainingConfig', 'weightData', 'getWeightStream'] as const) delete rest[key];
  const kept = weightSpecs.flatMap((spec, i) => (spec.group === 'optimizer' ? [] : [i]));
  return {
    artifacts: { ...rest, modelTopology: stripTopology(artifacts.modelTopology), weightSpecs: kept.map((i) => weightSpecs[i]) },
    read: (index) => read(kept[index]),
  };
}

/** A source of artefacts in memory. @throws Error if the specifications and the bytes do not fit. */
export function memorySource(artifacts: io.ModelArtifacts): WeightSource {
  const { weightSpecs = [] } = artifacts;
  checkSpecs(weightSpecs);
  const data = joinBuffers(artifacts.weightData);
  const tensors = splitTensors(weightSpecs, stringLengths(weightSpecs, data), data);
  return { artifacts, read: (index) => Promise.resolve(tensors[index].bytes) };
}

/** @throws Error if one of them does not describe a weight. */
export function checkSpecs(specs: readonly unknown[]): void {
  const wrong = specs.find((spec) => typeof spec !== 'object' || spec === null || !isSpec(spec));
  if (wrong !== undefined) {
    throw new Error(`compressModel: the weight specification ${JSON.stringify(wrong)} is invalid. Expected {name, shape, dtype} as in the weightsManifest of a model.json.`);
  }
}
