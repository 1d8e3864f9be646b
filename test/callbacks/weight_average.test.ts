import * as tf from '@tensorflow/tfjs-core';
import { CustomCallback, layers, sequential, type Callback, type LayersModel } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { klMergeQuantization } from '../../src/callbacks/kl_merge_quantization.js';
import { weightAverage, type WeightAverageArgs } from '../../src/callbacks/weight_average.js';
import { attachRegularizer } from '../../src/regularizers/attach.js';
import { gmmPrior } from '../../src/regularizers/gmm_prior.js';
import { callbackContract } from '../contract/callback_contract.js';
import { seeded } from '../contract/fixtures.js';

const kernel = async (model: LayersModel) => Array.from(await model.getWeights()[0].data());

function setUp() {
  const model = sequential({ layers: [layers.dense({ units: 2, inputShape: [3], kernelInitializer: 'ones' })] });
  model.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
  return { model, x: seeded([12, 3], 1), y: seeded([12, 2], 2) };
}
const fit = (model: LayersModel, x: tf.Tensor, y: tf.Tensor, callbacks: (Callback | CustomCallback)[], epochs = 2) =>
  model.fit(x, y, { epochs, batchSize: 4, shuffle: false, verbose: 0, callbacks });

/** Every weight after every batch, seen by a callback of its own. */
function recorder(model: LayersModel): { seen: number[][]; callback: CustomCallback } {
  const seen: number[][] = [];
  return { seen, callback: new CustomCallback({ onBatchEnd: async () => void seen.push(await kernel(model)) }) };
}

describe('weightAverage', () => {
  callbackContract({ create: () => weightAverage(), dispose: (callback) => (callback as ReturnType<typeof weightAverage>).dispose() });

  it.each([1, 2])('ends with the bias-corrected exponential average of the weights after every %i. batch', async (interval) => {
    const { model, x, y } = setUp();
    const { seen, callback } = recorder(model);
    await fit(model, x, y, [callback, weightAverage({ decay: 0.7, interval })]);
    expect(seen).toHaveLength(6);
    let sum = seen[0].map(() => 0);
    let updates = 0;
    seen.forEach((weights, batch) => {
      if ((batch + 1) % interval !== 0) return;
      updates++;
      sum = sum.map((value, i) => 0.7 * value + 0.3 * weights[i]);
    });
    const expected = sum.map((value) => value / (1 - 0.7 ** updates));
    (await kernel(model)).forEach((value, i) => expect(value).toBeCloseTo(expected[i], 5));
    expect(expected[0]).not.toBeCloseTo(seen.at(-1)![0], 3);
  });

  it('leaves the weights alone with atEnd: keep, and exchanges them by hand there and back', async () => {
    const { model, x, y } = setUp();
    const average = weightAverage({ decay: 0.5, atEnd: 'keep' });
    const { seen, callback } = recorder(model);
    await fit(model, x, y, [average, callback]);
    expect(await kernel(model)).toEqual(seen.at(-1));
    await average.exchange();
    expect(await kernel(model)).not.toEqual(seen.at(-1));
    await average.exchange();
    expect(await kernel(model)).toEqual(seen.at(-1));
    average.dispose();
  });

  it('makes klMergeQuantization quantise the averages', async () => {
    const run = async (withAverage: boolean) => {
      const { model, x, y } = setUp();
      const prior = gmmPrior({ trainingExamples: 12, components: 3, tau: 1e-3 });
      attachRegularizer(model, prior);
      const quantization = klMergeQuantization({ prior, verbose: false });
      const average = weightAverage({ decay: 0.9 });
      await fit(model, x, y, withAverage ? [average, quantization] : [quantization]);
      quantization.restore();
      const unquantized = await kernel(model);
      await average.exchange().catch(() => {});
      return { unquantized, own: await kernel(model) };
    };
    const plain = await run(false);
    const averaged = await run(true);
    expect(averaged.unquantized).not.toEqual(plain.unquantized);
    averaged.own.forEach((value, i) => expect(value).toBeCloseTo(plain.unquantized[i], 6));
  });

  it('does not put averages that are not finite into the model, and names the weight', async () => {
    const { model, x, y } = setUp();
    const spoiling = new CustomCallback({
      onBatchEnd: async (batch) => {
        if (batch === 0) (model.getWeights()[0] as tf.Variable).assign(tf.fill([3, 2], NaN));
        else (model.getWeights()[0] as tf.Variable).assign(tf.ones([3, 2]));
      },
    });
    await expect(fit(model, x, y, [spoiling, weightAverage()])).rejects.toThrow(/weightAverage: the average of .*kernel.* is not finite.*left as they are/);
    expect(await kernel(model)).toEqual([1, 1, 1, 1, 1, 1]);
  });

  it('says that nothing was averaged, that training goes on with averages, and what an option must be', async () => {
    const { model, x, y } = setUp();
    await expect(fit(model, x, y, [weightAverage({ interval: 100 })])).rejects.toThrow('weightAverage: nothing was averaged: 6 batches were trained and an update needs 100.');
    const average = weightAverage();
    const exchanging = new CustomCallback({ onBatchEnd: () => average.exchange() });
    await expect(fit(model, x, y, [average, exchanging])).rejects.toThrow('weightAverage: the averages stand in the model, and it is being trained.');
    expect(() => weightAverage({ decay: 1 })).toThrow('weightAverage: decay must be a number strictly between 0 and 1, got 1.');
    expect(() => weightAverage({ interval: 0 })).toThrow('weightAverage: interval must be an integer ≥ 1, got 0.');
    expect(() => weightAverage({ atEnd: 'swap' as 'keep' })).toThrow('weightAverage: atEnd');
    expect(() => weightAverage({ momentum: 0.9 } as WeightAverageArgs)).toThrow('momentum');
  });
});
