import * as tf from '@tensorflow/tfjs-core';
import { CustomCallback, initializers, layers, sequential, type LayersModel } from '@tensorflow/tfjs-layers';
import { describe, expect, it, vi } from 'vitest';
import { chooseHeld } from '../../src/callbacks/held_weights.js';
import { klMergeQuantization, type KLMergeQuantizationArgs } from '../../src/callbacks/kl_merge_quantization.js';
import { attachRegularizer } from '../../src/regularizers/attach.js';
import { gmmPrior } from '../../src/regularizers/gmm_prior.js';
import { callbackContract, smallNetwork } from '../contract/callback_contract.js';
import { seeded } from '../contract/fixtures.js';

const PRIOR = { trainingExamples: 12, initialStd: 0.3, zeroMixing: 0.8, components: 4, tau: 1e-3 };
const KERNELS = 48;

function setUp(optimizer: tf.Optimizer = tf.train.adam(0.01), constraint?: 'unitNorm') {
  const dense = (units: number, seed: number, inputShape?: number[]) =>
    layers.dense({ units, inputShape, name: `incremental_${seed}`, kernelConstraint: constraint, kernelInitializer: initializers.randomUniform({ minval: -1, maxval: 1, seed }) });
  const model = sequential({ layers: [dense(8, 1, [4]), dense(2, 2)] });
  const prior = gmmPrior(PRIOR);
  attachRegularizer(model, prior);
  model.compile({ optimizer, loss: 'meanSquaredError' });
  return { model, prior, x: seeded([12, 4], 3), y: seeded([12, 2], 4) };
}
const kernels = async (model: LayersModel) => (await Promise.all([0, 2].map(async (i) => Array.from(await model.getWeights()[i].data())))).flat();

/** Trains and returns the kernels after every epoch, the history and the callback. */
async function train(args: KLMergeQuantizationArgs, epochs: number, data = setUp(), initialEpoch = 0) {
  const callback = klMergeQuantization({ prior: data.prior, maxDistance: 10, quantizeAtEnd: false, verbose: false, ...args });
  const seen: number[][] = [];
  const watching = new CustomCallback({ onEpochEnd: async () => void seen.push(await kernels(data.model)) });
  const { history } = await data.model.fit(data.x, data.y, { epochs, initialEpoch, batchSize: 4, shuffle: false, verbose: 0, callbacks: [callback, watching] });
  return { seen, history, callback, data };
}
/** Positions whose value is the same in both. */
const same = (a: number[], b: number[]) => a.flatMap((value, i) => (value === b[i] ? [i] : []));

