import * as tf from '@tensorflow/tfjs-core';
import { constraints, input, initializers, layers, loadLayersModel, model as functionalModel, regularizers, sequential, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { encodeModelArtifacts } from '../../src/compression/container.js';
import { decodeContainer } from '../../src/compression/container_reader.js';
import { regularizerSlots } from '../../src/host.js';
import { xxHash32 } from '../../src/kernels/hashed_weights/hash.js';
import { locate } from '../../src/kernels/hashed_weights/matrix.js';
import { hashedBank } from '../../src/layers/hashed_bank.js';
import { hashedConv2d } from '../../src/layers/hashed_conv2d.js';
import { hashedDense, type HashedDense, type HashedDenseArgs } from '../../src/layers/hashed_dense.js';
import { alive, expectNear, saveAndLoad, savedArtifacts, seeded } from '../contract/fixtures.js';
import { layerContract } from '../contract/layer_contract.js';

const values = async (tensor: tf.Tensor) => Array.from(await tensor.data());
const kernelOf = (layer: HashedDense) => layer.kernel!.read();

function network(args: Partial<HashedDenseArgs> = {}, inputs = 6): { model: LayersModel; layer: HashedDense } {
  const layer = hashedDense({ units: 5, compression: 2, seed: 7, inputShape: [inputs], kernelInitializer: initializers.glorotUniform({ seed: 3 }), ...args });
  const model = sequential({ layers: [layer] });
  model.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
  return { model, layer };
}

/** The virtual matrix from the stored weights, number by number. */
async function virtual(layer: HashedDense, rows: number, { tile = [1, 1] as [number, number], seed = 7, signed = true } = {}): Promise<tf.Tensor2D> {
  const stored = await values(kernelOf(layer));
  const matrix = { rows, columns: layer.units, tile, seed, signed };
  const numbers = Array.from({ length: rows * layer.units }, (_, i) => {
    const { index, factor } = locate(matrix, stored.length, Math.floor(i / layer.units), i % layer.units);
    return factor * stored[index];
  });
  return tf.tensor2d(numbers, [rows, layer.units]);
}

describe('HashedDense', () => {
  describe('keeps the layer contract with tiles, by number of buckets', () =>
    layerContract({
      create: hashedDense,
      args: {
        units: 6, buckets: 13, tile: [2, 3], seed: 11, signHash: false, gradientScaling: 0.5, activation: 'tanh', useBias: true, inputShape: [5],
        kernelInitializer: initializers.randomUniform({ minval: 0.1, maxval: 0.5, seed: 1 }), biasInitializer: 'ones', kernelRegularizer: regularizers.l2({ l2: 0.01 }),
        biasRegularizer: regularizers.l2({ l2: 0.02 }), kernelConstraint: constraints.nonNeg(), biasConstraint: constraints.nonNeg(),
        hashVersion: 1, name: 'contract_hashed',
      } as HashedDenseArgs,
      inputShape: [5],
      parameters: 19,
      masking: 'passes',
    }));
  describe('keeps the layer contract with elements, by compression, on sequences', () =>
    layerContract({ create: hashedDense, args: { units: 4, compression: 2.5, useBias: false, kernelInitializer: 'heNormal', name: 'contract_hashed_sequence' }, inputShape: [7, 5], parameters: 8, masking: 'passes' }));

  it('multiplies by the matrix that the hash draws from its stored weights', async () => {
    const { model, layer } = network({ useBias: false });
    const x = seeded([3, 6], 1) as tf.Tensor2D;
    expectNear('output', await values(model.predict(x) as tf.Tensor), await values(tf.matMul(x, await virtual(layer, 6))), 1e-6);
  });

  it('equals a hand-computed case', async () => {
    // 2 inputs, 2 units, 3 buckets, seed 1: bucket = hash·3 >> 32, sign = hash & 1, of the hash of the pair's eight bytes.
    const place = (i: number, j: number) => {
      const hash = xxHash32(Uint8Array.of(i, 0, 0, 0, j, 0, 0, 0), 1);
      return (hash & 1 ? -1 : 1) * [10, 20, 30][Number((BigInt(hash) * 3n) >> 32n)];
    };
    const { model, layer } = network({ units: 2, compression: undefined, buckets: 3, seed: 1 }, 2);
    layer.setWeights([tf.tensor1d([10, 20, 30]), tf.tensor1d([0.5, -0.5])]);
    const [a, b, c, d] = [place(0, 0), place(0, 1), place(1, 0), place(1, 1)];
    expect(await values(model.predict(tf.tensor2d([[1, 2]])) as tf.Tensor)).toEqual([a + 2 * c + 0.5, b + 2 * d - 0.5]);
  });

  it.each(['linear', 'relu', 'elu', 'sigmoid', 'softmax'] as const)('trains and predicts with activation %s as a dense layer of the same virtual matrix does', async (activation) => {
    const { model, layer } = network({ activation });
    const stock = sequential({ layers: [layers.dense({ units: 5, activation, inputShape: [6] })] });
    layer.bias!.write(seeded([5], 4));
    stock.setWeights([await virtual(layer, 6), layer.bias!.read()]);
    const x = seeded([3, 6], 1);
    expectNear('predict', await values(model.predict(x) as tf.Tensor), await values(stock.predict(x) as tf.Tensor), 1e-6);
    // The gradient of a stored weight is the signed sum over the places that share it; the input's is the dense layer's.
    const up = seeded([3, 5], 5);
    const energy = (net: LayersModel) => (input: tf.Tensor) => tf.sum(tf.mul(up, net.apply(input) as tf.Tensor)) as tf.Scalar;
    expectNear('gradient of the input', await values(tf.grad(energy(model))(x)), await values(tf.grad(energy(stock))(x)), 1e-5);
    const gradients = (net: LayersModel) => tf.variableGrads(() => energy(net)(x)).grads;
    const [ofStored, ofBias] = Object.values(gradients(model));
    const [ofKernel, ofStockBias] = Object.values(gradients(stock));
    const expected = new Array<number>(kernelOf(layer).size).fill(0);
    (await values(ofKernel)).forEach((g, i) => {
      const { index, factor } = locate({ rows: 6, columns: 5, tile: [1, 1], seed: 7, signed: true }, expected.length, Math.floor(i / 5), i % 5);
      expected[index] += factor * g;
    });
    expectNear('gradient of the stored weights', await values(ofStored), expected, 1e-5);
    expectNear('gradient of the bias', await values(ofBias), await values(ofStockBias), 1e-5);
  });

  it('has second derivatives', async () => {
    const { layer } = network({ useBias: false });
    const v = await virtual(layer, 6);
    // The host differentiates products twice, its activations not.
    const second = (y: (z: tf.Tensor) => tf.Tensor) => {
      const first = (z: tf.Tensor) => tf.grad((input) => tf.sum(tf.pow(y(input), 3)))(z);
      return tf.grad((z) => tf.sum(tf.square(first(z))))(seeded([3, 6], 1));
    };
    const expected = second((z) => tf.matMul(z as tf.Tensor2D, v));
    expectNear('second derivative', await values(second((z) => layer.apply(z) as tf.Tensor)), await values(expected), 1e-4);
  });

  it('with compression 1 hashes nothing: it is a dense layer of the same initial weights', async () => {
    const { model, layer } = network({ compression: 1, kernelInitializer: initializers.glorotNormal({ seed: 9 }) });
    const stock = sequential({ layers: [layers.dense({ units: 5, inputShape: [6], kernelInitializer: initializers.glorotNormal({ seed: 9 }) })] });
    stock.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
    expect(kernelOf(layer).shape).toEqual([30]);
    expect(await values(kernelOf(layer))).toEqual(await values(stock.getWeights()[0]));
    const [x, y] = [seeded([8, 6], 1), seeded([8, 5], 2)];
    for (const net of [model, stock]) await net.fit(x, y, { epochs: 3, verbose: 0 });
    expectNear('weights after training', await values(kernelOf(layer)), await values(stock.getWeights()[0]), 1e-5);
  });

  it('with one tile over the whole matrix has a run of the stored weights as kernel', async () => {
    const { layer } = network({ compression: undefined, buckets: 19, units: 5, tile: [3, 5] }, 3 + 1);
    const [stored, drawn] = [await values(kernelOf(layer)), await values(await virtual(layer, 4, { tile: [3, 5] }))];
    const start = stored.findIndex((w) => Math.abs(w) === Math.abs(drawn[0]));
    const sign = Math.sign(drawn[0] / stored[start]);
    expect(drawn.slice(0, 15)).toEqual(Array.from({ length: 15 }, (_, i) => sign * stored[(start + i) % 19]));
    expectNear('output', await values(layer.apply(tf.eye(4)) as tf.Tensor), drawn, 1e-6);
  });

  it('draws stored weights with the spread of the virtual matrix', async () => {
    const deviation = async (layer: HashedDense) => {
      const w = await values(kernelOf(layer));
      return Math.sqrt(w.reduce((sum, x) => sum + x * x, 0) / w.length);
    };
    const build = (kernelInitializer: HashedDenseArgs['kernelInitializer']) => network({ units: 200, compression: 16, kernelInitializer }, 300).layer;
    const expectDeviation = async (initializer: HashedDenseArgs['kernelInitializer'], expected: number) =>
      // 3750 draws: 3 % is more than two standard errors of a normal's deviation, and the seeds are fixed.
      expect(Math.abs((await deviation(build(initializer))) / expected - 1)).toBeLessThan(0.03);
    await expectDeviation(initializers.glorotUniform({ seed: 1 }), Math.sqrt(2 / 500));
    await expectDeviation(initializers.leCunUniform({ seed: 1 }), Math.sqrt(1 / 300));
    // The host's normal ones are cut at two standard deviations: 0.88 of the spread remains.
    await expectDeviation(initializers.heNormal({ seed: 1 }), 0.8796 * Math.sqrt(2 / 300));
    await expectDeviation(initializers.randomUniform({ minval: -0.3, maxval: 0.3, seed: 1 }), 0.3 / Math.sqrt(3));
    expect(() => build('orthogonal')).toThrow("HashedDense: kernelInitializer 'Orthogonal' gives every weight its place, which shared weights do not keep.");
    const unhashed = network({ units: 6, compression: 1, kernelInitializer: 'identity' }).layer;
    expect(await values(kernelOf(unhashed))).toEqual(await values(tf.eye(6)));
  });

  it('regularizes each stored weight once, and scales only the gradient of the data', async () => {
    const { model, layer } = network({ kernelRegularizer: regularizers.l2({ l2: 0.5 }), gradientScaling: 0.25, useBias: false });
    const plain = network({ useBias: false });
    plain.layer.setWeights(layer.getWeights());
    const [x, y] = [seeded([8, 6], 1), seeded([8, 5], 2)];
    const before = await values(kernelOf(layer));
    await model.fit(x, y, { epochs: 1, batchSize: 8, verbose: 0 });
    await plain.model.fit(x, y, { epochs: 1, batchSize: 8, verbose: 0 });
    const [after, afterPlain] = [await values(kernelOf(layer)), await values(kernelOf(plain.layer))];
    const expected = before.map((w, k) => w + 0.25 * (afterPlain[k] - w) - 0.1 * 2 * 0.5 * w);
    expectNear('weights after a step', after, expected, 1e-5);
  });

  it('is frozen by `trainable`, and counted so', async () => {
    const { model, layer } = network();
    layer.trainable = false;
    model.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
    expect([model.trainableWeights.length, model.nonTrainableWeights.length]).toEqual([0, 2]);
    layer.trainable = true;
    model.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
    const before = await values(kernelOf(layer));
    await model.fit(seeded([8, 6], 1), seeded([8, 5], 2), { epochs: 1, verbose: 0 });
    expect(await values(kernelOf(layer))).not.toEqual(before);
  });

  it('counts inputs of whole numbers as numbers', async () => {
    const { layer } = network({ useBias: false });
    const x = tf.tensor2d([[1, 0, 2, 0, -1, 3]]);
    expect(await values(layer.apply(tf.cast(x, 'int32')) as tf.Tensor)).toEqual(await values(layer.apply(x) as tf.Tensor));
    expectNear('gradient', await values(tf.grad((z) => tf.sum(layer.apply(z) as tf.Tensor))(x)), await values(tf.sum(await virtual(layer, 6), 1)), 1e-6);
  });
});

describe('the matrix that predict keeps', () => {
  it('is one tensor, drawn once, until weights change; and goes with the layer', async () => {
    const { model, layer } = network();
    const x = seeded([3, 6], 1);
    const drawn = vi.spyOn(tf.engine(), 'runKernel');
    const expansions = () => drawn.mock.calls.filter(([name]) => name === 'HashedExpand').length;
    const before = alive();
    const first = await values(tf.tidy(() => model.predict(x) as tf.Tensor));
    const once = expansions();
    tf.dispose(model.predict(x, { batchSize: 1 }));
    expect(expansions(), 'a second prediction, in three batches, draws nothing').toBe(once);
    expect(tf.memory().numTensors).toBeGreaterThan(before.tensors);
    const kept = alive();
    layer.setWeights([tf.ones([15]), tf.zeros([5])]);
    const changed = model.predict(x) as tf.Tensor;
    expect(await values(changed)).not.toEqual(first);
    expectNear('output of new weights', await values(changed), await values(tf.matMul(x as tf.Tensor2D, await virtual(layer, 6))), 1e-6);
    expect(expansions(), 'new weights are drawn').toBe(once + 1);
    drawn.mockRestore();
    expect(kept.tensors - before.tensors, 'one matrix and the tensor of the test').toBe(2);
    model.dispose();
    expect(kernelOf.bind(null, layer)).toThrow(/disposed/);
  });

  it('is not kept from training, and none is left after a model is disposed of', async () => {
    const start = alive();
    // What kernels keep by themselves (webgl: an index of tiles) is no tensor.
    const held = tf.backend().numDataIds();
    const { model } = network();
    const [x, y] = [seeded([8, 6], 1), seeded([8, 5], 2)];
    // The model disposes only of an optimizer that it made itself.
    const optimizer = model.optimizer;
    await model.fit(x, y, { epochs: 1, verbose: 0 });
    const trained = alive();
    tf.dispose(model.predict(x));
    expect(alive().tensors - trained.tensors).toBe(1);
    // A step after that finds other weights than the kept ones, and frees them.
    await model.fit(x, y, { epochs: 1, verbose: 0 });
    await model.fit(x, y, { epochs: 1, verbose: 0 });
    expect(alive().tensors - trained.tensors).toBe(0);
    tf.dispose(model.predict(x));
    model.dispose();
    optimizer.dispose();
    tf.dispose([x, y]);
    expect(alive()).toEqual(start);
    expect(tf.backend().numDataIds(), 'what the backend holds').toBe(held);
  });

  it('follows every step of training', async () => {
    const { model, layer } = network({ useBias: false });
    const [x, y] = [seeded([8, 6], 1) as tf.Tensor2D, seeded([8, 5], 2)];
    for (let step = 0; step < 3; step++) {
      await model.trainOnBatch(x, y);
      expectNear('prediction', await values(model.predict(x) as tf.Tensor), await values(tf.matMul(x, await virtual(layer, 6))), 1e-5);
    }
  });
});

describe('what a file holds of a hashed layer', () => {
  it('is the stored weights, the bias, and the seed in the config and in the weight’s name', async () => {
    const { model } = network({ tile: [2, 3], signHash: false });
    const { weightSpecs, weightData, modelTopology } = await savedArtifacts(model);
    expect(weightSpecs!.map(({ name, shape }) => [name.split('/')[1], shape])).toEqual([['hashed_v1_seed7_tile2x3_unsigned', [15]], ['bias', [5]]]);
    expect((weightData as ArrayBuffer).byteLength).toBe(80);
    expect(JSON.stringify(modelTopology)).toContain('"seed":7');
  });

  it('gives the same outputs again, whatever seed a new layer would have', async () => {
    const { model } = network({ seed: 4294967295, tile: [2, 2] });
    const x = seeded([3, 6], 1);
    const loaded = await saveAndLoad(model);
    expect(loaded.layers[0].getConfig()['seed']).toBe(4294967295);
    expect(await values(loaded.predict(x) as tf.Tensor)).toEqual(await values(model.predict(x) as tf.Tensor));
  });

  it('passes through the compressed file format, seed and weights exact', async () => {
    const { model } = network({ seed: 123456789, tile: [3, 2] });
    const loaded = await loadLayersModel(tf.io.fromMemory(decodeContainer(encodeModelArtifacts(await savedArtifacts(model)))));
    const x = seeded([3, 6], 1);
    expect(await values(loaded.predict(x) as tf.Tensor)).toEqual(await values(model.predict(x) as tf.Tensor));
  });

  it('can be governed by a prior: the stored weights are the layer’s kernel', () => {
    const { layer } = network();
    expect(regularizerSlots(layer).map(({ slot, weight }) => [slot, weight.shape])).toEqual([['kernelRegularizer', [15]], ['biasRegularizer', [5]]]);
    const bank = hashedBank({ buckets: 9 });
    bank.apply(input({ shape: [2] }));
    expect(regularizerSlots(bank).map(({ slot, weight }) => [slot, weight.shape])).toEqual([['kernelRegularizer', [9]]]);
  });

  it('is refused where it was hashed with another seed, tile, sign or version', async () => {
    const artifacts = await savedArtifacts(network({ name: 'layer' }).model);
    const edited = (edit: (config: Record<string, unknown>) => void) => {
      const topology = JSON.parse(JSON.stringify(artifacts.modelTopology)) as { config: { layers: Array<{ config: Record<string, unknown> }> } };
      edit(topology.config.layers[0].config);
      return loadLayersModel(tf.io.fromMemory({ ...artifacts, modelTopology: topology }));
    };
    await expect(edited((config) => (config.seed = 8))).rejects.toThrow(/has no target variable: .*hashed_v1_seed7_tile1x1_signed/);
    await expect(edited((config) => (config.tile = [1, 5]))).rejects.toThrow(/has no target variable: .*hashed_v1_seed7_tile1x1_signed/);
    await expect(edited((config) => (config.sign_hash = false))).rejects.toThrow(/has no target variable: .*hashed_v1_seed7_tile1x1_signed/);
    await expect(edited((config) => (config.hash_version = 2))).rejects.toThrow(
      'HashedDense: hashVersion must be 1, got 2. These weights were hashed by another version of tfjs-weight-sharing: load them with that one.',
    );
  });

  it('is refused between models by setWeights, of a model or of a layer, and taken where the hash is the same', async () => {
    const one = network({ name: 'one' });
    const same = network({ name: 'same' });
    const other = network({ name: 'other', seed: 8 });
    const message = "HashedDense: layer 'one' cannot take weights of another hash: it expects 'hashed_v1_seed7_tile1x1_signed', got 'hashed_v1_seed8_tile1x1_signed'. Make it with the same seed, tile and signHash.";
    expect(() => one.layer.setWeights(other.layer.getWeights())).toThrow(message);
    expect(() => one.model.setWeights(other.model.getWeights())).toThrow(message);
    one.model.setWeights(same.model.getWeights());
    const x = seeded([3, 6], 1);
    expect(await values(one.model.predict(x) as tf.Tensor)).toEqual(await values(same.model.predict(x) as tf.Tensor));
  });
});

describe('a bank of stored weights', () => {
  function banked() {
    const x = input({ shape: [6] });
    const bank = hashedBank({ buckets: 20, kernelInitializer: initializers.randomUniform({ minval: -0.1, maxval: 0.1, seed: 5 }), name: 'bank' });
    const table = bank.apply(x) as SymbolicTensor;
    const first = hashedDense({ units: 8, seed: 1, activation: 'tanh', tile: [1, 4], name: 'first' });
    const second = hashedDense({ units: 3, seed: 2, bankScale: 2, name: 'second' });
    const hidden = first.apply([x, table]) as SymbolicTensor;
    const model = functionalModel({ inputs: x, outputs: second.apply([hidden, table]) as SymbolicTensor });
    model.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
    return { model, bank, first, second };
  }

  it('is one weight of one layer, saved once, and two layers draw from it', async () => {
    const { model, bank, first, second } = banked();
    expect(model.countParams()).toBe(20 + 8 + 3);
    expect(model.trainableWeights.map(({ name }) => name.split('/')[0])).toEqual(['bank', 'first', 'second']);
    expect([first.kernel, second.kernel]).toEqual([null, null]);
    const { weightSpecs } = await savedArtifacts(model);
    expect(weightSpecs!.filter(({ shape }) => shape[0] === 20).map(({ name }) => name)).toEqual(['bank/bank']);
    bank.kernel!.write(tf.zeros([20]));
    expect(await values(model.predict(seeded([2, 6], 1)) as tf.Tensor)).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it('takes one step of the optimizer, along the sum of the gradients of all its layers, each with its scale', async () => {
    const { model, bank, first, second } = banked();
    const [x, y] = [seeded([4, 6], 1) as tf.Tensor2D, seeded([4, 3], 2)];
    const stored = tf.clone(bank.kernel!.read()) as tf.Tensor1D;
    const scales = [Math.sqrt(2 / 14) / 0.05, 2];
    const matrixOf = async (units: number, rows: number, tile: [number, number], seed: number, scale: number) => {
      const numbers = Array.from({ length: rows * units }, (_, i) => locate({ rows, columns: units, tile, seed, signed: true, scale }, 20, Math.floor(i / units), i % units));
      return (w: tf.Tensor) => tf.mul(tf.reshape(tf.gather(w, numbers.map(({ index }) => index)), [rows, units]), tf.tensor2d(numbers.map(({ factor }) => factor), [rows, units])) as tf.Tensor2D;
    };
    const [one, two] = [await matrixOf(8, 6, [1, 4], 1, scales[0]), await matrixOf(3, 8, [1, 1], 2, scales[1])];
    const loss = (w: tf.Tensor) => tf.mean(tf.square(tf.sub(y, tf.matMul(tf.tanh(tf.matMul(x, one(w))) as tf.Tensor2D, two(w))))) as tf.Scalar;
    // tf.gather has no gradient on wasm: central differences of the same loss.
    const start = await values(stored);
    const gradient: number[] = [];
    for (let k = 0; k < 20; k++) {
      const at = async (shift: number) => (await loss(tf.tensor1d(start.map((w, i) => (i === k ? w + shift : w)))).data())[0];
      gradient.push(((await at(1e-2)) - (await at(-1e-2))) / 2e-2);
    }
    expectNear('outputs', await values(model.predict(x) as tf.Tensor), await values(tf.matMul(tf.tanh(tf.matMul(x, one(stored))) as tf.Tensor2D, two(stored))), 1e-5);
    await model.fit(x, y, { epochs: 1, batchSize: 4, verbose: 0 });
    const stepped = (await values(bank.kernel!.read())).map((w, k) => (start[k] - w) / 0.1);
    expectNear('gradient that the step went along', stepped, gradient, 5e-3);
    expect(first.countParams() + second.countParams()).toBe(11);
  });

  it('is frozen by its own `trainable`, for all layers that draw from it, and with them learns again', async () => {
    const { model, bank, second } = banked();
    const [x, y] = [seeded([4, 6], 1), seeded([4, 3], 2)];
    const step = async () => {
      model.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
      await model.fit(x, y, { epochs: 1, verbose: 0 });
      return { bank: await values(bank.kernel!.read()), bias: await values(second.bias!.read()) };
    };
    const start = await values(bank.kernel!.read());
    bank.trainable = false;
    const frozen = await step();
    expect(frozen.bank).toEqual(start);
    expect(frozen.bias.every((b) => b !== 0), 'the others learn').toBe(true);
    [bank.trainable, second.trainable] = [true, false];
    const learned = await step();
    expect(learned.bank).not.toEqual(start);
    expect(learned.bias).toEqual(frozen.bias);
  });

  it('survives saving and loading, and training goes on with one bank', async () => {
    const { model } = banked();
    const loaded = await saveAndLoad(model);
    const x = seeded([4, 6], 1);
    expectNear('outputs', await values(loaded.predict(x) as tf.Tensor), await values(model.predict(x) as tf.Tensor), 1e-6);
    expect(loaded.trainableWeights.filter(({ shape }) => shape[0] === 20).length).toBe(1);
    loaded.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    const { history } = await loaded.fit(x, seeded([4, 3], 2), { epochs: 4, verbose: 0 });
    expect(history.loss[3]).toBeLessThan(history.loss[0] as number);
  });

  it('leaves no tensor behind, and predictions expand it once', async () => {
    const { model } = banked();
    const [x, y] = [seeded([4, 6], 1), seeded([4, 3], 2)];
    for (let i = 0; i < 2; i++) {
      await model.trainOnBatch(x, y);
      tf.dispose(model.predict(x));
    }
    const before = alive();
    for (let i = 0; i < 5; i++) {
      await model.trainOnBatch(x, y);
      tf.dispose(model.predict(x));
    }
    expect(alive()).toEqual(before);
    const drawn = vi.spyOn(tf.engine(), 'runKernel');
    tf.dispose(model.predict(x, { batchSize: 1 }));
    expect(drawn.mock.calls.filter(([name]) => name === 'HashedExpand').length).toBe(0);
    drawn.mockRestore();
  });

  it('comes back from its config', () => {
    const bank = hashedBank({ buckets: 9, kernelRegularizer: regularizers.l2({ l2: 0.1 }), kernelConstraint: constraints.nonNeg() });
    const again = hashedBank(bank.getConfig() as unknown as Parameters<typeof hashedBank>[0]);
    expect(again.getConfig()).toEqual(bank.getConfig());
  });

  it('and its layers say what they need', () => {
    const x = input({ shape: [6] });
    const bank = hashedBank({ buckets: 20 }).apply(x);
    const given = [x, bank] as SymbolicTensor[];
    const make = (args: Partial<HashedDenseArgs>) => () => hashedDense({ units: 3, seed: 1, ...args }).apply(given);
    expect(make({ compression: 2 })).toThrow('HashedDense: the bank holds the stored weights; leave compression and buckets out of a layer that is applied to [input, bank].');
    expect(make({ seed: undefined })).toThrow('HashedDense: give each layer on a bank a seed of its own (seed: 1, seed: 2, …), or layers of one shape would share every weight.');
    expect(make({ kernelRegularizer: 'l1l2' })).toThrow('HashedDense: the bank owns the stored weights; give the regularizer or constraint to hashedBank.');
    expect(make({ kernelInitializer: 'zeros' })).toThrow("HashedDense: the spread that kernelInitializer 'Zeros' means is not known; give bankScale, the factor of the bank's numbers.");
    expect(make({ tile: [3, 3], units: 30 })).not.toThrow();
    expect(make({ tile: [6, 4], units: 30 })).toThrow('HashedDense: a tile of [6, 4] takes 24 stored weights, and there are 20. Make the tile smaller or store more.');
    expect(() => hashedDense({ units: 3, seed: 1, name: 'three' }).apply([x, bank, bank] as SymbolicTensor[])).toThrow(
      "HashedDense: layer 'three' takes one input, or [input, bank] with a bank from hashedBank, got inputs of shapes [null, 6] and [20] and [20].",
    );
    expect(() => hashedDense({ units: 3, compression: 2, bankScale: 2 }).apply(x)).toThrow('HashedDense: bankScale is for a layer that is applied to [input, bank].');
    expect(() => hashedBank({ buckets: 0 })).toThrow('HashedBank: buckets must be an integer in [1, 2147483647], got 0. It is the number of stored weights.');
    expect(() => hashedBank({ buckets: 2, size: 3 } as never)).toThrow("HashedBank: unknown option 'size'.");
  });
});

describe('bad options of HashedDense', () => {
  const make = (args: object, inputs: number[] = [6]) => () => hashedDense({ units: 5, ...args } as HashedDenseArgs).apply(input({ shape: inputs }));
  it.each<[object, string]>([
    [{ compression: 0.5 }, 'HashedDense: compression must be ≥ 1, got 0.5. Use compression: 1 for a plain layer.'],
    [{ compression: NaN }, 'HashedDense: compression must be ≥ 1, got NaN.'],
    [{ compression: '8' }, "HashedDense: compression must be ≥ 1, got '8'."],
    [{}, 'HashedDense: give compression (virtual weights per stored one, e.g. compression: 16) or buckets (the number of stored weights).'],
    [{ compression: 2, buckets: 15 }, 'HashedDense: give compression or buckets, not both: got compression 2 and buckets 15.'],
    [{ buckets: 31 }, 'HashedDense: buckets must be at most the number of virtual weights, 6 × 5 = 30, got 31. Use compression: 1 for a plain layer.'],
    [{ buckets: 2.5 }, 'HashedDense: buckets must be an integer ≥ 1, got 2.5. It is the number of stored weights.'],
    [{ compression: 2, tile: [7, 1] }, 'HashedDense: tile must fit into the virtual matrix of 6 × 5, got [7, 1].'],
    [{ compression: 2, tile: [1, 6] }, 'HashedDense: tile must fit into the virtual matrix of 6 × 5, got [1, 6].'],
    [{ compression: 4, tile: [3, 3] }, 'HashedDense: a tile of [3, 3] takes 9 stored weights, and there are 8. Make the tile smaller or store more.'],
    [{ compression: 2, tile: 4 }, 'HashedDense: tile must be [rows, columns], got 4.'],
    [{ compression: 2, tile: [1, 0.5] }, 'HashedDense: tile[1] must be an integer ≥ 1, got 0.5.'],
    [{ compression: 2, seed: -1 }, 'HashedDense: seed must be an integer in [0, 4294967295], got -1.'],
    [{ compression: 2, seed: 1.5 }, 'HashedDense: seed must be an integer in [0, 4294967295], got 1.5.'],
    [{ compression: 2, signHash: 'no' }, "HashedDense: signHash must be true or false, got 'no'."],
    [{ compression: 2, gradientScaling: 0 }, 'HashedDense: gradientScaling must be a finite number > 0, got 0.'],
    [{ compression: 2, units: 0 }, 'HashedDense: units must be an integer ≥ 1, got 0. It is the length of the output.'],
    [{ compression: 2, kernelInitializer: 'glorot' }, 'HashedDense: kernelInitializer:'],
    [{ compresion: 2 }, "HashedDense: unknown option 'compresion'. Did you mean 'compression'?"],
  ])('%o is an error', (args, message) => {
    expect(make(args)).toThrow(message);
  });

  it('an input of strings or complex numbers is an error, here and in hashedConv2d', () => {
    const dense = hashedDense({ units: 5, compression: 2, name: 'numbers' });
    const rest = 'expects an input of numbers (float32, int32 or bool), got';
    expect(() => dense.apply(tf.tensor2d([['a', 'b']]))).toThrow(`HashedDense: layer 'numbers' ${rest} string. Turn tokens into numbers first, e.g. by featureHashing or an embedding.`);
    if (tf.getBackend() !== 'wasm') expect(() => dense.apply(tf.complex(tf.ones([1, 2]), tf.ones([1, 2])))).toThrow(`HashedDense: layer 'numbers' ${rest} complex64.`);
    const conv = hashedConv2d({ filters: 2, kernelSize: 1, buckets: 1, name: 'pictures' });
    expect(() => conv.apply(tf.tensor(['a'], [1, 1, 1, 1]))).toThrow(`HashedConv2D: layer 'pictures' ${rest} string.`);
  });

  it('an input without a known length is an error', () => {
    expect(() => hashedDense({ units: 5, compression: 2, name: 'open' }).apply(input({ shape: [null as unknown as number] }))).toThrow(
      "HashedDense: layer 'open' expects [batch, …, inputs] with a known last length, got [null, null].",
    );
    expect(() => hashedDense(undefined as never)).toThrow('HashedDense: expected an options object with units and compression, got undefined.');
  });
});

describe('names of hashed layers in one process', () => {
  let warn: ReturnType<typeof vi.spyOn>;
  beforeEach(() => (warn = vi.spyOn(console, 'warn')));
  afterEach(() => warn.mockRestore());
  it('are registered without a warning and do not disturb the numbering of the host’s dense layers', () => {
    const before = Number(/\d+$/.exec(layers.dense({ units: 1 }).name)?.[0]);
    hashedDense({ units: 1, compression: 1 });
    expect(Number(/\d+$/.exec(layers.dense({ units: 1 }).name)?.[0])).toBe(before + 1);
    expect(warn).not.toHaveBeenCalled();
  });
});

describe('a bank that several layers draw from', () => {
  it('is regularised once', async () => {
    const bank = hashedBank({ buckets: 4, kernelRegularizer: regularizers.l2({ l2: 1 }), kernelInitializer: initializers.constant({ value: 1 }) });
    const x = input({ shape: [2] });
    const outputs = [1, 2].map((seed) => hashedDense({ units: 2, useBias: false, seed }).apply([x, bank.apply(x) as SymbolicTensor]) as SymbolicTensor);
    const model = functionalModel({ inputs: x, outputs });
    model.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    const [loss] = [(await model.trainOnBatch(tf.zeros([1, 2]), [tf.zeros([1, 2]), tf.zeros([1, 2])])) as number | number[]].flat();
    expect(loss).toBeCloseTo(4, 5);
    model.dispose();
  });
});
