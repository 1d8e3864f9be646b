/** Two models whose saves take long enough to be interrupted, and that cannot be taken for one another. */
import type { io } from '@tensorflow/tfjs-core';
import { artifactsOf, float32, seeded } from './helpers.js';

const SIZE = 300_000;
let models: io.ModelArtifacts[] | null = null;

export function savedModels(): io.ModelArtifacts[] {
  models ??= [1, 2].map((seed) => {
    const random = seeded(seed);
    const layer = { class_name: 'Dense', config: { units: 1, name: 'd' } };
    return {
      ...artifactsOf([float32('d/kernel', [SIZE, 1], Float32Array.from({ length: SIZE }, () => random() - 0.5))]),
      modelTopology: { class_name: 'Sequential', config: { name: `m${seed}`, layers: [layer] } },
    };
  });
  return models;
}
