import * as tf from '@tensorflow/tfjs-core';
import { input, model as functionalModel, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { parameterBank } from '../../src/layers/parameter_bank.js';
import { temporalConvolutionCell } from '../../src/layers/temporal_convolution_cell.js';
import { transformerCell } from '../../src/layers/transformer_cell.js';
import { spectralRadius } from '../../src/solvers/spectral_radius.js';

const bankModel = (seed: number): LayersModel => {
  const x = input({ shape: [2] });
  return functionalModel({ inputs: x, outputs: parameterBank({ size: 9, seed, passInput: true }).apply(x) as SymbolicTensor });
};
const MAKERS: [string, (seed: number) => LayersModel][] = [
  ['transformerCell', (seed) => transformerCell({ units: 4, numHeads: 2, seed }) as LayersModel],
  ['temporalConvolutionCell', (seed) => temporalConvolutionCell({ units: 4, seed }) as LayersModel],
  ['parameterBank', bankModel],
];

// To the host 0 is no seed.
describe.each([0, 3])('with seed %d', (seed) => {
  it.each(MAKERS)('%s begins equal each time', async (_, make) => {
    const values = async () => {
      const model = make(seed);
      const all = await Promise.all(model.getWeights().map(async (weight) => Array.from(await weight.data())));
      model.dispose();
      return all;
    };
    const first = await values();
    expect(first.flat().some((w) => w !== 0)).toBe(true);
    expect(await values()).toEqual(first);
  });

  it('spectralRadius estimates the same each time', async () => {
    const w = tf.tensor2d([[0.5, 0.2, 0.1], [0.3, 0.4, -0.2], [0.1, 0.6, 0.3]]); // prettier-ignore
    const estimate = async () => {
      const radius = spectralRadius(([z]) => [tf.matMul(z as tf.Tensor2D, w)], [tf.ones([2, 3])], { iterations: 4, seed });
      return Array.from(await radius.data());
    };
    expect(await estimate()).toEqual(await estimate());
  });
});
