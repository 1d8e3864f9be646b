import * as tf from '@tensorflow/tfjs-core';
import { initializers, input, layers, model as functionalModel, regularizers, sequential, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { locate, type HashedMatrix } from '../../src/kernels/hashed_weights/matrix.js';
import { hashedBank } from '../../src/layers/hashed_bank.js';
import { hashedConv2d, type HashedConv2D, type HashedConv2DArgs } from '../../src/layers/hashed_conv2d.js';
import { hashedDense } from '../../src/layers/hashed_dense.js';
import { alive, expectNear, saveAndLoad, savedArtifacts, seeded } from '../contract/fixtures.js';
import { layerContract } from '../contract/layer_contract.js';

const create = (args: HashedConv2DArgs) => hashedConv2d(args);

describe('the layer contract holds for hashedConv2d', () =>
  layerContract({
    create,
    args: {
      filters: 4, kernelSize: [3, 2], strides: [2, 1], padding: 'same', activation: 'tanh', compression: 4, tile: [3, 2], seed: 12, signHash: false,
      gradientScaling: 0.5, kernelInitializer: initializers.heNormal({ seed: 3 }), kernelRegularizer: regularizers.l2({ l2: 1e-4 }), biasInitializer: 'ones', name: 'contract_conv',
    },
    // 3 · 2 · 2 · 4 = 48 virtual weights in 12, and 4 biases.
    inputShape: [6, 5, 2], parameters: 16, masking: 'refuses',
  }));
describe('the layer contract holds for hashedConv2d with dilation and the channels first', () =>
  layerContract({
    create,
    args: { filters: 4, kernelSize: [2, 2], dilationRate: [2, 1], dataFormat: 'channelsFirst', useBias: false, buckets: 9, kernelInitializer: initializers.heNormal({ seed: 4 }), inputShape: [4, 5, 6], name: 'contract_conv_first' },
    inputShape: [4, 5, 6], parameters: 9, masking: 'refuses',
  }));

const values = async (x: tf.Tensor | tf.Tensor[] | SymbolicTensor | SymbolicTensor[]) => Array.from(await (x as tf.Tensor).data());

/** The virtual kernel of a built layer, [height, width, inputs / groups, filters], from the definition of the hash. */
async function virtualKernel(layer: HashedConv2D, inputs: number, { tile = [1, 1], seed = 0, signHash = true }: Partial<HashedConv2DArgs>): Promise<tf.Tensor4D> {
  const [height, width] = layer.plan.kernelSize;
  const depth = inputs / layer.plan.groups;
  const matrix: HashedMatrix = { rows: height * width * depth, columns: layer.plan.filters, tile, seed, signed: signHash };
  const stored = await layer.kernel!.read().data();
  const numbers = Array.from({ length: matrix.rows * matrix.columns }, (_, at) => {
    const { index, factor } = locate(matrix, stored.length, Math.floor(at / matrix.columns), at % matrix.columns);
    return stored[index] * factor;
  });
  return tf.tensor4d(numbers, [height, width, depth, layer.plan.filters]);
}

describe('hashedConv2d', () => {
  it.each<[string, Partial<HashedConv2DArgs>]>([
    ['element by element', {}],
    ['in tiles, without signs', { tile: [4, 3], signHash: false, seed: 9 }],
    ['with strides and the same padding', { strides: [2, 3], padding: 'same' }],
    ['with dilation', { dilationRate: [2, 3], padding: 'same' }],
    ['with a fused activation', { activation: 'relu' }],
    ['with an activation of its own', { activation: 'sigmoid' }],
  ])('equals the host’s convolution with the expanded kernel: %s', async (_, options) => {
    const args = { filters: 3, kernelSize: [3, 2] as [number, number], compression: 3, biasInitializer: initializers.randomNormal({ seed: 5 }), ...options };
    const ours = hashedConv2d(args);
    const x = seeded([2, 9, 8, 2], 3);
    const y = ours.apply(x) as tf.Tensor;
    const { filters, kernelSize, strides, padding, dilationRate, activation } = args as HashedConv2DArgs;
    const stock = layers.conv2d({ filters, kernelSize, strides, padding, dilationRate, activation });
    stock.build(x.shape);
    stock.setWeights([await virtualKernel(ours, 2, args), ours.bias!.read()]);
    const expected = stock.apply(x) as tf.Tensor;
    expect(y.shape).toEqual(expected.shape);
    expectNear('output', await values(y), await values(expected), 1e-5);
  });

  it('with groups, equals a convolution whose kernel is zero between groups', async () => {
    const ours = hashedConv2d({ filters: 4, kernelSize: 3, groups: 2, compression: 2, useBias: false });
    expect(ours.getConfig()).toMatchObject({ groups: 2 });
    const x = seeded([2, 5, 5, 6], 3);
    const y = ours.apply(x) as tf.Tensor;
    const kernel = await virtualKernel(ours, 6, {});
    const [a, b] = tf.split(kernel, 2, 3);
    const none = tf.zerosLike(a);
    const whole = tf.concat([tf.concat([a, none], 3), tf.concat([none, b], 3)], 2) as tf.Tensor4D;
    expectNear('output', await values(y), await values(tf.conv2d(x as tf.Tensor4D, whole, 1, 'valid')), 1e-5);
  });

  it('takes and gives channels first', async () => {
    const args = { filters: 3, kernelSize: 3, compression: 4, seed: 2, kernelInitializer: initializers.randomNormal({ seed: 8 }) };
    const x = seeded([2, 6, 7, 2], 4);
    const last = hashedConv2d(args).apply(x) as tf.Tensor;
    const first = hashedConv2d({ ...args, dataFormat: 'channelsFirst' }).apply(tf.transpose(x, [0, 3, 1, 2])) as tf.Tensor;
    expect(first.shape).toEqual([2, 3, 4, 5]);
    expectNear('output', await values(tf.transpose(first, [0, 2, 3, 1])), await values(last), 1e-5);
  });

  it('pads where strides are larger than the kernel, which the host gets wrong on wasm', async () => {
    const ours = hashedConv2d({ filters: 3, kernelSize: 2, strides: 3, padding: 'same', compression: 2, useBias: false });
    // Nine in steps of three: nothing is padded.
    const x = seeded([1, 9, 9, 2], 3) as tf.Tensor4D;
    expectNear('output', await values(ours.apply(x)), await values(tf.conv2d(x, await virtualKernel(ours, 2, {}), 3, 'valid')), 1e-5);
  });

  it('has second derivatives, by its input', async () => {
    const ours = hashedConv2d({ filters: 3, kernelSize: 2, compression: 3, useBias: false, kernelInitializer: initializers.randomNormal({ seed: 6 }) });
    const x = seeded([2, 4, 4, 2], 3);
    ours.build(x.shape);
    const kernel = await virtualKernel(ours, 2, {});
    const second = (y: (z: tf.Tensor) => tf.Tensor) => {
      const first = (z: tf.Tensor) => tf.grad((input) => tf.sum(tf.pow(y(input), 3)))(z);
      return tf.grad((z) => tf.sum(tf.square(first(z))))(x);
    };
    const expected = second((z) => tf.conv2d(z as tf.Tensor4D, kernel, 1, 'valid'));
    expectNear('second derivative', await values(second((z) => ours.apply(z) as tf.Tensor)), await values(expected), 1e-4);
  });

  it('with compression 1 trains exactly as the host’s convolution', async () => {
    const ours = hashedConv2d({ filters: 3, kernelSize: 3, compression: 1, padding: 'same' });
    const stock = layers.conv2d({ filters: 3, kernelSize: 3, padding: 'same' });
    const models = [ours, stock].map((layer) => sequential({ layers: [layers.inputLayer({ inputShape: [5, 5, 2] }), layer] }));
    stock.setWeights([tf.reshape(ours.getWeights()[0], [3, 3, 2, 3]), ours.getWeights()[1]]);
    const x = seeded([4, 5, 5, 2], 1);
    expectNear('prediction', await values(models[0].predict(x)), await values(models[1].predict(x)), 1e-6);
    // Stock wasm has no gradient of a convolution.
    if (tf.getKernel('Conv2DBackpropFilter', tf.getBackend()) == null) return;
    for (const model of models) {
      model.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
      await model.trainOnBatch(x, seeded([4, 5, 5, 3], 2));
    }
    expectNear('kernel after a step', await values(ours.getWeights()[0]), await values(stock.getWeights()[0]), 1e-5);
  });

  /** d⟨direction, y⟩ along `change` of the stored weights, by central differences of the linear function that it is. */
  it.each<[string, Partial<HashedConv2DArgs>]>([
    ['plain', {}],
    ['strided', { strides: 2, padding: 'same' }],
    ['dilated', { dilationRate: [2, 3], padding: 'same' }],
    ['dilated, without padding', { dilationRate: 2 }],
    ['in groups', { groups: 2 }],
  ])('has the right gradients in weights and input: %s', async (_, options) => {
    const layer = hashedConv2d({ filters: 4, kernelSize: [2, 3], compression: 3, useBias: false, ...options });
    const x = seeded([2, 7, 8, 2], 3);
    const direction = seeded((layer.apply(x) as tf.Tensor).shape, 6);
    const weight = layer.kernel!.read() as tf.Variable;
    // Fixed: by chance the product below, which errors are counted in, could be nearly 0.
    layer.setWeights([seeded(weight.shape, 22)]);
    const product = (image: tf.Tensor) => tf.sum(tf.mul(direction, layer.apply(image) as tf.Tensor)) as tf.Scalar;
    const { grads } = tf.variableGrads(() => product(x), [weight]);
    const inputGradient = tf.grad(product)(x);
    // The layer is linear in its weights and in its input: ⟨gradient, itself⟩ is the product itself.
    const expected = (await values(product(x)))[0];
    const along = async (gradient: tf.Tensor, at: tf.Tensor) => (await values(tf.sum(tf.mul(gradient, at))))[0];
    expect(Math.abs((await along(grads[weight.name], weight)) / expected - 1)).toBeLessThan(1e-4);
    expect(Math.abs((await along(inputGradient, x)) / expected - 1)).toBeLessThan(1e-4);
    // And along another direction, which a gradient that is right only on itself would get wrong.
    const [otherX, otherW] = [seeded(x.shape, 20), seeded(weight.shape, 21)];
    expectNear('along another input', [await along(inputGradient, otherX)], await values(product(otherX)), 1e-4, 1);
    const gradient = await along(grads[weight.name], otherW);
    weight.assign(otherW);
    expectNear('along other weights', [gradient], await values(product(x)), 1e-4, 1);
  });

  it('trains a small network', async () => {
    const model = sequential({ layers: [
      hashedConv2d({ filters: 6, kernelSize: 3, compression: 4, activation: 'relu', inputShape: [8, 8, 1], kernelInitializer: initializers.heNormal({ seed: 1 }) }),
      layers.globalAveragePooling2d({}), layers.dense({ units: 1, kernelInitializer: initializers.glorotUniform({ seed: 2 }) }),
    ] });
    model.compile({ optimizer: tf.train.adam(0.1), loss: 'meanSquaredError' });
    const x = seeded([16, 8, 8, 1], 7);
    // How much neighbours across agree.
    const y = tf.tidy(() => tf.mean(tf.mul(tf.slice(x, [0, 0, 1, 0], [16, 8, 7, 1]), tf.slice(x, [0, 0, 0, 0], [16, 8, 7, 1])), [1, 2]));
    const { history } = await model.fit(x, tf.mul(y, 10), { epochs: 12, batchSize: 16, verbose: 0 });
    expect(history.loss[11] as number).toBeLessThan(0.5 * (history.loss[0] as number));
  });

  it('keeps the expanded kernel between predictions, until its weights change, and frees it with the layer', async () => {
    const x = seeded([1, 5, 5, 2], 3);
    const start = alive();
    const layer = hashedConv2d({ filters: 3, kernelSize: 3, compression: 4, useBias: false, inputShape: [5, 5, 2] });
    const model = sequential({ layers: [layer] });
    const built = alive();
    const first = model.predict(x) as tf.Tensor;
    const again = model.predict(x) as tf.Tensor;
    expect(alive(), 'two outputs and one kernel').toEqual({ tensors: built.tensors + 3, buffers: built.buffers + 3 });
    expect(await values(again)).toEqual(await values(first));
    const doubled = tf.mul(layer.getWeights()[0], 2);
    layer.setWeights([doubled]);
    const last = model.predict(x) as tf.Tensor;
    expectNear('after the weights changed', await values(last), (await values(first)).map((y) => 2 * y), 1e-6);
    tf.dispose([first, again, last, doubled]);
    model.dispose();
    expect(alive()).toEqual(start);
  });

  it('stores the hashed weights only, and comes back from a file', async () => {
    const model = sequential({ layers: [hashedConv2d({ filters: 8, kernelSize: 3, compression: 16, inputShape: [6, 6, 4], seed: 4000000000 })] });
    expect((await savedArtifacts(model)).weightSpecs!.map(({ shape }) => shape)).toEqual([[18], [8]]);
    const loaded = await saveAndLoad(model);
    const x = seeded([2, 6, 6, 4], 5);
    expectNear('outputs', await values(loaded.predict(x)), await values(model.predict(x)), 1e-6);
  });
});

describe('hashedConv2d on a bank', () => {
  function banked() {
    const x = input({ shape: [6, 6, 2] });
    const bank = hashedBank({ buckets: 30, name: 'bank' }).apply(x) as SymbolicTensor;
    const a = hashedConv2d({ filters: 4, kernelSize: 3, seed: 1, activation: 'tanh', name: 'a' }).apply([x, bank]) as SymbolicTensor;
    const b = hashedConv2d({ filters: 4, kernelSize: 3, seed: 2, useBias: false, name: 'b' }).apply([a, bank]) as SymbolicTensor;
    const flat = layers.flatten().apply(b) as SymbolicTensor;
    const model = functionalModel({ inputs: x, outputs: hashedDense({ units: 2, seed: 3, useBias: false, name: 'c' }).apply([flat, bank]) as SymbolicTensor });
    model.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
    return model;
  }

  it('leaves one owner of the stored weights: one weight, one update, one copy in the file', async () => {
    const model = banked();
    expect(model.trainableWeights.map(({ shape }) => shape)).toEqual([[30], [4]]);
    expect(model.getLayer('b').countParams()).toBe(0);
    const artifacts = await savedArtifacts(model);
    expect(artifacts.weightSpecs!.map(({ shape }) => shape)).toEqual([[30], [4]]);
    const bank = model.getLayer('bank').getWeights()[0] as unknown as tf.Variable;
    const [x, y] = [seeded([2, 6, 6, 2], 1), seeded([2, 2], 3)];
    const before = await values(bank);
    const { grads } = tf.variableGrads(() => tf.losses.meanSquaredError(y, model.apply(x) as tf.Tensor) as tf.Scalar, [bank]);
    const gradient = await values(grads[bank.name]);
    await model.trainOnBatch(x, y);
    expectNear('the bank after a step', await values(bank), before.map((w, i) => w - 0.1 * gradient[i]), 1e-6);
    const loaded = await saveAndLoad(model);
    expectNear('outputs after loading', await values(loaded.predict(x)), await values(model.predict(x)), 1e-6);
  });
});

describe('what hashedConv2d refuses', () => {
  const base = { filters: 4, kernelSize: 3, compression: 4, name: 'conv' };
  const x = () => tf.zeros([1, 6, 6, 2]);

  it('options outside of their ranges', () => {
    expect(() => hashedConv2d({ ...base, filters: 0 })).toThrow('HashedConv2D: filters must be an integer ≥ 1, got 0. It is the number of output channels.');
    expect(() => hashedConv2d({ ...base, kernelSize: [3, 3, 3] as never })).toThrow('HashedConv2D: kernelSize must be a number or two, [down, across], got [3, 3, 3].');
    expect(() => hashedConv2d({ ...base, kernelSize: undefined as never })).toThrow(/kernelSize must be a number or two.*got undefined/);
    expect(() => hashedConv2d({ ...base, strides: 0 })).toThrow('HashedConv2D: strides must be an integer ≥ 1, got 0.');
    expect(() => hashedConv2d({ ...base, padding: 'causal' as never })).toThrow("HashedConv2D: padding must be one of 'valid', 'same', got 'causal'.");
    expect(() => hashedConv2d({ ...base, dataFormat: 'NHWC' as never })).toThrow(/dataFormat must be one of 'channelsFirst', 'channelsLast', got 'NHWC'/);
    expect(() => hashedConv2d({ ...base, strides: 2, dilationRate: 2 })).toThrow('HashedConv2D: strides or dilationRate must be 1, got strides [2, 2] and dilationRate [2, 2].');
    expect(() => hashedConv2d({ ...base, groups: 3 })).toThrow('HashedConv2D: groups must divide filters, got groups 3 and filters 4.');
    expect(() => hashedConv2d({ ...base, groups: 4 }).apply(x())).toThrow("HashedConv2D: layer 'conv': groups must divide the number of input channels, got groups 4 and 2 channels.");
    expect(() => hashedConv2d({ ...base, compression: NaN })).toThrow(/HashedConv2D: compression must be ≥ 1, got NaN/);
    expect(() => hashedConv2d({ ...base, compression: 0.5 })).toThrow(/HashedConv2D: compression must be ≥ 1, got 0.5/);
    expect(() => hashedConv2d({ ...base, compression: undefined, buckets: 73 }).apply(x())).toThrow(/HashedConv2D: buckets must be at most the number of virtual weights, 18 × 4 = 72, got 73/);
    expect(() => hashedConv2d({ ...base, tile: [32, 32] }).apply(x())).toThrow(/HashedConv2D: tile must fit into the virtual matrix of 18 × 4, got \[32, 32\]/);
    expect(() => hashedConv2d(undefined as never)).toThrow('HashedConv2D: expected an options object with filters, kernelSize and compression, got undefined.');
  });

  it('inputs that are no images', () => {
    expect(() => hashedConv2d(base).apply(tf.zeros([6, 6, 2]))).toThrow("HashedConv2D: layer 'conv' expects images [batch, height, width, channels] with a known number of channels, got [6, 6, 2].");
    expect(() => hashedConv2d({ ...base, dataFormat: 'channelsFirst' }).apply(input({ shape: [null as never, 6, 6] }))).toThrow(/expects images \[batch, channels, height, width\].*got \[null, null, 6, 6\]/);
    const layer = hashedConv2d(base);
    layer.apply(x());
    expect(() => layer.apply(tf.zeros([1, 6, 6, 3]))).toThrow(/expected axis 3 of input shape to have value 2/);
    expect(() => hashedConv2d(base).apply([x(), x()])).toThrow("HashedConv2D: layer 'conv' takes one input, or [input, bank] with a bank from hashedBank, got inputs of shapes [1, 6, 6, 2] and [1, 6, 6, 2].");
  });
});
