import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model as functionalModel, sequential, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { attentionSharing, type AttentionSharingArgs } from '../../src/callbacks/attention_sharing.js';
import { adapted, isAtRest, startOfThreshold } from '../../src/callbacks/sharing_threshold.js';
import { sharedAttention, type SharedAttention } from '../../src/layers/shared_attention.js';
import { callbackContract, type ModelKind } from '../contract/callback_contract.js';
import { saveAndLoad, seeded } from '../contract/fixtures.js';
import { missingKernelsForThisTest } from '../stock_kernels.js';

/** Two numbers → a sequence of two vectors → a stack → one number. */
function stacked(kind: ModelKind): LayersModel {
  const parts = [
    layers.dense({ units: 4, inputShape: [2] }),
    layers.reshape({ targetShape: [2, 2] }),
    sharedAttention({ numLayers: 2, numHeads: 1, units: 2, name: 'contract_stack' }),
    layers.flatten(),
    layers.dense({ units: 1 }),
  ];
  if (kind === 'sequential') return sequential({ layers: parts });
  const x = input({ shape: [2] });
  return functionalModel({ inputs: x, outputs: parts.reduce((y, layer) => layer.apply(y) as SymbolicTensor, x) });
}

const kept: tf.Tensor[] = [];
describe('the callback contract holds for attentionSharing', () =>
  callbackContract({
    create: () => {
      const data = seeded([4, 2], 3);
      kept.push(data);
      return attentionSharing({ data, threshold: 0.9 });
    },
    model: stacked,
    historyKeys: ['contract_stack_sharedLayers'],
    dispose: () => tf.dispose(kept.splice(0)),
  })); // prettier-ignore

/** A stack of four whose first two layers have the same weights for queries and keys, scaled so that maps are sharp. */
function network(): { stack: SharedAttention; model: LayersModel } {
  const x = input({ shape: [4, 4] });
  const stack = sharedAttention({ numLayers: 4, numHeads: 1, units: 2, name: 'stack' });
  const model = functionalModel({ inputs: x, outputs: stack.apply(x) as SymbolicTensor });
  const scaled = (weight: { originalName: string; shape: (number | null)[] }) => tf.mul(3, seeded(weight.shape as number[], /layer_[01]_/.test(weight.originalName) ? 5 : weight.originalName.length + Number(/\d/.exec(weight.originalName)![0]) * 7));
  for (const weight of stack.weights) {
    if (/attention\/(query|key)_kernel/.test(weight.originalName)) weight.write(scaled(weight));
    // What the layers add is small: all see nearly the same.
    if (/(output|outer|outer_kernel|value_kernel|layer_\d_outer\/kernel)/.test(weight.originalName)) weight.write(tf.mul(1e-3, weight.read()));
  }
  return { stack, model };
}
const compiled = (model: LayersModel, rate = 0): LayersModel => {
  missingKernelsForThisTest();
  model.compile({ optimizer: tf.train.sgd(rate), loss: 'meanSquaredError' });
  return model;
};
const fit = (model: LayersModel, args: Partial<AttentionSharingArgs>, epochs: number, validation = false) => {
  const [x, y] = [seeded([6, 4, 4], 1), seeded([6, 4, 4], 2)];
  const sharing = attentionSharing({ data: seeded([5, 4, 4], 3), threshold: 0.9, batchSize: 2, ...args });
  return model.fit(x, y, { epochs, verbose: 0, callbacks: [sharing], ...(validation ? { validationData: [x, y] as [tf.Tensor, tf.Tensor] } : {}) }).then(({ history }) => ({ sharing, history }));
};

describe('attentionSharing', () => {
  it('lets those layers share whose maps are alike, comes to rest, and the policy is saved', async () => {
    const { stack, model } = network();
    const { sharing, history } = await fit(compiled(model), {}, 5);
    expect(stack.policy).toEqual([2, 1, 1]);
    const [first] = sharing.records;
    expect(first.divergence[0][1]).toBeLessThan(0.02);
    expect(first.divergence[0][2]).toBeGreaterThan(0.1);
    // The pair that shares now keeps what was measured while both made maps.
    expect(sharing.records[1].divergence[0][1]).toBe(first.divergence[0][1]);
    expect(sharing.stable).toBe(true);
    expect(sharing.records.map(({ epoch, unchanged }) => [epoch, unchanged])).toEqual([[0, false], [1, true], [2, true]]);
    expect(history['stack_sharedLayers']).toEqual([1, 1, 1, 1, 1]);
    expect(((await saveAndLoad(model)).layers.at(-1) as SharedAttention).policy).toEqual([2, 1, 1]);
  });

  it('compares every interval epochs', async () => {
    const { sharing } = await fit(compiled(network().model), { interval: 2, threshold: 1 }, 5);
    expect(sharing.records.map(({ epoch }) => epoch)).toEqual([1, 3]);
  });

  it('lowers an adaptive threshold while the validation loss keeps, and shares more', async () => {
    const { stack, model } = network();
    const { sharing } = await fit(compiled(model), { threshold: 'adaptive', tolerance: 10 }, 4, true);
    const thresholds = sharing.records.map(({ threshold }) => threshold);
    expect(thresholds[0]).toBeCloseTo(0.95, 10);
    expect(thresholds[3]).toBeCloseTo(0.8, 10);
    expect(stack.policy.length).toBeLessThanOrEqual(3);
    expect(sharing.records[0].valLoss).toBeGreaterThan(0);
  });

  it('raises it again, in halved steps, when the loss does not keep', () => {
    const start = startOfThreshold();
    const lower = adapted(start, 1, 0.01);
    expect(lower).toEqual({ threshold: 0.95 - 0.05, step: 0.05, best: 1 });
    const higher = adapted(lower, 1.02, 0.01);
    expect(higher.threshold).toBeCloseTo(0.95, 10);
    expect(higher.step).toBe(0.025);
    expect(adapted(higher, 1.005, 0.01).threshold).toBeCloseTo(0.925, 10);
    let state = start;
    for (let i = 0; i < 20; i++) state = adapted(state, 1, 0.01);
    expect(state.threshold).toBeCloseTo(1 - Math.LN2, 10);
    expect(isAtRest(state)).toBe(true);
    expect(isAtRest(start)).toBe(false);
  });

  it('says what is wrong', async () => {
    const data = tf.zeros([1, 2]);
    const made = (args: object) => () => attentionSharing({ data, threshold: 0.9, ...args } as AttentionSharingArgs);
    expect(made({ threshold: 'high' })).toThrow("attentionSharing: threshold must be 'adaptive' or a number in [0, 1], got 'high'.");
    expect(made({ data: 3 })).toThrow('attentionSharing: data must be inputs of the model, a tensor or a list of them, got 3.');
    expect(made({ interval: 0 })).toThrow('attentionSharing: interval must be an integer ≥ 1, got 0.');
    expect(made({ patience: 2 })).toThrow("attentionSharing: unknown option 'patience'.");
    await expect(fit(compiled(network().model), { threshold: 'adaptive' }, 1)).rejects.toThrow("threshold 'adaptive' follows the validation loss, and there is none");
    await expect(fit(compiled(network().model), { layer: 'other' }, 1)).rejects.toThrow("the model has no sharedAttention 'other'. It has: 'stack'.");
  });
});
