import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model as functionalModel, sequential, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { attentionSharing, type AttentionSharingArgs } from '../../src/callbacks/attention_sharing.js';
import { adapted, isAtRest, startOfThreshold } from '../../src/callbacks/sharing_threshold.js';
import { jensenShannon } from '../../src/layers/jensen_shannon.js';
import { sharedAttention, type SharedAttention } from '../../src/layers/shared_attention.js';
import { callbackContract, type ModelKind } from '../contract/callback_contract.js';
import { alive, expectNear, saveAndLoad, seeded } from '../contract/fixtures.js';
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

  it('keeps in a second fit, and in a loaded model, what was shared before', async () => {
    const { stack, model } = network();
    compiled(model);
    stack.setPolicy({ policy: [1, 2, 1] });
    const outputs = async (of: LayersModel) => (of.predict(seeded([2, 4, 4], 3)) as tf.Tensor).data();
    const before = await outputs(model);
    const loaded = compiled(await saveAndLoad(model));
    for (const again of [model, loaded]) {
      // Layer 2 never made maps: it counts by those of layer 1, so that the two go into a block with layer 0 together or not at all.
      const { sharing } = await fit(again, { threshold: 1 }, 2);
      expect(sharing.records.map(({ policy, unchanged }) => [policy, unchanged])).toEqual([[[1, 2, 1], true], [[1, 2, 1], true]]);
      expect(sharing.records[0].divergence.map((row) => row[2])).toEqual([-1, -1, 0, -1]);
      expectNear('outputs', await outputs(again), before, 1e-6);
    }
    expect((await fit(model, { threshold: 0.95 }, 1)).sharing.records[0].policy).toEqual([3, 1]);
    const whole = network();
    whole.stack.setPolicy({ policy: [4] });
    await fit(compiled(whole.model), { threshold: 1 }, 1);
    expect(whole.stack.policy).toEqual([4]);
  });

  it('begins anew with another model', async () => {
    const [first, second] = [network(), network()];
    const [x, y] = [seeded([6, 4, 4], 1), seeded([6, 4, 4], 2)];
    const sharing = attentionSharing({ data: seeded([5, 4, 4], 3), threshold: 0.9 });
    for (const { model } of [first, second]) await compiled(model).fit(x, y, { epochs: 4, verbose: 0, callbacks: [sharing] });
    expect(second.stack.policy).toEqual([2, 1, 1]);
    expect(sharing.records.map(({ unchanged }) => unchanged)).toEqual([false, true, true, false, true, true]);
  });

  it('begins anew when somebody has set another policy, and goes on where nobody has', async () => {
    const { stack, model } = network();
    const [x, y] = [seeded([6, 4, 4], 1), seeded([6, 4, 4], 2)];
    const sharing = attentionSharing({ data: seeded([5, 4, 4], 3), threshold: 0.9 });
    const again = () => compiled(model).fit(x, y, { epochs: 4, verbose: 0, callbacks: [sharing] });
    await again();
    await again();
    expect(sharing.records).toHaveLength(3);
    stack.setPolicy({ policy: [1, 1, 1, 1] });
    await again();
    expect(sharing.records.map(({ unchanged }) => unchanged)).toEqual([false, true, true, false, true, true]);
    expect(stack.policy).toEqual([2, 1, 1]);
  });

  it('splits a block when the threshold rises above what was measured before its layers shared', async () => {
    const { stack, model } = network();
    const sharing = attentionSharing({ data: seeded([5, 4, 4], 3), threshold: 'adaptive' });
    sharing.setModel(model);
    await sharing.onTrainBegin();
    for (const [epoch, loss] of [1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2].entries()) await sharing.onEpochEnd(epoch, { val_loss: loss });
    const policies = sharing.records.map(({ policy }) => policy.join());
    expect(policies.slice(0, 6)).toEqual(Array(6).fill('2,1,1'));
    expect(policies[6]).toBe('2,2');
    expect(sharing.records.at(-1)!.threshold).toBeCloseTo(0.69375, 10);
    expect(stack.policy).toEqual([2, 1, 1]);
  });

  it('takes the mean over all calls of a stack, and leaves nothing behind', async () => {
    const one = input({ shape: [4, 4] });
    const stack = sharedAttention({ numLayers: 2, numHeads: 2, units: 2, name: 'stack' });
    const model = functionalModel({ inputs: one, outputs: [1, 2, 3].reduce<SymbolicTensor>((x) => stack.apply(x) as SymbolicTensor, one) });
    const data = seeded([5, 4, 4], 3);
    const each: number[] = [];
    let x = data;
    for (let call = 0; call < 3; call++) {
      const [{ self }] = stack.mapsDuring(() => (x = stack.apply(x) as tf.Tensor));
      each.push((await tf.mean(jensenShannon(self[0]!, self[1]!)).data())[0]);
      tf.dispose(self as tf.Tensor[]);
    }
    const sharing = attentionSharing({ data, threshold: 1, batchSize: 2 });
    sharing.setModel(model);
    await sharing.onTrainBegin();
    const before = alive();
    await sharing.onEpochEnd(0);
    expect(alive()).toEqual(before);
    expect(new Set(each.map((value) => value.toFixed(5))).size).toBe(3);
    expect(sharing.records[0].divergence[0][1]).toBeCloseTo((each[0] + each[1] + each[2]) / 3, 5);
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
    expect(adapted(lower, NaN, 0.01).best).toBe(1);
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

  it('takes data for each input of the model, and as many samples of each', async () => {
    const [x, memory] = [input({ shape: [4, 4] }), input({ shape: [null, 3], name: 'memory' })];
    const stack = sharedAttention({ numLayers: 2, numHeads: 1, units: 2 });
    const model = functionalModel({ inputs: [x, memory], outputs: stack.apply([x, memory]) as SymbolicTensor });
    const begun = async (data: AttentionSharingArgs['data']) => {
      const sharing = attentionSharing({ data, threshold: 0 });
      sharing.setModel(model);
      await sharing.onTrainBegin();
      return sharing;
    };
    const [first, second] = [seeded([3, 4, 4], 1), seeded([3, 2, 3], 2)];
    await (await begun([first, second])).onEpochEnd(0);
    expect([stack.policy, stack.memoryPolicy]).toEqual([[2], [2]]);
    await expect(begun(first)).rejects.toThrow(/data must be a tensor for each input of the model, '.*' \[null, 4, 4\], 'memory' \[null, null, 3\], got 1. Give a list in that order./);
    await expect(begun([first, first])).rejects.toThrow("attentionSharing: data[1] must fit the model's input 'memory' [null, null, 3], got [3, 4, 4].");
    await expect(begun([first, seeded([2, 2, 3], 2)])).rejects.toThrow('attentionSharing: data must be equally many samples for each input, at least one, got 3, 2.');
  });

  it('says what is wrong', async () => {
    const data = tf.zeros([1, 2]);
    const made = (args: object) => () => attentionSharing({ data, threshold: 0.9, ...args } as AttentionSharingArgs);
    expect(made({ threshold: 'high' })).toThrow("attentionSharing: threshold must be 'adaptive' or a number in [0, 1], got 'high'.");
    expect(made({ data: 3 })).toThrow('attentionSharing: data must be inputs of the model, a tensor or a list of them, got 3.');
    expect(made({ interval: 0 })).toThrow('attentionSharing: interval must be an integer ≥ 1, got 0.');
    expect(made({ patience: 2 })).toThrow("attentionSharing: unknown option 'patience'.");
    expect(made({ tolerance: 0.1 })).toThrow("attentionSharing: tolerance belongs to threshold 'adaptive', which is 0.9 here. Leave it out.");
    const disposed = tf.zeros([1, 4, 4]);
    disposed.dispose();
    for (const [wrong, message] of [
      [[data, data], /^attentionSharing: data must be a tensor for each input of the model, '.*' \[null, 4, 4\], got 2\. Give one tensor\.$/],
      [tf.zeros([1, 4, 3]), /^attentionSharing: data must fit the model's input '.*' \[null, 4, 4\], got \[1, 4, 3\]\.$/],
      [tf.zeros([0, 4, 4]), 'attentionSharing: data must be equally many samples for each input, at least one, got 0.'],
      [disposed, 'attentionSharing: data is disposed. Keep it until training has ended.'],
    ] as const) {
      await expect(fit(compiled(network().model), { data: wrong as tf.Tensor }, 1)).rejects.toThrow(message);
    }
    await expect(fit(compiled(network().model), { threshold: 'adaptive' }, 1)).rejects.toThrow("threshold 'adaptive' follows the validation loss, and there is none");
    await expect(fit(compiled(network().model), { layer: 'other' }, 1)).rejects.toThrow("the model has no sharedAttention 'other'. It has: 'stack'.");
  });
});
