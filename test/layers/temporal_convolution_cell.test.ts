import * as tf from '@tensorflow/tfjs-core';
import { input, model as functionalModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { deqLayer } from '../../src/layers/deq_layer.js';
import { temporalConvolutionCell } from '../../src/layers/temporal_convolution_cell.js';
import { anderson } from '../../src/solvers/anderson.js';
import { seeded } from '../contract/fixtures.js';
import { onGpu } from '../helpers.js';
import { missingKernelsForThisTest } from '../stock_kernels.js';

beforeEach(() => void vi.spyOn(console, 'warn').mockImplementation(() => {}));
afterEach(() => void vi.restoreAllMocks());

const SOLVER = anderson({ tolerance: 1e-3, maxIterations: onGpu ? 8 : 40 });

describe('temporalConvolutionCell', () => {
  it('starts alike from equal seeds, with no two kernels alike', async () => {
    const kernels = async (seed: number) => Promise.all(temporalConvolutionCell({ units: 3, seed }).getWeights().filter(({ rank }) => rank > 1).map(async (weight) => (await weight.data()).join()));
    const [first, again, other] = await Promise.all([3, 3, 4].map(kernels));
    expect(again).toEqual(first);
    expect(new Set([...first, ...other]).size).toBe(2 * 4);
  });

  const build = () => {
    const x = input({ shape: [null, 2] });
    const layer = deqLayer({ cell: temporalConvolutionCell({ units: 3, inputDim: 2, kernelSize: 2 }), solver: SOLVER });
    const outputs = layer.apply(x) as SymbolicTensor;
    layer.setWeights(layer.getWeights().map((weight, i) => tf.tidy(() => tf.mul(0.5, seeded(weight.shape, 10 + i)))));
    return { layer, model: functionalModel({ inputs: x, outputs }) };
  };

  it('has a kernel for the past and one for the input at each gate, and takes any length', () => {
    const { layer, model } = build();
    expect(layer.countParams()).toBe(2 * (2 * 3 * 3 + 3 + 2 * 3));
    for (const time of [1, 5]) expect((model.predict(tf.zeros([2, time, 2])) as tf.Tensor).shape).toEqual([2, time, 3]);
  });

  it('lets a step see all of the past and nothing of the future', async () => {
    const { model } = build();
    const at = async (changed: number) => {
      const values = (await seeded([1, 6, 2], 3).data()).slice();
      if (changed < 6) values[2 * changed] += 2;
      const x = tf.tensor3d(values as Float32Array, [1, 6, 2]);
      return (model.predict(x) as tf.Tensor).data();
    };
    const [plain, moved] = [await at(9), await at(2)];
    const difference = Array.from(plain, (value, i) => Math.abs(value - moved[i]));
    expect(Math.max(...difference.slice(0, 6))).toBeLessThan(2e-3); // steps 0 and 1, up to the tolerance
    expect(Math.max(...difference.slice(6, 9))).toBeGreaterThan(0.05);
  });

  it('converges and trains', async () => {
    missingKernelsForThisTest();
    const { layer, model } = build();
    model.compile({ optimizer: tf.train.sgd(0.3), loss: 'meanSquaredError' });
    const [x, y] = [seeded([4, 5, 2], 1), seeded([4, 5, 3], 2)];
    const { history } = await model.fit(x, y, { epochs: 3, batchSize: 4, verbose: 0 });
    expect((await layer.report()).reason).toBe('converged');
    expect(history['loss'][2] as number).toBeLessThan(history['loss'][0] as number);
  });

  it('says what is wrong', () => {
    expect(() => temporalConvolutionCell({ units: 0 })).toThrow('temporalConvolutionCell: units must be an integer ≥ 1, got 0.');
    expect(() => temporalConvolutionCell({ units: 2, kernelSize: 1 })).toThrow('temporalConvolutionCell: kernelSize must be an integer ≥ 2, got 1.');
    expect(() => temporalConvolutionCell({ units: 2, width: 1 } as never)).toThrow("temporalConvolutionCell: unknown option 'width'.");
  });
});
