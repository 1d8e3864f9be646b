import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model as functionalModel, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { blockSimilarity, chooseBlocks, divergenceSums, jensenShannon } from '../../src/layers/jensen_shannon.js';
import { sharedAttention, type SharedAttention, type SharedAttentionArgs } from '../../src/layers/shared_attention.js';
import { removeUnusedProjections } from '../../src/surgery/remove_unused_projections.js';
import { expectNear, saveAndLoad, seeded } from '../contract/fixtures.js';
import { layerContract } from '../contract/layer_contract.js';
import { missingKernelsForThisTest } from '../stock_kernels.js';
import golden from '../fixtures/attention.json' with { type: 'json' };

/** Parameters of a layer of width 4, with attention of four kernels, and of the last norm. */
const ATTENTION = 4 * (16 + 4);
const DENSE = 4 * 3 + 3 + 3 * 4 + 4;
const NORM = 8;

describe('the layer contract holds for a stack that shares', () =>
  layerContract({
    create: sharedAttention,
    args: { numLayers: 2, numHeads: 2, units: 3, policy: [2], memoryPolicy: [1, 1], causal: true, dropout: 0, activation: 'tanh', compact: true, kernelRegularizer: null, name: 'contract_shared_attention' },
    inputShape: [3, 4], parameters: 2 * (ATTENTION + DENSE + 2 * NORM) - ATTENTION / 2 + NORM, masking: 'passes', learningRate: 0.02, seededMatrices: true,
  })); // prettier-ignore

const build = (args: Partial<SharedAttentionArgs> = {}, memory = false): { stack: SharedAttention; model: LayersModel } => {
  const stack = sharedAttention({ numLayers: 3, numHeads: 2, units: 3, ...args });
  const inputs = [input({ shape: [null, 4] }), ...(memory ? [input({ shape: [null, 5] })] : [])];
  return { stack, model: functionalModel({ inputs, outputs: stack.apply(memory ? inputs : inputs[0]) as SymbolicTensor }) };
};
const x = () => seeded([2, 3, 4], 1);

