import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model as functionalModel, sequential, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it, vi } from 'vitest';
import { featureHashing, hashTokens, type FeatureHashingArgs } from '../../src/layers/feature_hashing.js';
import { alive, datasetOf, expectNear, saveAndLoad, seeded } from '../contract/fixtures.js';
import { layerContract } from '../contract/layer_contract.js';

const ON_GPU = () => ['webgl', 'webgpu'].includes(tf.getBackend());

describe('the layer contract holds for featureHashing of tokens', () =>
  layerContract({
    create: (args: FeatureHashingArgs) => featureHashing(args),
    args: { outputDim: 16, seed: 7, signHash: false, paddingValue: 3, inputShape: [5], name: 'contract_hashing' },
    inputShape: [5], integers: 40, parameters: 0, masking: 'refuses', learningRate: 0,
  }));
describe('the layer contract holds for featureHashing of tokens with weights', () =>
  layerContract({
    create: (args: FeatureHashingArgs) => featureHashing(args),
    args: { outputDim: 16, seed: 4294967295, name: 'contract_hashing_weighted' },
    inputShape: [[2, 5], [2, 5]], integers: 40, parameters: 0, masking: 'refuses', learningRate: 0,
  }));

/** What the layer must give, from the codes of `hashTokens`. */
function expectedBags(rows: number[][] | string[][], args: { outputDim: number; seed?: number; signHash?: boolean }, weights?: number[][]): number[] {
  return rows.flatMap((row, r) => {
    const bag = new Array<number>(args.outputDim).fill(0);
    const { indices, signs } = hashTokens(row as number[], args);
    indices.forEach((bucket, i) => (bag[bucket] += signs[i] * (weights?.[r][i] ?? 1)));
    return bag;
  });
}

const TOKENS = [[1, 2, 3, 1], [70000, -5, 0, 16777215]];
const WEIGHTS = [[1, 0.5, -2, 3], [0, 1, 2, -1]];
const ARGS = { outputDim: 8, seed: 5 };