describe('klMergeQuantization, incremental', () => {
  callbackContract({
    model: (kind) => {
      const model = smallNetwork(kind);
      attachRegularizer(model, gmmPrior({ ...PRIOR, trainingExamples: 24 }));
      return model;
    },
    create: () => klMergeQuantization({ incremental: [[1, 0], [2, 0.5]], maxDistance: 1e9, quantizeAtEnd: false, verbose: false }), // prettier-ignore
    historyKeys: ['gmmComponents', 'gmmEnergy', 'gmmTau', 'gmmRatio', 'gmmHeld'],
  });

  it('chooses what becomes 0, then of the others those nearest to their value in standard deviations', () => {
    const proposal = { weights: [[0.3, 1.2, 0.9], [2.4]], quantized: [Float32Array.of(0, 1, 1), Float32Array.of(2)], deviation: (array: number) => (array === 0 ? 0.1 : 0.8) };
    const masks = (share: number) => chooseHeld(proposal, share).map((mask) => Array.from(mask));
    expect(masks(0)).toEqual([[1, 0, 0], [0]]);
    // 0.2/0.1 = 2, 0.1/0.1 = 1, 0.4/0.8 = 0.5 standard deviations.
    expect(masks(1 / 3)).toEqual([[1, 0, 0], [1]]);
    expect(masks(2 / 3)).toEqual([[1, 0, 1], [1]]);
  });

  it.each<[string, () => tf.Optimizer]>([
    ['sgd', () => tf.train.sgd(0.05)],
    ['momentum', () => tf.train.momentum(0.05, 0.9)],
    ['adam', () => tf.train.adam(0.01)],
  ])('holds zeros from their epoch on and more weights later, through %s, while the rest trains', async (_, optimizer) => {
    const { seen, history } = await train({ incremental: [[2, 0], [4, 0.5]] }, 7, setUp(optimizer())); // prettier-ignore
    const zeros = seen.map((values) => values.flatMap((value, i) => (value === 0 ? [i] : [])));
    expect(zeros.slice(0, 2)).toEqual([[], []]);
    expect(zeros[2].length).toBeGreaterThan(3);
    expect(zeros[3]).toEqual(zeros[2]);
    expect(same(seen[2], seen[3])).toEqual(zeros[2]);
    const held = same(seen[4], seen[5]);
    expect(same(seen[5], seen[6])).toEqual(held);
    const rest = KERNELS - zeros[4].length;
    expect(held.length).toBe(zeros[4].length + Math.round(rest / 2));
    expect(new Set(held.map((i) => seen[5][i])).size).toBeLessThanOrEqual(PRIOR.components);
    expect((history['gmmHeld'] as number[]).map((share) => Math.round(share * KERNELS))).toEqual([0, 0, zeros[2].length, zeros[2].length, held.length, held.length, held.length]);
  });

  it('holds exactly against a constraint, and lets go when training ends', async () => {
    const { seen, data } = await train({ incremental: [[1, 0.9]] }, 3, setUp(tf.train.adam(0.01), 'unitNorm'));
    expect(same(seen[1], seen[2]).length).toBeGreaterThan(0.8 * KERNELS);
    await data.model.fit(data.x, data.y, { epochs: 1, verbose: 0 });
    expect(same(seen[2], await kernels(data.model)).length).toBeLessThan(KERNELS / 2);
  });

  it('takes the entry that is due when a run is continued, and waits while the mixture has not converged', async () => {
    const continued = await train({ incremental: [[2, 0], [4, 0.5]] }, 7, setUp(), 5); // prettier-ignore
    // Epoch 5 begins with a mixture that has not made a step: it is held from epoch 6 on.
    expect((continued.history['gmmHeld'] as number[])[0]).toBe(0);
    expect((continued.history['gmmHeld'] as number[])[1]).toBeGreaterThan(0.5);
    const waiting = await train({ incremental: [[1, 0]], maxDistance: 1e-3 }, 3);
    expect(waiting.history['gmmHeld']).toEqual([0, 0, 0]);
  });

  it('holds the weights of mixtures that have converged, and waits for the others alone', async () => {
    const data = setUp();
    const [first, second] = [gmmPrior(PRIOR), gmmPrior({ ...PRIOR, initialStd: 30, learningRates: { means: 1e-6, logVariances: 1e-6, mixingLogits: 1e-6 } })];
    const model = sequential({ layers: [0, 1].map((i) => layers.dense({ units: i === 0 ? 8 : 2, inputShape: i === 0 ? [4] : undefined, name: `of_its_own_${i}`, kernelRegularizer: [first, second][i], kernelInitializer: initializers.randomUniform({ minval: -1, maxval: 1, seed: 1 + i }) })) });
    model.compile({ optimizer: tf.train.adam(0.01), loss: 'meanSquaredError' });
    // Where one component is all and far too wide, every weight would be 0: all of the norm.
    const { seen, history } = await train({ prior: [first, second], incremental: [[1, 0], [2, 0.5]], maxDistance: 0.9 }, 5, { ...data, model, prior: first }); // prettier-ignore
    const held = same(seen[3], seen[4]);
    expect(held.length).toBeGreaterThan(8);
    expect(held.every((i) => i < 32)).toBe(true);
    expect(new Set(held.map((i) => seen[4][i])).size).toBeGreaterThan(1);
    expect((history['gmmHeld'] as number[]).map((share) => Math.round(share * KERNELS)).slice(3)).toEqual([held.length, held.length]);
    model.dispose();
    data.model.dispose();
  });

  it('quantises at the end also where the held weights leave few values', async () => {
    const data = setUp();
    const few = data.model.getWeights().map((weight) => (weight.rank > 1 ? tf.tidy(() => tf.add(tf.mul(0.5, tf.sign(weight)), 0)) : weight));
    data.model.setWeights(few);
    // The optimizer moves nothing: the weights take two values, fewer than there are components.
    data.model.compile({ optimizer: tf.train.sgd(0), loss: 'meanSquaredError' });
    const { callback } = await train({ incremental: [[1, 0], [2, 0.5]], quantizeAtEnd: true }, 4, data); // prettier-ignore
    expect(callback.report!.components).toBeLessThanOrEqual(PRIOR.components);
    await expect(callback.quantize(data.model)).rejects.toThrow('are quantised already');
  });

  it('frees what it held for a fit that failed elsewhere, when the next one begins', async () => {
    const { model, prior, x, y } = setUp();
    const failing = async (): Promise<void> => {
      const stop = new CustomCallback({ onEpochEnd: async () => Promise.reject(new Error('stopped')) });
      const callback = klMergeQuantization({ prior, incremental: [[0, 0.5]], maxDistance: 1e9, quantizeAtEnd: false, verbose: false }); // prettier-ignore
      await expect(model.fit(x, y, { epochs: 2, verbose: 0, callbacks: [callback, stop] })).rejects.toThrow('stopped');
    };
    await failing();
    await failing();
    const after = tf.memory().numTensors;
    for (let i = 0; i < 3; i++) await failing();
    expect(tf.memory().numTensors).toBe(after);
  });

  it('says which parts training did not come to', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    await train({ incremental: [[1, 0], [2, 0.5], [3, 0.7]], quantizeAtEnd: true }, 3); // prettier-ignore
    // A fit that is to go on later says nothing.
    await train({ incremental: [[1, 0], [5, 0.5]] }, 2); // prettier-ignore
    const warnings = warn.mock.calls.flat();
    warn.mockRestore();
    expect(warnings.filter((text) => String(text).includes('incremental'))).toEqual([
      'klMergeQuantization: training ended with epoch 2, before a part of incremental (the next from epoch 3): what was not held yet is quantised at once. Train longer, or give earlier epochs, counted from 0.',
    ]);
  });

  it('quantises the rest at the end', async () => {
    const { data, callback, seen } = await train({ incremental: [[1, 0], [2, 0.5]], quantizeAtEnd: true }, 4); // prettier-ignore
    const values = await kernels(data.model);
    expect(new Set(values).size).toBe(callback.report!.components);
    expect(callback.report!.components).toBeLessThanOrEqual(PRIOR.components);
    const zeros = seen[3].flatMap((value, i) => (value === 0 ? [i] : []));
    expect(zeros.every((i) => values[i] === 0)).toBe(true);
  });

  it.each([[[[3, 0], [2, 0.5]]], [[[1, 0.5], [2, 0.5]]], [[[1, 1]]], [[[1.5, 0]]], [[3]]])('refuses the schedule %j', (incremental) => {
    expect(() => klMergeQuantization({ incremental: incremental as [number, number][] })).toThrow(
      `klMergeQuantization: incremental must be pairs [epoch, share] with increasing epochs (integers ≥ 0) and increasing shares in [0, 1), e.g. [[30, 0], [35, 0.5]], got ${JSON.stringify(incremental)}.`,
    );
  });
});
