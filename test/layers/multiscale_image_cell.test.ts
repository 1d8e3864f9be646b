import * as tf from '@tensorflow/tfjs-core';
import { initializers, input, layers, model as functionalModel, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { deqLayer, type DEQLayer } from '../../src/layers/deq_layer.js';
import type { DEQLayerArgs } from '../../src/layers/deq_options.js';
import { weightNormalization } from '../../src/layers/kernel_normalization.js';
import { multiscaleImageCell } from '../../src/layers/multiscale_image_cell.js';
import { anderson } from '../../src/solvers/anderson.js';
import { fixedPointIteration } from '../../src/solvers/fixed_point_iteration.js';
import { implicit } from '../../src/solvers/implicit.js';
import { unrolled } from '../../src/solvers/unrolled.js';
import { saveAndLoad, seeded } from '../contract/fixtures.js';
import { inPage, onGpu, relativeError } from '../helpers.js';
import { missingKernelsForThisTest } from '../stock_kernels.js';

beforeEach(() => {
  missingKernelsForThisTest();
  vi.spyOn(console, 'warn').mockImplementation(() => {});
});
afterEach(() => void vi.restoreAllMocks());

const SHAPE: [number, number, number] = [4, 4, 1];
const FILTERS = [2, 3];
const EXACT = anderson({ tolerance: 1e-6, maxIterations: onGpu ? 10 : 80 });
const QUICK = anderson({ tolerance: 1e-2, maxIterations: onGpu ? 6 : 30 });
const images = (seed = 3) => seeded([2, ...SHAPE], seed);

/** Both resolutions, three classes. */
function classifier(args: Partial<DEQLayerArgs>, seed = 1): { layer: DEQLayer; model: LayersModel } {
  const x = input({ shape: SHAPE });
  const layer = deqLayer({ cell: multiscaleImageCell({ inputShape: SHAPE, filters: FILTERS, seed }), solver: EXACT, ...args });
  const states = layer.apply(x) as SymbolicTensor[];
  const read = states.map((state) => layers.flatten().apply(state) as SymbolicTensor);
  return { layer, model: functionalModel({ inputs: x, outputs: layers.dense({ units: 3, kernelInitializer: initializers.glorotUniform({ seed }) }).apply(layers.concatenate().apply(read)) as SymbolicTensor }) };
}

describe('multiscaleImageCell', () => {
  it('has a state for each resolution, each half as large, that together are a fixed point', async () => {
    const layer = deqLayer({ cell: multiscaleImageCell({ inputShape: SHAPE, filters: FILTERS, seed: 1 }), solver: EXACT });
    const x = input({ shape: SHAPE });
    const model = functionalModel({ inputs: x, outputs: layer.apply(x) as SymbolicTensor[] });
    const state = model.predict(images()) as tf.Tensor[];
    expect(state.map(({ shape }) => shape)).toEqual([[2, 4, 4, 2], [2, 2, 2, 3]]);
    if (!onGpu) expect((await layer.report()).reason).toBe('converged');
    const next = layer.cell.apply([...state, images()]) as tf.Tensor[];
    for (const [i, part] of state.entries()) expect(relativeError(await next[i].data(), await part.data())).toBeLessThan(onGpu ? 1e-2 : 1e-4);
    // Each part is normalised.
    for (const part of state) expect((await tf.mean(tf.square(part)).data())[0]).toBeCloseTo(1, 1);
  });

  it('is contractive at its initial weights: plain iteration converges, also for an image of one colour', async () => {
    if (inPage) return; // needs a hundred evaluations, and has them in Node
    for (const filters of [[4], [4, 6, 6]]) {
      const layer = deqLayer({ cell: multiscaleImageCell({ inputShape: [8, 8, 2], filters, seed: 1 }), solver: fixedPointIteration({ tolerance: 1e-4, maxIterations: 150 }) });
      const x = input({ shape: [8, 8, 2] });
      const model = functionalModel({ inputs: x, outputs: layer.apply(x) as SymbolicTensor[] });
      const data = tf.concat([seeded([2, 8, 8, 2], 5), tf.zeros([1, 8, 8, 2])]);
      tf.dispose(model.predict(data));
      expect((await layer.report()).reason).toBe('converged');
      const radii = await layer.spectralRadius(data, { iterations: 20 }).data();
      expect(Math.max(...radii)).toBeLessThan(1);
    }
  });

  it('has the same gradients implicitly, by a long unrolling and by finite differences', async () => {
    for (const seed of inPage ? [1] : [1, 2]) {
      const { layer, model } = classifier({ gradient: implicit() }, seed);
      const weights = layer.trainableWeights.map((weight) => weight.read() as tf.Variable);
      const x = images();
      const loss = (training: boolean) => tf.mean(tf.square((model as unknown as { apply(x: tf.Tensor, args: object): tf.Tensor }).apply(x, { training }))) as tf.Scalar;
      const gradients = async () => {
        const { grads } = tf.variableGrads(() => loss(true), weights);
        return Promise.all(weights.map(({ name }) => grads[name].data()));
      };
      const exact = await gradients();
      const { forward, backward } = await layer.report();
      for (const solve of [forward, backward]) expect(Math.max(...solve!.samples.map(({ relativeResidual }) => relativeResidual))).toBeLessThan(onGpu ? 1e-2 : 1e-5);
      layer.configure({ gradient: unrolled({ steps: onGpu ? 10 : 40 }) });
      const long = await gradients();
      const largest = Math.max(...long.map((gradient) => Math.max(...gradient.map(Math.abs))));
      exact.forEach((gradient, i) => expect(Math.max(...gradient.map((value, k) => Math.abs(value - long[i][k])))).toBeLessThan((onGpu ? 6e-2 : 1e-3) * largest)); // few iterations on GPUs
      if (inPage) return;
      layer.configure({ gradient: implicit() });
      // Along the gradient of all weights at once: what is lost in float32 is small beside it.
      const norm = Math.hypot(...exact.map((gradient) => Math.hypot(...gradient)));
      const step = 1e-2;
      const start = weights.map((weight) => tf.clone(weight));
      const at = async (by: number) => {
        weights.forEach((weight, i) => weight.assign(tf.tidy(() => tf.add(start[i], tf.mul(by / norm, tf.tensor(exact[i], weight.shape))))));
        return (await loss(false).data())[0];
      };
      expect(((await at(step)) - (await at(-step))) / (2 * step) / norm).toBeCloseTo(1, 1.5);
      await at(0);
    }
  });

  it('trains, with a penalty on its Jacobian and normalised kernels, and comes back from a file', async () => {
    const { model, layer } = classifier({ solver: QUICK, jacobianPenalty: 0.01, kernelNormalization: weightNormalization() });
    model.compile({ optimizer: tf.train.sgd(0.01), loss: 'meanSquaredError' });
    const [x, y] = [images(), seeded([2, 3], 9)];
    const { history } = await model.fit(x, y, { epochs: 2, batchSize: 2, verbose: 0 });
    expect(history['loss'][1] as number).toBeLessThan(history['loss'][0] as number);
    if (!onGpu) expect((await layer.report()).reason).toBe('converged');
    const loaded = await saveAndLoad(model);
    expect(relativeError(await (loaded.predict(x) as tf.Tensor).data(), await (model.predict(x) as tf.Tensor).data())).toBeLessThan(1e-5);
  });

  it('says what is wrong', () => {
    const make = (args: object) => () => multiscaleImageCell({ inputShape: SHAPE, filters: FILTERS, ...args });
    expect(make({ filters: [] })).toThrow('multiscaleImageCell: filters must be a list of integers ≥ 1, one for each resolution, got [].');
    expect(make({ inputShape: [4, 4] })).toThrow('multiscaleImageCell: inputShape must be [height, width, channels], integers ≥ 1, got [4, 4].');
    expect(make({ inputShape: [6, 6, 1], filters: [2, 2, 2] })).toThrow('3 resolutions need a height and width divisible by 4, got 6 × 6. Pad the images, or give fewer filters.');
    expect(make({ groups: 2 })).toThrow('multiscaleImageCell: groups must divide each of filters, got 2 and 3. Use groups: 1.');
    expect(make({ resolutions: 2 })).toThrow("multiscaleImageCell: unknown option 'resolutions'.");
  });
});
