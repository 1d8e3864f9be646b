/** What stock layers need in training, on the backend that lacks it: every one of them trains on wasm as on cpu. */
import * as tf from '@tensorflow/tfjs-core';
import { initializers, layers, sequential } from '@tensorflow/tfjs-layers';
import type { layers as hostLayers } from '@tensorflow/tfjs-layers';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { registerMissingKernels } from '../../src/kernels/missing_kernels.js';
import { relativeError, seededUniform } from '../helpers.js';

const REGISTERED = {
  cpu: ['GatherV2', 'UnsortedSegmentSum'],
  wasm: [
    'BatchMatMul', '_FusedMatMul', 'GatherV2', 'UnsortedSegmentSum', 'Conv2DBackpropFilter', 'Conv2DBackpropInput',
    'DepthwiseConv2dNativeBackpropFilter', 'DepthwiseConv2dNativeBackpropInput', 'Conv3DBackpropInputV2', 'MaxPoolGrad',
    'Identity', 'Sum',
  ],
  tensorflow: ['Step'],
};
const names = Object.entries(REGISTERED).flatMap(([backend, kernels]) => kernels.map((kernel) => [backend, kernel] as const));
const onWasm = process.env.TFWS_BACKEND === 'wasm';

/** Puts the kernels back as they were: other suites count on the stock ones. */
let stock: Array<tf.KernelConfig | undefined> = [];
function restore() {
  names.forEach(([backend, kernel], i) => {
    if (tf.getKernel(kernel, backend) != null) tf.unregisterKernel(kernel, backend);
    const before = stock[i];
    if (before != null) tf.registerKernel(before);
  });
}

beforeAll(async () => {
  if (onWasm) await import('@tensorflow/tfjs-backend-cpu'); // what results are held against
  stock = names.map(([backend, kernel]) => tf.getKernel(kernel, backend));
});
afterAll(restore);

it('names what it registers for the backends that are imported, once, and without a word on the console', () => {
  restore();
  const warn = vi.spyOn(console, 'warn');
  const imported = names.filter(([backend]) => tf.getKernel('Identity', backend) != null);
  expect(registerMissingKernels().sort()).toEqual(imported.map((name) => name.join('/')).sort());
  expect(registerMissingKernels()).toEqual([]);
  expect(warn).not.toHaveBeenCalled();
  warn.mockRestore();
});

if (process.env.TFWS_BACKEND === 'tensorflow') it('takes the step of every number in one new tensor, and what is not a number stays so', async () => {
  registerMissingKernels();
  const x = tf.tensor1d([-Infinity, -2, -1e-30, -0, 0, 1e-30, 3, Infinity, NaN]);
  const before = tf.engine().backend.numDataIds();
  const steps = tf.step(x);
  expect(tf.engine().backend.numDataIds()).toBe(before + 1);
  expect([...(await steps.data())]).toEqual([0, 0, 0, 0, 0, 1, 1, 1, NaN]);
  const leaky = tf.step(tf.tensor1d([-1, 2]), 0.25);
  expect([...(await leaky.data())]).toEqual([0.25, 1]);
});

type Layer = hostLayers.Layer;
interface Case {
  input: number[];
  make: () => Layer;
  /** Numbers in [0, integers) as input. */
  integers?: number;
}

const seeded = (seed: number) => initializers.glorotUniform({ seed });
const recurrent = { units: 3, kernelInitializer: seeded(1), recurrentInitializer: seeded(2) };
const conv = { kernelInitializer: seeded(1), biasInitializer: initializers.randomUniform({ minval: -1, maxval: 1, seed: 9 }) };
const depthwise = { biasInitializer: conv.biasInitializer, depthwiseInitializer: seeded(1), pointwiseInitializer: seeded(3) };

