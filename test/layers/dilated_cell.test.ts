import * as tf from '@tensorflow/tfjs-core';
import { input, model as functionalModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { deqLayer } from '../../src/layers/deq_layer.js';
import { temporalConvolutionCell } from '../../src/layers/temporal_convolution_cell.js';
import { fixedPointIteration } from '../../src/solvers/fixed_point_iteration.js';
import { expectNear, seeded } from '../contract/fixtures.js';

describe('temporalConvolutionCell, dilated', () => {
  it.each([[2, 2], [3, 2], [2, 3]])('with %d taps %d apart looks at the past alone, as the definition says', async (kernelSize, dilation) => {
    const [units, time] = [2, 6];
    const cell = temporalConvolutionCell({ units, kernelSize, dilation, seed: 1 });
    const [z, x] = [seeded([1, time, units], 1), seeded([1, time, units], 2)];
    const named = new Map<string, number[]>();
    for (const weight of cell.weights) named.set(weight.originalName, Array.from(await weight.read().data()));
    const [w, v] = [...named].filter(([name]) => /kernel/.test(name) && name.startsWith('recursive')).map(([, values]) => values);
    const [u, y] = [...named].filter(([name]) => name.startsWith('dense')).map(([, values]) => values);
    const [zs, xs] = [await z.data(), await x.data()];
    const expected: number[] = [];
    for (let t = 0; t < time; t++) {
      for (let o = 0; o < units; o++) {
        const [a, b] = [[w, u], [v, y]].map(([past, present]) => {
          let sum = 0;
          for (let i = 0; i < units; i++) sum += xs[t * units + i] * present[i * units + o];
          for (let k = 0; k < kernelSize; k++) {
            const at = t - (kernelSize - 1 - k) * dilation;
            if (at >= 0) for (let i = 0; i < units; i++) sum += zs[at * units + i] * past[(k * units + i) * units + o];
          }
          return sum;
        });
        expected.push(Math.tanh(a) / (1 + Math.exp(-b)));
      }
    }
    expectNear('next state', await (cell.apply([z, x]) as tf.Tensor).data(), expected, 1e-5);
  });

  it('trains', async () => {
    const x = input({ shape: [4, 2] });
    const solver = fixedPointIteration({ maxIterations: 12 });
    const model = functionalModel({ inputs: x, outputs: deqLayer({ cell: temporalConvolutionCell({ units: 2, dilation: 2, seed: 1 }), solver }).apply(x) as SymbolicTensor });
    model.compile({ optimizer: tf.train.adam(0.05), loss: 'meanSquaredError' });
    const { history } = await model.fit(seeded([4, 4, 2], 1), tf.mul(0.2, seeded([4, 4, 2], 2)), { epochs: 6, verbose: 0 });
    expect(history['loss'].at(-1)).toBeLessThan(history['loss'][0] as number);
  });
});
