import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model as functionalModel, sequential, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it, vi } from 'vitest';
import { supervisionDecay } from '../../src/callbacks/supervision_decay.js';
import { recursiveConv } from '../../src/layers/recursion/recursive_conv.js';
import { recursiveSupervision } from '../../src/losses/recursive_supervision.js';
import { callbackContract, type ModelKind } from '../contract/callback_contract.js';
import { expectNear, seeded } from '../contract/fixtures.js';

describe('recursiveSupervision', () => {
  it('is α · mean of the recursions’ losses + (1 − α) · the main one’s', async () => {
    const supervision = recursiveSupervision({ steps: 2, alpha: 0.25 });
    const value = async () => {
      const losses = supervision.losses.map((loss, i) => loss(tf.zeros([2, 3]), tf.fill([2, 3], [1, 2, 4][i])));
      return (await tf.addN(losses).data())[0];
    };
    expect(await value()).toBeCloseTo(0.25 * ((4 + 16) / 2) + 0.75 * 1, 5);
    supervision.alpha = 1;
    expect(await value()).toBeCloseTo(10, 5);
    supervision.alpha = 0;
    expect(await value()).toBeCloseTo(1, 5);
  });

  it('trains a model whose outputs are the readout and every step, and decays', async () => {
    const x = input({ shape: [4, 4, 1] });
    const outputs = recursiveConv({ kernelSize: 3, recursions: 2, readout: 'weighted', everyStep: true }).apply(x) as SymbolicTensor[];
    const model = functionalModel({ inputs: x, outputs });
    const supervision = recursiveSupervision({ steps: 2 });
    model.compile({ optimizer: tf.train.sgd(0.02), loss: supervision.losses });
    const data = seeded([4, 4, 4, 1], 1);
    const { history } = await model.fit(data, supervision.targets(data), { epochs: 4, verbose: 0, callbacks: supervisionDecay({ supervision, epochs: 2 }) });
    expect(history['supervision_alpha']).toEqual([1, 0.5, 0, 0]);
    expect(history['loss'][3] as number).toBeLessThan(history['loss'][2] as number);
    // With α = 0 the loss is that of the readout alone.
    const [total, main] = model.evaluate(data, supervision.targets(data)) as tf.Scalar[];
    expectNear('loss', await total.data(), await main.data(), 1e-6);
  });

  it('says that it changes nothing where the model has another loss', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    const model = network('sequential');
    const [x, y] = [tf.ones([2, 2]), tf.ones([2, 1])];
    const [supervision, other] = [recursiveSupervision({ steps: 1 }), recursiveSupervision({ steps: 1 })];
    for (const loss of ['meanSquaredError', other.losses[0], supervision.losses[0]]) {
      model.compile({ optimizer: 'sgd', loss });
      await model.fit(x, y, { epochs: 1, verbose: 0, callbacks: [supervisionDecay({ supervision, epochs: 2 })] });
    }
    const warnings = warn.mock.calls.flat();
    warn.mockRestore();
    expect(warnings).toEqual([1, 2].map(() => expect.stringContaining('supervisionDecay: the model was not compiled with the losses of this supervision') as string));
  });

  it('says what is wrong', () => {
    expect(() => recursiveSupervision({ steps: 0 })).toThrow('recursiveSupervision: steps must be an integer ≥ 1, got 0.');
    expect(() => recursiveSupervision({ steps: 1, alpha: 2 })).toThrow('recursiveSupervision: alpha must be a number in [0, 1], got 2.');
    expect(() => recursiveSupervision({ steps: 1, loss: 'meanSquaredError' as never })).toThrow("loss must be a function of targets and predictions, got 'meanSquaredError'.");
    const supervision = recursiveSupervision({ steps: 1 });
    expect(() => (supervision.alpha = -1)).toThrow('alpha must be a number in [0, 1], got -1.');
    expect(() => supervisionDecay({ supervision, epochs: 0 })).toThrow('supervisionDecay: epochs must be an integer ≥ 1, got 0.');
    expect(() => supervisionDecay({ supervision, epochs: 2, to: 1.5 })).toThrow('supervisionDecay: to must be a number in [0, 1], got 1.5.');
    expect(() => supervisionDecay({ supervision: {} as never, epochs: 2 })).toThrow('supervision must be what recursiveSupervision made');
  });
});

function network(kind: ModelKind) {
  const head = layers.dense({ units: 1 });
  const x = input({ shape: [2] });
  return kind === 'functional' ? functionalModel({ inputs: x, outputs: head.apply(x) as SymbolicTensor }) : sequential({ layers: [layers.dense({ units: 1, inputShape: [2] })] });
}

describe('supervisionDecay keeps the callback contract', () =>
  callbackContract({ create: () => supervisionDecay({ supervision: recursiveSupervision({ steps: 2 }), epochs: 2 }), model: network, historyKeys: ['supervision_alpha'] })); // prettier-ignore