const CASES: Record<string, Case> = {
  dense: { input: [5], make: () => layers.dense({ units: 4, activation: 'softmax', kernelInitializer: seeded(1) }) },
  embedding: { input: [6], integers: 10, make: () => layers.embedding({ inputDim: 10, outputDim: 4, embeddingsInitializer: seeded(1) }) },
  conv1d: { input: [8, 2], make: () => layers.conv1d({ filters: 3, kernelSize: 3, strides: 2, ...conv }) },
  'conv2d with an activation': { input: [8, 7, 2], make: () => layers.conv2d({ filters: 3, kernelSize: 3, activation: 'relu', ...conv }) },
  'conv2d fused, strided, same': { input: [8, 7, 3], make: () => layers.conv2d({ filters: 9, kernelSize: [3, 2], strides: 2, padding: 'same', ...conv }) },
  'conv2d channelsFirst': { input: [2, 8, 7], make: () => layers.conv2d({ filters: 3, kernelSize: 3, dataFormat: 'channelsFirst', ...conv }) },
  conv2dTranspose: { input: [5, 6, 2], make: () => layers.conv2dTranspose({ filters: 3, kernelSize: 3, strides: 2, padding: 'same', ...conv }) },
  depthwiseConv2d: { input: [8, 7, 3], make: () => layers.depthwiseConv2d({ kernelSize: 3, depthMultiplier: 2, strides: 2, padding: 'same', ...depthwise }) },
  separableConv2d: { input: [8, 7, 3], make: () => layers.separableConv2d({ filters: 4, kernelSize: 3, ...depthwise }) },
  conv3d: { input: [4, 5, 4, 2], make: () => layers.conv3d({ filters: 3, kernelSize: 2, ...conv }) },
  convLstm2d: { input: [3, 5, 4, 2], make: () => layers.convLstm2d({ filters: 2, kernelSize: 2, kernelInitializer: seeded(1), recurrentInitializer: seeded(2) }) },
  maxPooling1d: { input: [8, 2], make: () => layers.maxPooling1d({ poolSize: 2 }) },
  maxPooling2d: { input: [8, 7, 2], make: () => layers.maxPooling2d({ poolSize: 3, strides: 2, padding: 'same' }) },
  averagePooling2d: { input: [8, 7, 2], make: () => layers.averagePooling2d({ poolSize: 3, strides: 2, padding: 'same' }) },
  'maxPooling2d, windows that overlap': { input: [8, 7, 2], make: () => layers.maxPooling2d({ poolSize: [2, 3], strides: 1, padding: 'same' }) },
  globalMaxPooling2d: { input: [5, 4, 2], make: () => layers.globalMaxPooling2d({}) },
  globalAveragePooling2d: { input: [5, 4, 2], make: () => layers.globalAveragePooling2d({}) },
  // The cpu backend's own gradient confuses height and width.
  upSampling2d: { input: [4, 4, 2], make: () => layers.upSampling2d({ interpolation: 'bilinear' }) },
  batchNormalization: { input: [5, 4, 2], make: () => layers.batchNormalization({}) },
  layerNormalization: { input: [5, 4], make: () => layers.layerNormalization({}) },
  simpleRNN: { input: [5, 2], make: () => layers.simpleRNN({ ...recurrent, returnSequences: true }) },
  lstm: { input: [5, 2], make: () => layers.lstm(recurrent) },
  gru: { input: [5, 2], make: () => layers.gru(recurrent) },
  bidirectional: { input: [5, 2], make: () => layers.bidirectional({ layer: layers.lstm(recurrent) as never, mergeMode: 'concat' }) },
  timeDistributed: { input: [5, 2], make: () => layers.timeDistributed({ layer: layers.dense({ units: 3, kernelInitializer: seeded(1) }) }) },
  ...Object.fromEntries(
    (['elu', 'hardSigmoid', 'relu6', 'selu', 'sigmoid', 'softplus', 'softsign', 'tanh', 'swish', 'mish', 'gelu'] as const).map((activation) =>
      [`activation ${activation}`, { input: [5, 2], make: () => layers.activation({ activation }) }])),
  leakyReLU: { input: [5, 2], make: () => layers.leakyReLU({}) },
  zeroPadding2d: { input: [4, 3, 2], make: () => layers.zeroPadding2d({ padding: [[1, 0], [2, 1]] }) },
  cropping2D: { input: [6, 5, 2], make: () => layers.cropping2D({ cropping: [[1, 0], [2, 1]] }) },
  repeatVector: { input: [3], make: () => layers.repeatVector({ n: 4 }) },
  permute: { input: [3, 4], make: () => layers.permute({ dims: [2, 1] }) },
  prelu: { input: [5, 2], make: () => layers.prelu({}) },
};