describe('sharedAttention', () => {
  it('uses the first layer’s maps in the whole block: other layers’ query and key weights do not matter', async () => {
    const { stack, model } = build({ policy: [1, 2] });
    const output = async () => (model.predict(x()) as tf.Tensor).data();
    const change = (name: string) => {
      const weight = stack.weights.find((each) => each.originalName.includes(name))!;
      weight.write(tf.add(weight.read(), seeded(weight.shape as number[], 7)));
    };
    const before = await output();
    for (const unused of ['layer_2_attention/query_kernel', 'layer_2_attention/key_kernel']) change(unused);
    expect(await output()).toEqual(before);
    change('layer_1_attention/query_kernel');
    expect(await output()).not.toEqual(before);
    const [{ self }] = stack.mapsDuring(() => tf.dispose(model.predict(x())));
    expect(self.map((map) => map?.shape ?? null)).toEqual([[2, 2, 3, 3], [2, 2, 3, 3], null]);
    tf.dispose(self.filter((map) => map !== null));
  });

  it('shares outputs of attention over the memory', async () => {
    const { stack, model } = build({ memoryPolicy: [3] }, true);
    const output = async () => (model.predict([x(), seeded([2, 2, 5], 2)]) as tf.Tensor).data();
    const before = await output();
    for (const weight of stack.weights.filter(({ originalName }) => /layer_[12]_memory/.test(originalName))) weight.write(tf.zeros(weight.shape as number[]));
    expect(await output()).toEqual(before);
    stack.setPolicy({ memoryPolicy: [1, 2] });
    expect(await output()).not.toEqual(before);
  });

  it('drops attention weights and hidden units in training only, and saves the share', async () => {
    const { stack, model } = build({ dropout: 0.5 });
    expect(stack.getConfig()['dropout']).toBe(0.5);
    const run = async (training: boolean) => (stack.call(x(), { training }) as tf.Tensor).data();
    expect(await run(false)).toEqual(await run(false));
    expect(await run(true)).not.toEqual(await run(true));
    const loaded = await saveAndLoad(model);
    expect((loaded.layers.at(-1) as SharedAttention).getConfig()['dropout']).toBe(0.5);
  });

  it('trains on while what is shared changes, and saves the policy', async () => {
    missingKernelsForThisTest();
    const { stack, model } = build();
    // Fixed kernels, and steps without moments: at a few draws the norms' curvature is so large that a step goes uphill.
    model.setWeights(model.getWeights().map((weight, i) => (weight.rank === 2 ? seeded(weight.shape, 40 + i) : weight)));
    model.compile({ optimizer: tf.train.sgd(0.01), loss: 'meanSquaredError' });
    const target = tf.tile(tf.tensor3d([0.5, -0.5, 0, 1], [1, 1, 4]), [2, 3, 1]);
    for (const policy of [[1, 1, 1], [3], [2, 1]]) {
      stack.setPolicy({ policy });
      const { history } = await model.fit(x(), target, { epochs: 5, verbose: 0 });
      expect(history['loss'][4]).toBeLessThan(history['loss'][0] as number);
    }
    const loaded = await saveAndLoad(model);
    expect((loaded.layers.at(-1) as SharedAttention).policy).toEqual([2, 1]);
    expectNear('loaded', await (loaded.predict(x()) as tf.Tensor).data(), await (model.predict(x()) as tf.Tensor).data(), 1e-6);
  });

  it('loses unused weights on export, and nothing else', async () => {
    const { model } = build({ policy: [2, 1], memoryPolicy: [1, 2] }, true);
    const memory = seeded([2, 2, 5], 2);
    const { model: small, removed } = await removeUnusedProjections(model);
    expect(removed).toBe(ATTENTION / 2 + (2 * (16 + 4) + 2 * (5 * 4 + 4)) + NORM);
    expect(small.countParams()).toBe(model.countParams() - removed);
    expectNear('compact', await (small.predict([x(), memory]) as tf.Tensor).data(), await (model.predict([x(), memory]) as tf.Tensor).data(), 1e-6);
    const loaded = await saveAndLoad(small);
    expectNear('loaded', await (loaded.predict([x(), memory]) as tf.Tensor).data(), await (model.predict([x(), memory]) as tf.Tensor).data(), 1e-6);
    expect(() => (small.layers.at(-1) as SharedAttention).setPolicy({ policy: [1, 1, 1] })).toThrow('is compact: projections that its policy does not use do not exist. Set the policy before removeUnusedProjections().');
  });

  it('freezes and thaws all that is inside', () => {
    const { stack } = build({ trainable: false });
    expect(stack.trainableWeights).toEqual([]);
    stack.trainable = true;
    expect(stack.nonTrainableWeights).toEqual([]);
  });

  it('says what is wrong', async () => {
    const made = (args: object) => () => sharedAttention({ numLayers: 3, numHeads: 2, ...args } as SharedAttentionArgs);
    expect(made({ numLayers: 0 })).toThrow('SharedAttention: numLayers must be an integer ≥ 1, got 0.');
    expect(made({ policy: [2, 2] })).toThrow('SharedAttention: policy must be lengths ≥ 1 of blocks that together are the 3 layers, got [2, 2].');
    expect(made({ memoryPolicy: [3, 0] })).toThrow('memoryPolicy must be lengths ≥ 1');
    expect(made({ depth: 1 })).toThrow("SharedAttention: unknown option 'depth'.");
    const { stack } = build({ name: 's' });
    expect(() => stack.setPolicy({ policy: [4] })).toThrow("SharedAttention 's': policy must be lengths ≥ 1 of blocks that together are the 3 layers, got [4].");
    expect(stack.policy).toEqual([1, 1, 1]);
    expect(() => sharedAttention({ numLayers: 1, numHeads: 3, name: 's' }).apply(input({ shape: [2, 4] }))).toThrow(
      "SharedAttention 's': numHeads must divide the width, got 3 heads and width 4. Use 2 heads, or make x wider with a dense layer.",
    );
    const masked = sharedAttention({ numLayers: 1, numHeads: 1, name: 's' });
    expect(() => masked.apply([[2, 4], [3, 5], [4]].map((shape) => input({ shape })))).toThrow(
      "SharedAttention 's': expected a mask of the memory [null, 3], a number for each of its positions, got [null, 4].",
    );
    masked.apply([[2, 4], [null, 5], [null]].map((shape) => input({ shape })));
    expect(() => masked.apply([seeded([1, 2, 4], 1), seeded([1, 3, 5], 2), tf.ones([1, 4])])).toThrow("SharedAttention 's': expected a mask of the memory [1, 3], a number for each of its positions, got [1, 4].");
    expect(() => sharedAttention({ numLayers: 1, numHeads: 1, name: 's' }).apply(input({ shape: [4] }))).toThrow("SharedAttention 's': expected x [batch, time, width]");
    const plain = input({ shape: [1] });
    const other = functionalModel({ inputs: plain, outputs: layers.dense({ units: 1, name: 'plain' }).apply(plain) as SymbolicTensor });
    await expect(removeUnusedProjections(other)).rejects.toThrow(/removeUnusedProjections: the model has no sharedAttention. Layers: .*plain/);
    const whole = input({ shape: [3, 4] });
    const nested = functionalModel({ inputs: whole, outputs: build({ name: 'within' }).model.apply(whole) as SymbolicTensor });
    await expect(removeUnusedProjections(nested)).rejects.toThrow("'within' is inside of a model or wrapper within this one. Call it with that model.");
  });
});