describe('featureHashing', () => {
  it.each(['int32', 'float32'] as const)('adds each %s token with its sign to its bucket', async (dtype) => {
    const bags = featureHashing(ARGS).apply(tf.tensor2d(TOKENS, [2, 4], dtype)) as tf.Tensor;
    expect(bags.shape).toEqual([2, 8]);
    expect(Array.from(await bags.data())).toEqual(expectedBags(TOKENS, ARGS));
  });

  it('adds each token once per call, and all of them positively without the sign hash', async () => {
    const bags = featureHashing({ ...ARGS, signHash: false }).apply(tf.tensor2d(TOKENS, [2, 4], 'int32')) as tf.Tensor;
    const values = Array.from(await bags.data());
    expect(values).toEqual(expectedBags(TOKENS, { ...ARGS, signHash: false }));
    expect(values.slice(0, 8).reduce((sum, count) => sum + count)).toBe(4);
  });

  it('weighs tokens by a second input, and takes any number of axes before the last', async () => {
    const tokens = tf.tensor3d(TOKENS.flat(), [1, 2, 4], 'int32');
    const bags = featureHashing(ARGS).apply([tokens, tf.tensor3d(WEIGHTS.flat(), [1, 2, 4])]) as tf.Tensor;
    expect(bags.shape).toEqual([1, 2, 8]);
    expect(Array.from(await bags.data())).toEqual(expectedBags(TOKENS, ARGS, WEIGHTS));
  });

  it('leaves out the padding value, and counts it where none is named', async () => {
    const tokens = tf.tensor2d([[4, 0, 0, 9]], [1, 4], 'int32');
    expect(Array.from(await (featureHashing({ ...ARGS, paddingValue: 0 }).apply(tokens) as tf.Tensor).data())).toEqual(expectedBags([[4, 9]], ARGS));
    expect(Array.from(await (featureHashing(ARGS).apply(tokens) as tf.Tensor).data())).toEqual(expectedBags([[4, 0, 0, 9]], ARGS));
  });

  it('hashes strings by their UTF-8, leaves out empty ones, and agrees with hashTokens', async () => {
    const words = [['the', 'cat', 'sat', ''], ['naïve', '日本語', '🦊', 'cat']];
    const bags = featureHashing(ARGS).apply(tf.tensor2d(words)) as tf.Tensor;
    expect(Array.from(await bags.data())).toEqual(expectedBags(words.map((row) => row.filter((word) => word !== '')), ARGS));
  });

  it('predicts from string inputs in a model by model.apply; the host’s predict refuses to cut them', async () => {
    const words = [['red', 'green'], ['blue', ''], ['red', 'red']];
    const model = sequential({ layers: [featureHashing({ ...ARGS, inputShape: [2], dtype: 'string' })] });
    const bags = model.apply(tf.tensor2d(words)) as tf.Tensor;
    expect(Array.from(await bags.data())).toEqual(expectedBags(words.map((row) => row.filter((word) => word !== '')), ARGS));
    const loaded = await saveAndLoad(model);
    expect(Array.from(await (loaded.apply(tf.tensor2d(words)) as tf.Tensor).data()), 'after loading').toEqual(Array.from(await bags.data()));
    expect(() => model.predict(tf.tensor2d(words))).toThrow(/slice2d.* must be numeric tensor, but got string tensor/);
  });

  it('trains on string inputs with fitDataset', async () => {
    const model = sequential({ layers: [featureHashing({ ...ARGS, inputShape: [2], dtype: 'string' }), layers.dense({ units: 1, kernelInitializer: 'zeros' })] });
    model.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
    const words = tf.tensor2d([['good', 'film'], ['bad', 'film'], ['good', 'book'], ['bad', 'book']]);
    const { history } = await model.fitDataset(datasetOf(words, tf.tensor2d([[1], [-1], [1], [-1]]), 4), { epochs: 3, verbose: 0 });
    expect(history.loss[0]).toBeCloseTo(1, 5);
    expect(history.loss[2] as number).toBeLessThan(0.8);
  });

  it('trains a model whose integer inputs come as int32 in fit', async () => {
    const tokens = input({ shape: [4], dtype: 'int32' });
    const bag = featureHashing({ outputDim: 16, paddingValue: 0 }).apply(tokens) as SymbolicTensor;
    const model = functionalModel({ inputs: tokens, outputs: layers.dense({ units: 1, kernelInitializer: 'zeros' }).apply(bag) as SymbolicTensor });
    model.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
    const { history } = await model.fit(tf.tensor2d([[1, 2, 0, 0], [3, 4, 5, 0]], [2, 4], 'int32'), tf.tensor2d([[1], [-1]]), { epochs: 4, verbose: 0 });
    expect(history.loss[3] as number).toBeLessThan(0.5 * (history.loss[0] as number));
  });

  it('has the transposed map as its gradient in the weights, also twice', async () => {
    const layer = featureHashing({ ...ARGS, paddingValue: 1 });
    const tokens = tf.tensor2d(TOKENS, [2, 4], 'int32');
    const weights = tf.tensor2d(WEIGHTS);
    const direction = seeded([2, 8], 3);
    // d/dw ⟨direction, φ(w)⟩ is the signed direction at the token's bucket, and 0 for padding.
    const gradient = tf.grad((w) => tf.sum(tf.mul(direction, layer.apply([tokens, w]) as tf.Tensor)))(weights);
    const values = await direction.data();
    const expected = TOKENS.flatMap((row, r) => {
      const { indices, signs } = hashTokens(row, ARGS);
      return row.map((token, i) => (token === 1 ? 0 : signs[i] * values[8 * r + indices[i]]));
    });
    expectNear('gradient', await gradient.data(), expected, 1e-6);
    // ½‖φ(w)‖² has the constant Hessian φᵀφ: H v = φᵀ φ v.
    const v = seeded([2, 4], 4);
    const energyGradient = tf.grad((w: tf.Tensor) => tf.mul(0.5, tf.sum(tf.square(layer.apply([tokens, w]) as tf.Tensor))));
    const twice = tf.grad((w: tf.Tensor) => tf.sum(tf.mul(v, energyGradient(w))))(weights);
    const once = energyGradient(v);
    expectNear('second-order gradient', await twice.data(), await once.data(), 1e-6);
  });

  it('reads nothing back from a GPU', () => {
    const read = vi.spyOn(tf.backend(), 'readSync');
    const weights = tf.tensor2d(WEIGHTS);
    tf.grad((w) => tf.sum(featureHashing(ARGS).apply([tf.tensor2d(TOKENS, [2, 4], 'int32'), w]) as tf.Tensor))(weights);
    if (ON_GPU()) expect(read).not.toHaveBeenCalled();
    read.mockRestore();
  });

  it('comes back from a file with the same hash', async () => {
    const tokens = tf.tensor2d(TOKENS, [2, 4], 'int32');
    const model = sequential({ layers: [featureHashing({ ...ARGS, seed: 4000000000, inputShape: [4] })] });
    const loaded = await saveAndLoad(model);
    expect(Array.from(await (loaded.predict(tokens) as tf.Tensor).data())).toEqual(expectedBags(TOKENS, { ...ARGS, seed: 4000000000 }));
  });

  it('leaves nothing behind when it is applied by itself', () => {
    const layer = featureHashing({ ...ARGS, paddingValue: 0 });
    const tokens = tf.tensor2d(TOKENS, [2, 4], 'int32');
    const weights = tf.tensor2d(WEIGHTS);
    const before = alive();
    tf.dispose(layer.apply([tokens, weights]) as tf.Tensor);
    expect(alive()).toEqual(before);
  });
});