if (onWasm) describe('stock layers train on wasm as on cpu', () => {
  beforeAll(() => void registerMissingKernels());

  /** Gradients of one training step with respect to weights and, where it is no number of a row, input; then the layer is gone. */
  async function gradients(backend: string, { input, make, integers }: Case): Promise<Record<string, number[]>> {
    expect(await tf.setBackend(backend)).toBe(true);
    const uniform = seededUniform(7);
    const numbers = Float32Array.from({ length: 2 * input.reduce((size, length) => size * length, 1) }, () =>
      integers === undefined ? 2 * uniform() - 1 : Math.floor(integers * uniform()));
    const layer = make();
    const model = sequential({ layers: [layers.inputLayer({ inputShape: input }), layer] });
    const x = tf.variable(tf.tensor(numbers, [2, ...input]));
    const weights = layer.trainableWeights.map((weight) => weight.read() as tf.Variable);
    const y = model.apply(x, { training: true }) as tf.Tensor;
    const found: Record<string, number[]> = { output: Array.from(await y.data()) };
    const { value, grads } = tf.variableGrads(
      () => tf.tidy(() => {
        const again = model.apply(x, { training: true }) as tf.Tensor;
        // A weight of its own for every output, so that no term of the gradient cancels.
        return tf.sum(tf.mul(again, tf.reshape(tf.cos(tf.range(0, again.size)), again.shape))) as tf.Scalar;
      }),
      integers === undefined ? [...weights, x] : weights,
    );
    const order = [...weights, x];
    for (const [name, gradient] of Object.entries(grads)) {
      found[`gradient ${order.findIndex((variable) => variable.name === name)}`] = Array.from(await gradient.data());
    }
    tf.dispose([y, value, grads]);
    model.dispose();
    x.dispose();
    return found;
  }

  for (const [title, kind] of Object.entries(CASES)) {
    it(title, async () => {
      const expected = await gradients('cpu', kind);
      const found = await gradients('wasm', kind);
      expect(Object.keys(found)).toEqual(Object.keys(expected));
      // The host's own kernels differ in the order of their sums.
      for (const key of Object.keys(expected)) expect(relativeError(found[key], expected[key]), key).toBeLessThan(2e-5);
    });
  }
});

if (onWasm) describe('gradients of convolutions on wasm', () => {
  beforeAll(() => void registerMissingKernels());
  const run = (kernel: string, inputs: Record<string, tf.Tensor>, attrs: object) => tf.engine().runKernel(kernel, inputs as never, attrs as never);
  const image = { strides: 1, pad: 'valid', dataFormat: 'NHWC' };

  it('answers zeros for an empty batch', async () => {
    const dw = run('Conv2DBackpropFilter', { x: tf.zeros([0, 5, 5, 2]), dy: tf.zeros([0, 3, 3, 4]) }, { ...image, filterShape: [3, 3, 2, 4] }) as tf.Tensor;
    expect(dw.shape).toEqual([3, 3, 2, 4]);
    expect(Math.max(...(await dw.data()))).toBe(0);
  });

  it('leaves no memory behind', () => {
    const backend = tf.backend() as unknown as { numDataIds(): number };
    const [x, filter] = [tf.ones([2, 8, 8, 3]) as tf.Tensor4D, tf.ones([3, 3, 3, 4]) as tf.Tensor4D];
    const before = [tf.memory().numTensors, backend.numDataIds()];
    tf.dispose(tf.grads((a: tf.Tensor, b: tf.Tensor) => tf.sum(tf.conv2d(a as tf.Tensor4D, b as tf.Tensor4D, 1, 'same')))([x, filter]));
    tf.dispose(tf.grads((a: tf.Tensor, b: tf.Tensor) => tf.sum(tf.depthwiseConv2d(a as tf.Tensor4D, b as tf.Tensor4D, 1, 'same')))([x, filter]));
    expect([tf.memory().numTensors, backend.numDataIds()]).toEqual(before);
    tf.dispose([x, filter]);
  });

  it('says which shape, type or format does not fit', () => {
    const [x, dy] = [tf.zeros([1, 5, 5, 2]), tf.zeros([1, 3, 3, 4])];
    const attrs = { ...image, filterShape: [3, 3, 2, 4] };
    expect(() => run('Conv2DBackpropFilter', { x, dy: tf.zeros([1, 3, 4, 4]) }, attrs))
      .toThrow("Conv2DBackpropFilter: dy must have the shape of the convolution's result, [1,3,3,4], got [1,3,4,4].");
    expect(() => run('Conv2DBackpropFilter', { x, dy: tf.zeros([3, 3, 4]) }, attrs)).toThrow('Conv2DBackpropFilter: dy must be of rank 4, got [3,3,4].');
    expect(() => run('Conv2DBackpropFilter', { x: tf.cast(x, 'int32'), dy }, attrs)).toThrow('Conv2DBackpropFilter: x must be of type float32, got int32.');
    expect(() => run('Conv2DBackpropFilter', { x, dy }, { ...attrs, dataFormat: 'NCHW' }))
      .toThrow("Conv2DBackpropFilter: the wasm backend convolves 'channelsLast' only, got dataFormat 'NCHW'.");
  });
});