describe('the divergence of attention maps', () => {
  const { p, q, divergence, mean } = golden.cases.jensenShannon;

  it('is the reference’s, by row and on the whole', async () => {
    const [a, b] = [tf.tensor3d(p), tf.tensor3d(q)];
    expectNear('rows', await jensenShannon(a, b).data(), divergence.flat(), 1e-5);
    const { sums, rows } = await divergenceSums([a, null, b]);
    expect(rows).toBe(15);
    expect(sums[0][2] / rows).toBeCloseTo(mean, 5);
    expect([sums[2][0], sums[0][0], sums[0][1], sums[1][1]]).toEqual([sums[0][2], 0, -1, -1]);
  });

  it('is 0 for equal and ln 2 for disjoint rows, and leaves empty ones out', async () => {
    const [one, other] = [tf.tensor2d([[1, 0, 0], [0, 0, 0]]), tf.tensor2d([[0, 0.5, 0.5], [0, 0, 0]])];
    expectNear('rows', await jensenShannon(one, other).data(), [Math.LN2, 0], 1e-6);
    const { sums, rows } = await divergenceSums([one, other, one]);
    expect(rows).toBe(1);
    expect(sums[0][1]).toBeCloseTo(Math.LN2, 6);
    expect(sums[0][2]).toBe(0);
  });

  it('makes the largest blocks from below whose mean similarity passes', () => {
    const matrix = [[0, 0.1, 0.5, 0.6], [0.1, 0, 0.3, 0.6], [0.5, 0.3, 0, -1], [0.6, 0.6, -1, 0]];
    expect(blockSimilarity(matrix, 0, 2)).toBeCloseTo(1 - 0.3, 10);
    expect(blockSimilarity(matrix, 2, 3)).toBeCloseTo(1 - Math.LN2, 10);
    expect(blockSimilarity(matrix, 1, 1)).toBe(1);
    expect(chooseBlocks(matrix, 1)).toEqual([1, 1, 1, 1]);
    expect(chooseBlocks(matrix, 0.8)).toEqual([2, 1, 1]);
    expect(chooseBlocks(matrix, 0.69)).toEqual([3, 1]);
    expect(chooseBlocks(matrix, 0.3)).toEqual([4]);
  });

  it('leaves those together that were never measured apart, and takes them by their leader’s maps', () => {
    const matrix = [[0, 0.1, -1, 0.6], [0.1, 0, -1, 0.2], [-1, -1, 0, -1], [0.6, 0.2, -1, 0]];
    const leaders = [0, 1, 1, 3];
    expect(chooseBlocks(matrix, 1, leaders)).toEqual([1, 2, 1]);
    // 0, 1 and 2: (0.1 + 0.1 + 0) / 3; 1, 2 and 3: (0 + 0.2 + 0.2) / 3.
    expect(chooseBlocks(matrix, 0.93, leaders)).toEqual([3, 1]);
    expect(chooseBlocks(matrix, 0.94, leaders)).toEqual([1, 2, 1]);
    // Alone, 0 and 1 would pass.
    expect(chooseBlocks([[0, 0.1, -1, -1], [0.1, 0, -1, -1], [-1, -1, 0, -1], [-1, -1, -1, 0]], 0.945, [0, 1, 1, 1])).toEqual([4]);
    expect(chooseBlocks([[0, -1, 0.3], [-1, 0, -1], [0.3, -1, 0]], 0.9, [0, 0, 2])).toEqual([2, 1]);
  });
});
