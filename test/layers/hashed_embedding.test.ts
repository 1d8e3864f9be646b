import * as tf from '@tensorflow/tfjs-core';
import { initializers, input, layers, model as functionalModel, regularizers, sequential, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { locate, type HashedMatrix } from '../../src/kernels/hashed_weights/matrix.js';
import { hashedBank } from '../../src/layers/hashed_bank.js';
import { hashedDense } from '../../src/layers/hashed_dense.js';
import { hashedEmbedding, type HashedEmbedding, type HashedEmbeddingArgs } from '../../src/layers/hashed_embedding.js';
import { splitRows } from '../../src/layers/quotient_remainder.js';
import { alive, expectNear, saveAndLoad, savedArtifacts, seeded, seededIntegers } from '../contract/fixtures.js';
import { layerContract } from '../contract/layer_contract.js';

const ON_GPU = () => ['webgl', 'webgpu'].includes(tf.getBackend());
const L2 = regularizers.l2({ l2: 1e-4 });

describe('the layer contract holds for hashedEmbedding', () =>
  layerContract({
    create: (args: HashedEmbeddingArgs) => hashedEmbedding(args),
    args: {
      inputDim: 50, outputDim: 6, compression: 7.5, chunk: 4, seed: 11, signHash: false, gradientScaling: 0.5, maskZero: true, inputLength: 5,
      embeddingsInitializer: initializers.glorotNormal({ seed: 3 }), embeddingsRegularizer: L2, name: 'contract_hashed_embedding',
    },
    inputShape: [5], integers: 50, parameters: 40, masking: (x) => tf.notEqual(x, 0), learningRate: 0.5,
  }));
describe('the layer contract holds for hashedEmbedding with quotient and remainder', () =>
  layerContract({
    create: (args: HashedEmbeddingArgs) => hashedEmbedding(args),
    args: { inputDim: 50, outputDim: 6, buckets: 100, quotientRemainder: 'add', embeddingsInitializer: initializers.randomUniform({ seed: 4 }), inputShape: [2, 5], name: 'contract_quotient_remainder' },
    // ⌈50 / 8⌉ + 8 = 15 rows: one more remainder still has 7 + 9 = 16 rows of 6 numbers, and 17 would be too many.
    inputShape: [2, 5], integers: 50, parameters: 96, masking: 'ends', learningRate: 0.5,
  }));

const values = async (x: tf.Tensor | tf.Tensor[] | SymbolicTensor | SymbolicTensor[]) => Array.from(await (x as tf.Tensor).data());
const IDS = [[3, 0, 999], [999, 7, 512]];
const ids = () => tf.tensor2d(IDS, [2, 3], 'int32');

/** The virtual table of a built layer, number by number, from the definition of the hash. */
async function definition(layer: HashedEmbedding, matrix: HashedMatrix): Promise<(row: number) => number[]> {
  const stored = await layer.embeddings!.read().data();
  return (row) => Array.from({ length: matrix.columns }, (_, column) => {
    const { index, factor } = locate(matrix, stored.length, row, column);
    return Math.fround(stored[index] * factor);
  });
}

describe('hashedEmbedding', () => {
  it.each([[1, true], [5, true], [8, false], [undefined, true]])('puts rows together from chunks of %s of the stored array (signs: %s)', async (chunk, signHash) => {
    const layer = hashedEmbedding({ inputDim: 1000, outputDim: 18, compression: 40, chunk, signHash, seed: 77 });
    const rows = await values(layer.apply(ids()));
    const row = await definition(layer, { rows: 1000, columns: 18, tile: [1, chunk ?? 16], seed: 77, signed: signHash });
    expect(layer.countParams()).toBe(450);
    expect(rows).toEqual(IDS.flat().flatMap(row));
  });

  it('equals the host’s embedding of its expanded table, in outputs and after a step of training', async () => {
    const ours = hashedEmbedding({ inputDim: 20, outputDim: 4, compression: 1 });
    const stock = layers.embedding({ inputDim: 20, outputDim: 4 });
    const models = [ours, stock].map((layer) => {
      const x = input({ shape: [6] });
      const model = functionalModel({ inputs: x, outputs: layer.apply(x) as SymbolicTensor });
      model.compile({ optimizer: tf.train.sgd(0.5), loss: 'meanSquaredError' });
      return model;
    });
    stock.setWeights([tf.reshape(ours.getWeights()[0], [20, 4])]);
    const x = seededIntegers([3, 6], 5, 20);
    const predictions = models.map((model) => model.predict(x) as tf.Tensor);
    expect(await values(predictions[0])).toEqual(await values(predictions[1]));
    // Stock wasm has no gradient of gather.
    if (tf.getKernel('UnsortedSegmentSum', tf.getBackend()) == null) return;
    const y = seeded([3, 6, 4], 6);
    for (const model of models) await model.trainOnBatch(x, y);
    expectNear('table after a step', await values(ours.getWeights()[0]), await values(stock.getWeights()[0]), 1e-6);
  });

  it('has the transpose of expanding as its gradient: each stored number gets the sum over its places', async () => {
    const layer = hashedEmbedding({ inputDim: 30, outputDim: 5, buckets: 11, chunk: 2, seed: 3 });
    const direction = seeded([2, 3, 5], 8);
    const tokens = tf.tensor2d([[3, 0, 29], [29, 7, 3]], [2, 3], 'int32');
    layer.apply(tokens);
    const { grads } = tf.variableGrads(() => tf.sum(tf.mul(direction, layer.apply(tokens) as tf.Tensor)) as tf.Scalar);
    const expected = new Array<number>(11).fill(0);
    const d = await values(direction);
    (await values(tokens)).forEach((row, t) => {
      for (let column = 0; column < 5; column++) {
        const { index, factor } = locate({ rows: 30, columns: 5, tile: [1, 2], seed: 3, signed: true }, 11, row, column);
        expected[index] += factor * d[5 * t + column];
      }
    });
    expectNear('gradient', await values(Object.values(grads)[0]), expected, 1e-6);
  });

  it('has second derivatives, by the stored numbers', async () => {
    const layer = hashedEmbedding({ inputDim: 30, outputDim: 4, buckets: 11, chunk: 2, seed: 3, embeddingsInitializer: initializers.randomUniform({ minval: 0.5, maxval: 1.5, seed: 1 }) });
    const tokens = tf.tensor2d([[3, 0, 29], [29, 7, 3]], [2, 3], 'int32');
    layer.apply(tokens);
    const stored = layer.embeddings!.read() as tf.Variable;
    const gradient = (of: () => tf.Tensor) => tf.variableGrads(() => tf.sum(of()) as tf.Scalar, [stored]).grads[stored.name];
    const second = gradient(() => tf.square(gradient(() => tf.pow(layer.apply(tokens) as tf.Tensor, 3))));
    // Rows are M w: the gradient of Σ (M w)³ is g = Mᵀ 3 (M w)², that of Σ g² is 2 Mᵀ diag(6 M w) M g.
    const places = (await values(tokens)).flatMap((row) => [0, 1, 2, 3].map((column) => locate({ rows: 30, columns: 4, tile: [1, 2], seed: 3, signed: true }, 11, row, column)));
    const w = await values(stored);
    const spread = (v: number[]) => places.map(({ index, factor }) => factor * v[index]);
    const collect = (v: number[]) => w.map((_, at) => places.reduce((sum, { index, factor }, i) => (index === at ? sum + factor * v[i] : sum), 0));
    const y = spread(w);
    const g = collect(y.map((value) => 3 * value ** 2));
    const expected = collect(spread(g).map((value, i) => 2 * 6 * y[i] * value));
    expectNear('second derivative', await values(second), expected, 1e-4);
  });

  it('scales the gradient, not the rows, by gradientScaling', async () => {
    const make = (gradientScaling: number) => hashedEmbedding({ inputDim: 30, outputDim: 4, buckets: 20, gradientScaling, embeddingsInitializer: initializers.randomUniform({ seed: 1 }) });
    const [plain, scaled] = [make(1), make(0.25)];
    const tokens = tf.tensor2d([[3, 0, 29]], [1, 3], 'int32');
    const out = [plain, scaled].map((layer) => layer.apply(tokens));
    expect(await values(out[0])).toEqual(await values(out[1]));
    const gradient = (layer: HashedEmbedding) => {
      const { grads } = tf.variableGrads(() => tf.sum(tf.square(layer.apply(tokens) as tf.Tensor)) as tf.Scalar, [layer.embeddings!.read() as tf.Variable]);
      return values(Object.values(grads)[0]);
    };
    expectNear('scaled gradient', await gradient(scaled), (await gradient(plain)).map((g) => g / 4), 1e-6);
  });

  it('makes only the rows that are asked for', () => {
    // The whole table would have 10⁸ × 64 numbers.
    const layer = hashedEmbedding({ inputDim: 1e8, outputDim: 64, buckets: 1000 });
    const before = tf.memory().numBytes;
    const rows = layer.apply(tf.tensor1d([99_999_999, 5], 'int32')) as tf.Tensor;
    expect(rows.shape).toEqual([2, 64]);
    expect(tf.memory().numBytes - before).toBeLessThan(10_000);
  });

  it('gives the initializer’s spread to the virtual table', async () => {
    const layer = hashedEmbedding({ inputDim: 1000, outputDim: 32, compression: 8, embeddingsInitializer: initializers.glorotUniform({ seed: 4 }) });
    const table = await values(layer.apply(tf.range(0, 1000, 1, 'int32')));
    const deviation = Math.sqrt(table.reduce((sum, value) => sum + value * value, 0) / table.length);
    // Glorot over the virtual shape: √(2 / (1000 + 32)); 4000 stored numbers give it to a few percent.
    expect(Math.abs(deviation / Math.sqrt(2 / 1032) - 1)).toBeLessThan(0.05);
  });

  it('trains as the first layer of a sequential model without an input shape', async () => {
    const model = sequential({ layers: [
      hashedEmbedding({ inputDim: 100, outputDim: 8, compression: 10, chunk: 4, inputLength: 3 }), layers.flatten(), layers.dense({ units: 1 }),
    ] });
    expect(model.inputs[0].shape).toEqual([null, 3]);
    model.compile({ optimizer: tf.train.adam(0.05), loss: 'meanSquaredError' });
    const { history } = await model.fit(tf.tensor2d([[1, 2, 3], [4, 5, 6]], [2, 3], 'int32'), tf.tensor2d([[1], [-1]]), { epochs: 15, verbose: 0 });
    expect(history.loss[14] as number).toBeLessThan(0.2 * (history.loss[0] as number));
  });

  it('is told apart by its hash when weights are loaded', async () => {
    const make = (seed: number) => sequential({ layers: [hashedEmbedding({ inputDim: 100, outputDim: 8, compression: 10, seed, inputLength: 3, name: 'vectors' })] });
    const [one, two] = [make(1), make(2)];
    expect(() => two.getLayer('vectors').setWeights(one.getLayer('vectors').getWeights())).toThrow(/HashedEmbedding: layer 'vectors' cannot take weights of another hash: it expects '.*seed2.*', got '.*seed1.*'/);
    const artifacts = await savedArtifacts(one);
    expect(artifacts.weightSpecs!.map(({ shape }) => shape)).toEqual([[80]]);
  });
});

describe('hashedEmbedding with quotient and remainder', () => {
  /** Rows of a table [rows, width]. */
  const rowsOf = (table: number[], width: number) => (row: number) => table.slice(row * width, (row + 1) * width);

  it('takes the largest tables that the budget allows', () => {
    expect(splitRows(10_000, 2500)).toEqual({ quotients: 5, remainders: 2495 });
    expect(splitRows(10_000, 200)).toEqual({ quotients: 100, remainders: 100 });
    expect(splitRows(10_000, 199)).toBeNull();
    expect(splitRows(7, 100)).toEqual({ quotients: 1, remainders: 7 });
    for (const [count, budget] of [[50, 16], [1000, 77], [99_999, 5000], [3, 4], [1, 2]]) {
      const { quotients, remainders } = splitRows(count, budget)!;
      expect(quotients * remainders, 'every id has a pair of its own').toBeGreaterThanOrEqual(count);
      expect(quotients).toBe(Math.ceil(count / remainders));
      expect(quotients + remainders).toBeLessThanOrEqual(budget);
      if (remainders < count) expect(Math.ceil(count / (remainders + 1)) + remainders + 1).toBeGreaterThan(budget);
    }
  });

  it.each([
    ['multiply', 8, (q: number[], r: number[]) => q.map((value, i) => Math.fround(value * r[i]))],
    ['add', 8, (q: number[], r: number[]) => q.map((value, i) => Math.fround(value + r[i]))],
    ['concat', 4, (q: number[], r: number[]) => [...q, ...r]],
  ] as const)('combines rows: %s', async (quotientRemainder, width, combine) => {
    const layer = hashedEmbedding({ inputDim: 1000, outputDim: 8, compression: 10, quotientRemainder });
    const out = await values(layer.apply(ids()));
    const budget = 800 / width;
    const { quotients, remainders } = splitRows(1000, budget)!;
    expect(layer.embeddings!.shape).toEqual([quotients + remainders, width]);
    const row = rowsOf(await values(layer.embeddings!.read()), width);
    expectNear('rows', out, IDS.flat().flatMap((id) => combine(row(Math.floor(id / remainders)), row(quotients + (id % remainders)))), 1e-7);
  });

  it.each(['multiply', 'add', 'concat'] as const)('starts with the spread that the initializer means: %s', async (quotientRemainder) => {
    const layer = hashedEmbedding({ inputDim: 2000, outputDim: 16, compression: 8, quotientRemainder, embeddingsInitializer: initializers.randomNormal({ stddev: 0.1, seed: 2 }) });
    const table = await values(layer.apply(tf.range(0, 2000, 1, 'int32')));
    const deviation = Math.sqrt(table.reduce((sum, value) => sum + value * value, 0) / table.length);
    // The few rows of quotients (8 of 16 numbers) make it vary by 1 / √(2 · 128) in 'multiply'.
    expect(Math.abs(deviation / 0.1 - 1)).toBeLessThan(0.2);
  });

  it('adds up the gradients of both tables in one weight', async () => {
    const layer = hashedEmbedding({ inputDim: 9, outputDim: 2, buckets: 12, quotientRemainder: 'multiply' });
    const tokens = tf.tensor1d([4, 8, 4], 'int32');
    layer.apply(tokens);
    expect(layer.getWeights().map(({ shape }) => shape)).toEqual([[6, 2]]);
    const table = await values(layer.embeddings!.read());
    const direction = [1, 2, 3, 4, 5, 6];
    const { grads } = tf.variableGrads(() => tf.sum(tf.mul(tf.tensor2d(direction, [3, 2]), layer.apply(tokens) as tf.Tensor)) as tf.Scalar);
    const expected = new Array<number>(12).fill(0);
    [4, 8, 4].forEach((id, t) => {
      const [q, r] = [Math.floor(id / 3), 3 + (id % 3)];
      for (let i = 0; i < 2; i++) {
        expected[2 * q + i] += direction[2 * t + i] * table[2 * r + i];
        expected[2 * r + i] += direction[2 * t + i] * table[2 * q + i];
      }
    });
    expectNear('gradient', await values(Object.values(grads)[0]), expected, 1e-6);
  });

  it('comes back from a file', async () => {
    const model = sequential({ layers: [hashedEmbedding({ inputDim: 1000, outputDim: 4, compression: 12, quotientRemainder: 'multiply', inputLength: 3 })] });
    const loaded = await saveAndLoad(model);
    expect(await values(loaded.predict(ids()) as tf.Tensor)).toEqual(await values(model.predict(ids()) as tf.Tensor));
  });
});

describe('hashedEmbedding on a bank', () => {
  /** Two embeddings and a dense layer on one bank. */
  function banked() {
    const x = input({ shape: [3], dtype: 'int32' });
    const bank = hashedBank({ buckets: 60, name: 'bank' }).apply(x) as SymbolicTensor;
    const a = hashedEmbedding({ inputDim: 1000, outputDim: 4, seed: 1, name: 'a' }).apply([x, bank]) as SymbolicTensor;
    const b = hashedEmbedding({ inputDim: 1000, outputDim: 4, seed: 2, name: 'b' }).apply([x, bank]) as SymbolicTensor;
    const sum = layers.globalAveragePooling1d({}).apply(layers.add().apply([a, b])) as SymbolicTensor;
    const model = functionalModel({ inputs: x, outputs: hashedDense({ units: 2, seed: 3, name: 'c' }).apply([sum, bank]) as SymbolicTensor });
    model.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
    return model;
  }

  it('leaves one owner of the stored numbers: one weight, one update, one copy in the file', async () => {
    const model = banked();
    expect(model.trainableWeights.map(({ shape }) => shape)).toEqual([[60], [2]]);
    expect(model.getLayer('a').countParams()).toBe(0);
    const artifacts = await savedArtifacts(model);
    expect(artifacts.weightSpecs!.map(({ shape }) => shape)).toEqual([[60], [2]]);
    expect((artifacts.weightData as ArrayBuffer).byteLength).toBe(62 * 4);
    // One step of plain SGD moves the bank by the learning rate times its whole gradient.
    const bank = model.getLayer('bank').getWeights()[0] as unknown as tf.Variable;
    const before = await values(bank);
    const y = seeded([2, 2], 3);
    const { grads } = tf.variableGrads(() => tf.losses.meanSquaredError(y, model.apply(ids()) as tf.Tensor) as tf.Scalar, [bank]);
    const gradient = await values(Object.values(grads)[0]);
    await model.trainOnBatch(ids(), y);
    expectNear('the bank after a step', await values(bank), before.map((w, i) => w - 0.1 * gradient[i]), 1e-6);
  });

  it('gives the same outputs after save and load', async () => {
    const model = banked();
    const loaded = await saveAndLoad(model);
    expectNear('outputs', await values(loaded.predict(ids()) as tf.Tensor), await values(model.predict(ids()) as tf.Tensor), 1e-6);
  });

  it('scales the bank to the spread that its initializer means', async () => {
    const layer = hashedEmbedding({ inputDim: 1000, outputDim: 8, seed: 5, bankScale: 0.25 });
    const bank = seeded([100], 9);
    const rows = await values(layer.apply([ids(), bank]));
    const numbers = await values(bank);
    const expected = IDS.flat().flatMap((row) => Array.from({ length: 8 }, (_, column) => {
      const { index, factor } = locate({ rows: 1000, columns: 8, tile: [1, 8], seed: 5, signed: true, scale: 0.25 }, 100, row, column);
      return numbers[index] * factor;
    }));
    expectNear('rows', rows, expected, 1e-7);
  });
});

describe('what hashedEmbedding refuses', () => {
  const base = { inputDim: 100, outputDim: 8, compression: 4, name: 'vectors' };

  it('sizes outside of their ranges', () => {
    expect(() => hashedEmbedding({ ...base, inputDim: 0 })).toThrow('HashedEmbedding: inputDim must be an integer ≥ 1, got 0. It is the number of ids, the largest one plus 1.');
    expect(() => hashedEmbedding({ ...base, outputDim: 1.5 })).toThrow(/HashedEmbedding: outputDim must be an integer ≥ 1, got 1.5/);
    expect(() => hashedEmbedding({ ...base, compression: 0.5 })).toThrow(/HashedEmbedding: compression must be ≥ 1, got 0.5/);
    expect(() => hashedEmbedding({ ...base, compression: NaN })).toThrow(/HashedEmbedding: compression must be ≥ 1, got NaN/);
    expect(() => hashedEmbedding({ ...base, chunk: 9 })).toThrow('HashedEmbedding: chunk must be an integer from 1 to outputDim 8, got 9.');
    expect(() => hashedEmbedding({ ...base, compression: undefined, buckets: 801 }).apply(ids())).toThrow(/HashedEmbedding: buckets must be at most the number of virtual weights, 100 × 8 = 800, got 801/);
    expect(() => hashedEmbedding({ ...base, compression: undefined, buckets: 5 }).apply(ids())).toThrow(/HashedEmbedding: a tile of \[1, 8\] takes 8 stored weights, and there are 5/);
    expect(() => hashedEmbedding({ ...base, compression: undefined }).apply(ids())).toThrow(/HashedEmbedding: give compression .* or buckets/);
    expect(() => hashedEmbedding({ ...base, inputLength: 4 }).apply(tf.zeros([2, 3]))).toThrow('vectors: inputLength 4 does not fit the input’s shape [2, 3].'.replace('’', "'"));
    expect(() => hashedEmbedding({ ...base, tile: [1, 1] } as never)).toThrow(/unknown option 'tile'/);
    expect(() => hashedEmbedding(undefined as never)).toThrow('HashedEmbedding: expected an options object with inputDim, outputDim and compression, got undefined.');
  });

  it('options that do not go with two tables, and tables that cannot be', () => {
    const two = { ...base, quotientRemainder: 'multiply' as const };
    expect(() => hashedEmbedding({ ...two, seed: 1 })).toThrow('HashedEmbedding: seed is an option of hashed chunks; leave it out with quotientRemainder, whose tables have no hash.');
    expect(() => hashedEmbedding({ ...base, quotientRemainder: 'max' as never })).toThrow("HashedEmbedding: quotientRemainder must be one of 'multiply', 'add', 'concat', got 'max'.");
    expect(() => hashedEmbedding({ ...two, inputDim: 10_000, compression: 100 }).apply(ids())).toThrow(
      'HashedEmbedding: the two tables for 10000 ids hold at least 1600 numbers, and 800 are allowed. Use a compression of at most 50, or hash chunks (leave quotientRemainder out).',
    );
    expect(() => hashedEmbedding({ ...base, outputDim: 7, quotientRemainder: 'concat' }).apply(ids())).toThrow(/outputDim must be even for quotientRemainder: 'concat'.*got 7/);
    expect(() => hashedEmbedding({ ...two, embeddingsInitializer: 'zeros' }).apply(ids())).toThrow(/embeddingsInitializer 'zeros' never learns/);
    expect(() => hashedEmbedding(two).apply([ids(), tf.zeros([50])])).toThrow("HashedEmbedding: layer 'vectors' has tables of its own with quotientRemainder; apply it to the ids alone, or hash chunks of the bank.");
  });

  it('ids of a dtype that is none', () => {
    expect(() => hashedEmbedding(base).apply(tf.tensor1d([true, false], 'bool'))).toThrow("vectors: token ids must be of dtype int32 or float32, got bool. Use tf.cast(ids, 'int32').");
    expect(() => hashedEmbedding({ ...base, inputDim: 2 ** 25 }).apply(tf.zeros([1]))).toThrow(/vectors: token ids: float32 does not tell integers beyond 2²⁴ = 16777216 apart, and there are 33554432/);
  });

  it.each([undefined, 'multiply', 'add', 'concat'] as const)('ids that name no row where they can be seen, and gives them zeros elsewhere (%s)', async (quotientRemainder) => {
    for (const id of [-1, 100, 1.5, NaN]) {
      const layer = hashedEmbedding({ ...base, quotientRemainder });
      const tokens = tf.tensor1d([2, id]);
      if (!ON_GPU()) {
        expect(() => layer.apply(tokens)).toThrow(`vectors: token ids must be integers from 0 to 99, got ${id} at position 1 of the batch. Raise inputDim, or give unknown tokens an id of their own.`);
        continue;
      }
      const rows = await values(layer.apply(tokens));
      expect(rows.slice(0, 8).some((value) => value !== 0)).toBe(true);
      expect(rows.slice(8)).toEqual(new Array(8).fill(0));
    }
  });

  it('nothing that it should keep: an application leaves one tensor', () => {
    const layer = hashedEmbedding(base);
    const tokens = tf.tensor1d([1, 2], 'int32');
    layer.apply(tokens);
    const before = alive();
    tf.dispose(layer.apply(tokens) as tf.Tensor);
    expect(alive()).toEqual(before);
  });
});