describe('hashed vectors keep inner products on average', () => {
  const SIZE = 40;
  const BUCKETS = 16;
  const SEEDS = 3000;
  // Two vectors over 40 tokens whose inner product and whose sums are not zero.
  const x = Array.from({ length: SIZE }, (_, i) => Math.sin(3 * i + 1) + 0.5);
  const y = Array.from({ length: SIZE }, (_, i) => Math.cos(2 * i) + 0.3 * Math.sin(3 * i + 1) + 0.2);
  const tokens = Array.from({ length: SIZE }, (_, i) => i);
  const dot = (a: ArrayLike<number>, b: ArrayLike<number>) => Array.from(a).reduce((sum, value, i) => sum + value * b[i], 0);

  /** Mean and variance over seeds of ⟨φ(x), φ(y)⟩. */
  function statistics(signHash: boolean) {
    const products = Array.from({ length: SEEDS }, (_, seed) => {
      const { indices, signs } = hashTokens(tokens, { outputDim: BUCKETS, seed, signHash });
      const [phiX, phiY] = [new Float64Array(BUCKETS), new Float64Array(BUCKETS)];
      indices.forEach((bucket, i) => {
        phiX[bucket] += signs[i] * x[i];
        phiY[bucket] += signs[i] * y[i];
      });
      return dot(phiX, phiY);
    });
    const mean = products.reduce((sum, product) => sum + product) / SEEDS;
    const variance = products.reduce((sum, product) => sum + (product - mean) ** 2, 0) / (SEEDS - 1);
    return { mean, variance, standardError: Math.sqrt(variance / SEEDS) };
  }
  const crossSum = (f: (i: number, j: number) => number) => tokens.reduce((sum, i) => sum + tokens.reduce((inner, j) => inner + (i === j ? 0 : f(i, j)), 0), 0);

  it('with signs: the mean is the exact product, the variance that of Lemma 2', () => {
    const { mean, variance, standardError } = statistics(true);
    expect(Math.abs(mean - dot(x, y))).toBeLessThan(3 * standardError);
    const predicted = crossSum((i, j) => x[i] ** 2 * y[j] ** 2 + x[i] * y[i] * x[j] * y[j]) / BUCKETS;
    // 3000 samples give a variance to a few percent.
    expect(Math.abs(variance / predicted - 1)).toBeLessThan(0.15);
  });

  it('without signs: collisions add Σ x_i y_j / outputDim', () => {
    const { mean, standardError } = statistics(false);
    const bias = crossSum((i, j) => x[i] * y[j]) / BUCKETS;
    expect(Math.abs(bias)).toBeGreaterThan(10 * standardError);
    expect(Math.abs(mean - dot(x, y) - bias)).toBeLessThan(3 * standardError);
  });
});

