import * as tf from '@tensorflow/tfjs-core';
import { CustomCallback, initializers, layers, sequential, type LayersModel } from '@tensorflow/tfjs-layers';
import { describe, expect, it, vi } from 'vitest';
import { fixZeros, zeroMask, type FixZerosArgs } from '../../src/callbacks/fix_zeros.js';
import { klMergeQuantization } from '../../src/callbacks/kl_merge_quantization.js';
import { attachRegularizer } from '../../src/regularizers/attach.js';
import { gmmPrior, type GmmPrior } from '../../src/regularizers/gmm_prior.js';
import { callbackContract, smallNetwork } from '../contract/callback_contract.js';
import { seeded } from '../contract/fixtures.js';

const WIDE = { initialStd: 0.3, zeroMixing: 0.9, components: 3, tau: 1e-3 };

function setUp(prior: GmmPrior, optimizer: tf.Optimizer = tf.train.adam(0.01)) {
  const dense = (units: number, seed: number, inputShape?: number[]) =>
    layers.dense({ units, inputShape, name: `fix_zeros_${seed}`, kernelInitializer: initializers.randomUniform({ minval: -1, maxval: 1, seed }) });
  const model = sequential({ layers: [dense(8, 1, [4]), dense(2, 2)] });
  attachRegularizer(model, prior);
  model.compile({ optimizer, loss: 'meanSquaredError' });
  return { model, x: seeded([12, 4], 3), y: seeded([12, 2], 4) };
}
const kernels = async (model: LayersModel) => (await Promise.all([0, 2].map(async (i) => Array.from(await model.getWeights()[i].data())))).flat();
const zeros = (values: number[]) => values.flatMap((value, i) => (value === 0 ? [i] : []));

/** The zeros of the kernels after every epoch. */
function watch(model: LayersModel) {
  const seen: number[][] = [];
  return { seen, callback: new CustomCallback({ onEpochEnd: async () => void seen.push(zeros(await kernels(model))) }) };
}
const fit = (data: ReturnType<typeof setUp>, callbacks: (tf.Tensor | object)[], epochs = 6) =>
  data.model.fit(data.x, data.y, { epochs, batchSize: 4, shuffle: false, verbose: 0, callbacks: callbacks as CustomCallback[] });

describe('fixZeros', () => {
  callbackContract({
    model: (kind) => {
      const model = smallNetwork(kind);
      attachRegularizer(model, gmmPrior({ trainingExamples: 24, ...WIDE }));
      return model;
    },
    create: () => fixZeros({ fromEpoch: 0, maxDistance: 1e9 }),
  });

  it('decides by the most probable component and says what share of the norm goes', () => {
    const mixture = { means: [0, 1], variances: [0.04, 0.04], mixing: [0.5, 0.5] };
    const { mask, zeroed, all } = zeroMask([0.1, -0.4, 0.9, 0.6], mixture);
    expect(Array.from(mask)).toEqual([0, 0, 1, 1]);
    expect(zeroed).toBeCloseTo(0.17, 12);
    expect(all).toBeCloseTo(0.17 + 0.81 + 0.36, 12);
  });

  it.each<[string, () => tf.Optimizer]>([
    ['sgd', () => tf.train.sgd(0.05)],
    ['momentum', () => tf.train.momentum(0.05, 0.9)],
    ['adam', () => tf.train.adam(0.01)],
  ])('fixes the zero component before its epoch and holds it through %s, while the others train', async (_, optimizer) => {
    const prior = gmmPrior({ trainingExamples: 12, ...WIDE });
    const data = setUp(prior, optimizer());
    const { seen, callback } = watch(data.model);
    const fixing = fixZeros({ fromEpoch: 2, maxDistance: 10 });
    let before: number[] = [];
    const spy = new CustomCallback({ onEpochEnd: async (epoch) => void (epoch === 2 && (before = await kernels(data.model))) });
    await fit(data, [klMergeQuantization({ prior, quantizeAtEnd: false, verbose: false }), fixing, spy, callback]);
    expect(seen[1]).toEqual([]);
    expect(seen[2].length).toBeGreaterThan(3);
    expect(seen[2].length).toBeLessThan(48);
    for (const later of seen.slice(3)) expect(later).toEqual(seen[2]);
    expect(fixing.fixed).toBe(seen[2].length);
    const after = await kernels(data.model);
    expect(after.filter((value, i) => value !== before[i]).length).toBe(48 - fixing.fixed);
  });

  it('starts after two thirds of the epochs by default, and leaves skipped layers alone', async () => {
    const prior = gmmPrior({ trainingExamples: 12, ...WIDE });
    const data = setUp(prior);
    const { seen, callback } = watch(data.model);
    await fit(data, [klMergeQuantization({ prior, quantizeAtEnd: false, verbose: false }), fixZeros({ maxDistance: 10, skip: ['fix_zeros_1'] }), callback], 6);
    expect(seen.slice(0, 4)).toEqual([[], [], [], []]);
    expect(seen[4].length).toBeGreaterThan(0);
    expect(seen[4].every((index) => index >= 32)).toBe(true);
  });

  it('waits while the zero component holds much of the norm, and warns when that never ends', async () => {
    const prior = gmmPrior({ trainingExamples: 12, ...WIDE });
    const data = setUp(prior);
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    await fit(data, [klMergeQuantization({ prior, quantizeAtEnd: false, verbose: false }), fixZeros({ fromEpoch: 1, maxDistance: 1e-3 })], 3);
    expect(zeros(await kernels(data.model))).toEqual([]);
    expect(warn.mock.calls.flat().join('\n')).toMatch(/fixZeros: no weight was fixed: those of the zero component held [\d.]+ % of the weights' norm/);
    warn.mockClear();
    await fit(data, [klMergeQuantization({ prior, quantizeAtEnd: false, verbose: false }), fixZeros({ fromEpoch: 9 })], 1);
    expect(warn.mock.calls.flat().join('\n')).toContain('training ended before fromEpoch');
    warn.mockRestore();
  });

  it('says what is wrong with a model or an option', async () => {
    const plain = smallNetwork('sequential');
    plain.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    await expect(plain.fit(seeded([4, 2], 1), seeded([4, 1], 2), { verbose: 0, callbacks: [fixZeros()] })).rejects.toThrow('fixZeros: no weight that trains carries a prior.');
    expect(() => fixZeros({ fromEpoch: -1 })).toThrow('fixZeros: fromEpoch must be an integer ≥ 0, got -1.');
    expect(() => fixZeros({ maxDistance: 0 })).toThrow('fixZeros: maxDistance must be a finite number > 0, got 0.');
    expect(() => fixZeros({ prior: {} as GmmPrior })).toThrow('fixZeros: prior must be made by gmmPrior(…)');
    expect(() => fixZeros({ epoch: 3 } as FixZerosArgs)).toThrow('epoch');
  });
});
