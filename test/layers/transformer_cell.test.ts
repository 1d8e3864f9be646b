import * as tf from '@tensorflow/tfjs-core';
import { input, model as functionalModel, type LayerVariable, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { deqLayer } from '../../src/layers/deq_layer.js';
import type { DEQLayerArgs } from '../../src/layers/deq_options.js';
import { transformerCell } from '../../src/layers/transformer_cell.js';
import { anderson } from '../../src/solvers/anderson.js';
import { implicit } from '../../src/solvers/implicit.js';
import { unrolled } from '../../src/solvers/unrolled.js';
import { expectNear, saveAndLoad, seeded } from '../contract/fixtures.js';
import { onGpu, relativeError } from '../helpers.js';
import { missingKernelsForThisTest } from '../stock_kernels.js';

beforeEach(() => void vi.spyOn(console, 'warn').mockImplementation(() => {}));
afterEach(() => void vi.restoreAllMocks());

const TOLERANCE = onGpu ? 1e-3 : 1e-5;
const solver = () => anderson({ tolerance: TOLERANCE, maxIterations: onGpu ? 14 : 60 });

/** Of both norms: the smaller, the fewer iterations. */
const GAMMA = 0.2;

describe('transformerCell', () => {
  /** Small norms beside a large injection: the map contracts, and there is one fixed point. */
  const build = (args: Partial<DEQLayerArgs> = {}) => {
    const x = input({ shape: [null, 2] });
    const layer = deqLayer({ cell: transformerCell({ units: 4, numHeads: 2, inputDim: 2, innerUnits: 3 }), solver: solver(), gradient: implicit({ solver: solver() }), ...args });
    const outputs = layer.apply(x) as SymbolicTensor;
    layer.setWeights(layer.weights.map(({ originalName, shape }, i) => {
      if (/gamma/.test(originalName)) return tf.fill(shape as number[], GAMMA);
      return tf.mul(i === 0 ? 3 : 0.4, seeded(shape as number[], 30 + i));
    }));
    return { layer, model: functionalModel({ inputs: x, outputs }) };
  };

  it('starts alike from equal seeds, with no two kernels alike', async () => {
    const kernels = async (seed: number) => Promise.all(transformerCell({ units: 4, numHeads: 2, innerUnits: 4, seed }).getWeights().filter(({ rank }) => rank > 1).map(async (weight) => (await weight.data()).join()));
    const [first, again, other] = await Promise.all([3, 3, 4].map(kernels));
    expect(again).toEqual(first);
    expect(new Set([...first, ...other]).size).toBe(2 * 7);
  });

  it('has the weights of a Transformer layer and of the injection, and takes any length', () => {
    const { layer, model } = build();
    expect(layer.countParams()).toBe(2 * 4 + 4 * (16 + 4) + 2 * 8 + 4 * 3 + 3 + 3 * 4 + 4);
    for (const time of [1, 5]) expect((model.predict(tf.zeros([2, time, 2])) as tf.Tensor).shape).toEqual([2, time, 4]);
  });

  it('has the gradient of the same layer unrolled', async () => {
    const x = seeded([2, 3, 2], 1);
    const w = seeded([2, 3, 4], 2);
    const gradients = (gradient: DEQLayerArgs['gradient']) => {
      const { layer } = build({ gradient });
      const loss = () => tf.sum(tf.mul(w, layer.apply(x, { training: true }) as tf.Tensor)) as tf.Scalar;
      const { grads } = tf.variableGrads(loss, layer.trainableWeights.map((weight) => weight.read() as tf.Variable));
      return Promise.all(layer.trainableWeights.map((weight) => grads[(weight.read() as tf.Variable).name].data()));
    };
    const [solved, steps] = [await gradients(implicit({ solver: solver() })), await gradients(unrolled({ steps: onGpu ? 14 : 50 }))];
    const joined = (parts: ArrayLike<number>[]) => parts.flatMap((part) => Array.from(part));
    expect(relativeError(joined(solved), joined(steps))).toBeLessThan(onGpu ? 0.03 : 1e-3);
  });

  it('lets a position see nothing of the future', async () => {
    const { model } = build();
    const x = seeded([1, 4, 2], 3);
    const at = async (moved: boolean) => (model.predict(moved ? tf.add(x, tf.tensor3d([0, 0, 1, 0], [1, 4, 1])) : x) as tf.Tensor).data();
    const [before, after] = [await at(false), await at(true)];
    const difference = Array.from(before, (value, i) => Math.abs(value - after[i]));
    expect(Math.max(...difference.slice(0, 8))).toBeLessThan(30 * TOLERANCE);
    expect(Math.max(...difference.slice(12))).toBeGreaterThan(0.02);
  });

  it('trains, and comes back from a file', async () => {
    missingKernelsForThisTest();
    const { layer, model } = build({ gradient: undefined });
    model.compile({ optimizer: tf.train.sgd(0.2), loss: 'meanSquaredError' });
    const [x, y] = [seeded([4, 3, 2], 1), seeded([4, 3, 4], 2)];
    const { history } = await model.fit(x, y, { epochs: onGpu ? 2 : 3, batchSize: 4, verbose: 0 });
    expect(history['loss'].at(-1) as number).toBeLessThan(history['loss'][0] as number);
    expect((await layer.report()).reason).toBe('converged');
    expectNear('loaded', await ((await saveAndLoad(model)).predict(x) as tf.Tensor).data(), await (model.predict(x) as tf.Tensor).data(), 1e-6);
  });

  it('draws what the residuals leave out at each call, with a seed too, and keeps it during one solve', async () => {
    const x = input({ shape: [null, 4] });
    const layer = deqLayer({ cell: transformerCell({ units: 4, numHeads: 2, dropout: 0.5, seed: 1 }), solver: solver() });
    const model = functionalModel({ inputs: x, outputs: layer.apply(x) as SymbolicTensor });
    // Attention, which has a dropout of its own, adds nothing; the rest has biases to start from.
    const value = ({ originalName, shape }: LayerVariable, i: number) => (/attention/.test(originalName) ? tf.zeros(shape as number[]) : tf.mul(GAMMA, seeded(shape as number[], 50 + i)));
    layer.setWeights(layer.weights.map((weight, i) => (/kernel/.test(weight.originalName) && !/attention/.test(weight.originalName) ? weight.read() : value(weight, i))));
    const data = seeded([2, 3, 4], 3);
    const runs: ArrayLike<number>[] = [];
    for (let call = 0; call < 2; call++) {
      runs.push(await (model.apply(data, { training: true }) as tf.Tensor).data());
      // With other masks at each iteration it would not converge.
      expect((await layer.report()).reason).toBe('converged');
    }
    expect(relativeError(runs[0], runs[1])).toBeGreaterThan(1e-2);
  });

  it('says what is wrong', () => {
    expect(() => transformerCell({ units: 4, numHeads: 3 })).toThrow('numHeads must divide the width, got 3 heads and width 4. Use 2 heads');
    expect(() => transformerCell({ units: 0, numHeads: 1 })).toThrow('transformerCell: units must be an integer ≥ 1, got 0.');
    expect(() => transformerCell({ units: 4, numHeads: 2, heads: 2 } as never)).toThrow("transformerCell: unknown option 'heads'.");
  });
});