describe('what featureHashing and hashTokens refuse', () => {
  const apply = (tokens: tf.Tensor, ...weights: tf.Tensor[]) => featureHashing({ outputDim: 8, name: 'bag' }).apply([tokens, ...weights]);

  it('outputDim, seed and paddingValue outside of their ranges', () => {
    expect(() => featureHashing({ outputDim: 0 })).toThrow('FeatureHashing: outputDim must be an integer from 1 to 16777215, got 0. It is the length of a hashed vector, e.g. outputDim: 1024.');
    expect(() => featureHashing({} as never)).toThrow(/FeatureHashing: outputDim must be .*got undefined/);
    expect(() => featureHashing(undefined as never)).toThrow('FeatureHashing: expected options with outputDim, got undefined.');
    expect(() => featureHashing({ outputDim: 2 ** 24 })).toThrow(/outputDim must be/);
    expect(() => featureHashing({ outputDim: 8, seed: -1 })).toThrow('FeatureHashing: seed must be an integer from 0 to 4294967295, got -1.');
    expect(() => featureHashing({ outputDim: 8, paddingValue: 0.5 })).toThrow('FeatureHashing: paddingValue must be an integer within ±16777215, or null, got 0.5.');
    expect(() => featureHashing({ outputDim: 8, signHash: 'yes' as never })).toThrow("FeatureHashing: signHash must be true or false, got 'yes'.");
    expect(() => featureHashing({ outputDim: 8, signhash: true } as never)).toThrow(/unknown option 'signhash'. Did you mean 'signHash'\?/);
  });

  it('tokens and weights of the wrong dtype or shape', () => {
    expect(() => apply(tf.tensor2d([[true, false]], [1, 2], 'bool'))).toThrow("bag: tokens must be of dtype int32, float32 or string, got bool. Use tf.cast(tokens, 'int32').");
    expect(() => apply(tf.zeros([1, 2]), tf.tensor2d([['a', 'b']]))).toThrow('bag: weights must be of dtype float32 or int32, got string.');
    expect(() => apply(tf.zeros([1, 2]), tf.zeros([1, 3]))).toThrow('bag: expected tokens [batch, …, length], and perhaps weights of the same shape as second input, got [1, 2] and [1, 3].');
    expect(() => apply(tf.zeros([3]))).toThrow(/bag: expected tokens .* got \[3\]/);
    expect(() => apply(tf.zeros([1, 2]), tf.zeros([1, 2]), tf.zeros([1, 2]))).toThrow(/got \[1, 2\] and \[1, 2\] and \[1, 2\]/);
  });

  it.each([[1.5], [NaN], [Infinity], [2 ** 24], [-(2 ** 24)]])('the token %d where it can be seen, and does not count it elsewhere', async (token) => {
    const tokens = tf.tensor2d([[1, token, 2]]);
    if (!ON_GPU()) {
      expect(() => apply(tokens)).toThrow(`bag: tokens must be integers within ±16777215 (2²⁴ − 1, which float32 holds exactly), got ${token}.`);
    } else {
      expect(Array.from(await (apply(tokens) as tf.Tensor).data())).toEqual(expectedBags([[1, 2]], { outputDim: 8 }));
    }
  });

  it('in hashTokens: what is neither string nor 32-bit integer', () => {
    expect(() => hashTokens('the cat', { outputDim: 8 })).toThrow('hashTokens: expected a list of tokens, got the text "the cat". Split it first');
    expect(() => hashTokens([1, 2.5], { outputDim: 8 })).toThrow('hashTokens: tokens must be strings or integers from −2³¹ to 2³¹ − 1, got 2.5 at position 1.');
    expect(() => hashTokens([2 ** 31], { outputDim: 8 })).toThrow(/got 2147483648 at position 0/);
    expect(() => hashTokens(['a'], { outputDim: 8, signed: true } as never)).toThrow(/hashTokens: unknown option 'signed'/);
    expect(() => hashTokens(['a'], undefined as never)).toThrow('hashTokens: expected options with outputDim, got undefined.');
  });

  it('takes integers of all 32 bits in hashTokens', () => {
    const { indices, signs } = hashTokens([2 ** 31 - 1, -(2 ** 31)], { outputDim: 1000 });
    expect(Array.from(indices).every((bucket) => bucket >= 0 && bucket < 1000)).toBe(true);
    expect(Array.from(signs).every((sign) => Math.abs(sign) === 1)).toBe(true);
  });

  it('leaves long strings as they were', async () => {
    const words = [['short', 'internationalization-engineer']];
    const tokens = tf.tensor2d(words, [1, 2], 'string');
    const layer = featureHashing({ outputDim: 8 });
    const [first, second] = [layer.apply(tokens) as tf.Tensor, layer.apply(tokens) as tf.Tensor];
    expect(await second.data()).toEqual(await first.data());
    expect(await tokens.array()).toEqual(words);
    tf.dispose([tokens, first, second]);
  });
});
