import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { input, model as functionalModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { expect, it } from 'vitest';
import { tiedEmbedding } from '../../src/layers/tied_embedding.js';
import { expectNear } from '../contract/fixtures.js';

it.runIf(['tensorflow', 'wasm'].includes(tf.getBackend()))('layers work on after a switch of backends, with weights and inputs of the one before', async () => {
  const backend = tf.getBackend();
  await tf.setBackend('cpu');
  const x = input({ shape: [2] });
  const model = functionalModel({ inputs: x, outputs: tiedEmbedding({ inputDim: 6, outputDim: 2 }).apply(x) as SymbolicTensor });
  const ids = tf.tensor2d([[1, 5]]);
  const before = await (model.predict(ids) as tf.Tensor).data();
  await tf.setBackend(backend);
  expectNear('after', await (model.predict(ids) as tf.Tensor).data(), before, 1e-6);
  expect(tf.getBackend()).toBe(backend);
});
