import * as tf from '@tensorflow/tfjs-core';
import { initializers, layers, sequential } from '@tensorflow/tfjs-layers';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { planProduct } from '../../src/kernels/transposed_products/plan.js';
import { registerTransposedProducts } from '../../src/kernels/transposed_products/wasm.js';

const onWasm = process.env.TFWS_BACKEND === 'wasm';
const KERNELS = ['BatchMatMul', '_FusedMatMul'];

function register(config: tf.KernelConfig) {
  if (tf.getKernel(config.kernelName, config.backendName) != null) tf.unregisterKernel(config.kernelName, config.backendName);
  tf.registerKernel(config);
}

describe('planProduct', () => {
  it('leaves untransposed and small products to the stock kernel', () => {
    expect(planProduct(1024, 128, 1024, false, false)).toBe('stock');
    expect(planProduct(8, 8, 8, true, false)).toBe('stock');
    expect(planProduct(16, 16, 16, false, true)).toBe('stock');
  });

  it('transposes the smaller of operand and result', () => {
    expect(planProduct(1024, 128, 1024, true, false)).toBe('direct'); // weight gradient: 128×1024 against 1024×1024
    expect(planProduct(128, 1024, 1024, false, true)).toBe('swapped'); // input gradient: two 128×1024 against 1024×1024
    expect(planProduct(256, 512, 16, true, true)).toBe('swapped'); // the 256×16 result instead of both operands
  });

  it('never moves a large matrix for the sake of a vector', () => {
    expect(planProduct(1, 1024, 1024, false, true)).toBe('swapped');
    expect(planProduct(1024, 1024, 1, true, false)).not.toBe('direct');
    expect(planProduct(1000, 1, 1000, true, false)).toBe('direct');
  });
});

if (!onWasm) {
  it('registers nothing without the wasm backend', () => expect(registerTransposedProducts()).toEqual([]));
} else describe('the mended products of the wasm backend', () => {
  const stock = KERNELS.map((name) => tf.getKernel(name, 'wasm'));
  beforeEach(() => void registerTransposedProducts());
  afterAll(() => stock.forEach(register));
  afterEach(() => vi.restoreAllMocks());

  const random = (shape: number[], seed: number) => tf.randomUniform(shape, -1, 1, 'float32', seed);

  /** op(a)·op(b) + bias in float64, the outer dimension of either broadcast. */
  function reference(a: tf.Tensor, b: tf.Tensor, transposeA: boolean, transposeB: boolean, bias?: tf.Tensor, activate = (x: number) => x): number[] {
    const rows = a.shape[a.rank - (transposeA ? 1 : 2)];
    const inner = a.shape[a.rank - (transposeA ? 2 : 1)];
    const columns = b.shape[b.rank - (transposeB ? 2 : 1)];
    const [x, y, shift] = [a.dataSync(), b.dataSync(), bias?.dataSync()];
    const batches = [a.size / (rows * inner), b.size / (inner * columns)];
    const out: number[] = [];
    for (let batch = 0; batch < Math.max(...batches); batch++) {
      const xAt = batches[0] === 1 ? 0 : batch * rows * inner;
      const yAt = batches[1] === 1 ? 0 : batch * inner * columns;
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < columns; j++) {
          let sum = shift?.[j] ?? 0;
          for (let l = 0; l < inner; l++) {
            sum += x[xAt + (transposeA ? l * rows + i : i * inner + l)] * y[yAt + (transposeB ? j * inner + l : l * columns + j)];
          }
          out.push(activate(sum));
        }
      }
    }
    return out;
  }

  function expectClose(actual: tf.Tensor, expected: number[]) {
    const values = actual.dataSync();
    expect(values.length).toBe(expected.length);
    const scale = Math.max(...expected.map(Math.abs), 1e-30);
    const worst = expected.reduce((most, value, i) => Math.max(most, Math.abs(values[i] - value)), 0);
    // Float32 sums of up to a few hundred terms.
    expect(worst / scale).toBeLessThan(2e-6);
  }

  const shapes = [[1, 1, 1], [3, 5, 2], [40, 30, 50], [1, 70, 65], [66, 1, 64], [64, 70, 1], [7, 300, 60], [100, 3, 90]];
  for (const transposeA of [false, true]) {
    for (const transposeB of [false, true]) {
      const operands = (m: number, k: number, n: number, outerA: number[] = [], outerB: number[] = []) => [
        random([...outerA, ...(transposeA ? [k, m] : [m, k])], 1),
        random([...outerB, ...(transposeB ? [n, k] : [k, n])], 2),
      ];
      const title = `transposeA ${transposeA}, transposeB ${transposeB}`;

      it(`equals the float64 product of matrices, ${title}`, () => tf.tidy(() => {
        for (const [m, k, n] of shapes) {
          const [a, b] = operands(m, k, n);
          const c = tf.matMul(a, b, transposeA, transposeB);
          expect(c.shape).toEqual([m, n]);
          expectClose(c, reference(a, b, transposeA, transposeB));
        }
      }));

      it(`equals the stock kernel on batches and broadcast operands, ${title}`, () => tf.tidy(() => {
        for (const [outerA, outerB] of [[[3], [3]], [[3], [1]], [[1], [3]], [[1], [1]], [[1, 1], [1, 1]], [[2, 1], [2, 3]]]) {
          const [a, b] = operands(40, 30, 50, outerA, outerB);
          const mended = tf.matMul(a, b, transposeA, transposeB);
          const ours = KERNELS.map((name) => tf.getKernel(name, 'wasm'));
          stock.forEach(register);
          const untouched = tf.matMul(a, b, transposeA, transposeB);
          ours.forEach(register);
          expect(mended.shape).toEqual(untouched.shape);
          expectClose(mended, Array.from(untouched.dataSync()));
        }
      }));

      it(`fuses bias and activation rightly, ${title}`, () => tf.tidy(() => {
        const alpha = random([50], 4);
        const activations: Array<[tf.fused.Activation, (x: number, column: number) => number]> = [
          ['linear', (x) => x],
          ['relu', (x) => Math.max(x, 0)],
          ['relu6', (x) => Math.min(Math.max(x, 0), 6)],
          ['elu', (x) => (x > 0 ? x : Math.expm1(x))],
          ['sigmoid', (x) => 1 / (1 + Math.exp(-x))],
          ['leakyrelu', (x) => (x > 0 ? x : 0.3 * x)],
          ['prelu', (x, column) => (x > 0 ? x : alpha.dataSync()[column] * x)],
        ];
        for (const outer of [[1], [2]]) {
          const [a, b] = operands(20, 100, 50, outer, outer);
          const bias = random([50], 3);
          for (const [activation, f] of activations) {
            for (const withBias of [true, false]) {
              const prelu = activation === 'prelu' ? { preluActivationWeights: alpha } : {};
              const c = tf.fused.matMul({ a: a as tf.Tensor3D, b: b as tf.Tensor3D, transposeA, transposeB, activation, leakyreluAlpha: 0.3, ...(withBias ? { bias } : {}), ...prelu });
              let column = 0;
              expectClose(c, reference(a, b, transposeA, transposeB, withBias ? bias : undefined, (x) => f(x, column++ % 50)));
            }
          }
        }
      }));
    }
  }

  it('gives the right product of one buffer seen in two shapes', () => tf.tidy(() => {
    const b = random([2, 3], 1);
    const turned = tf.reshape(b, [3, 2]);
    const a = random([4, 2], 2);
    expectClose(tf.matMul(a, b), reference(a, b, false, false));
    const c = random([4, 3], 3);
    expectClose(tf.matMul(c, turned), reference(c, turned, false, false));
  }));

  it('differentiates a dense layer with one unit, whose kernel is packed as [k, 1] and [1, k]', () => tf.tidy(() => {
    const [x, w] = [random([400, 50], 1), random([50, 1], 2)];
    const [dx, dw] = tf.grads((p: tf.Tensor, q: tf.Tensor) => tf.sum(tf.square(tf.matMul(p as tf.Tensor2D, q as tf.Tensor2D))))([x, w]);
    const y2 = tf.tensor2d(reference(x, w, false, false).map((value) => 2 * value), [400, 1]);
    expectClose(dx, reference(y2, w, false, true));
    expectClose(dw, reference(x, y2, true, false));
  }));

  it('leaves no memory behind', () => {
    const backend = tf.backend() as unknown as { numDataIds(): number };
    const [a, b, bias] = [random([100, 60], 1), random([70, 100], 2), random([70], 3)];
    const [tensors, buffers] = [tf.memory().numTensors, backend.numDataIds()];
    for (let i = 0; i < 3; i++) {
      tf.matMul(a, b, true, true).dispose();
      tf.fused.matMul({ a: a as tf.Tensor2D, b: b as tf.Tensor2D, transposeA: true, transposeB: true, bias, activation: 'relu' }).dispose();
    }
    expect([tf.memory().numTensors, backend.numDataIds()]).toEqual([tensors, buffers]);
    tf.dispose([a, b, bias]);
  });

  it('keeps the message of the stock kernel for shapes that do not fit and for other types', () => {
    expect(() => tf.matMul(tf.ones([2, 3]), tf.ones([2, 4]))).toThrow('inner shapes (3) and (2)');
    expect(() => tf.matMul(tf.ones([2, 3], 'int32'), tf.ones([3, 4], 'int32'))).toThrow('float32');
  });

  it('trains a dense layer to the same weights as the stock kernels', async () => {
    const train = async () => {
      const model = sequential({ layers: [
        layers.dense({ units: 64, inputShape: [80], activation: 'relu', kernelInitializer: initializers.glorotUniform({ seed: 7 }) }),
        layers.dense({ units: 3, kernelInitializer: initializers.glorotUniform({ seed: 8 }) }),
      ] });
      model.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
      const [x, y] = [random([96, 80], 5), random([96, 3], 6)];
      await model.fit(x, y, { epochs: 2, batchSize: 32, shuffle: false, verbose: 0 });
      const kernel = Array.from(model.getWeights()[0].dataSync());
      tf.dispose([x, y]);
      model.dispose();
      return kernel;
    };
    const mended = await train();
    stock.forEach(register);
    const untouched = await train();
    expect(Math.max(...mended.map((value, i) => Math.abs(value - untouched[i])))).toBeLessThan(1e-5);
  });

  it('names what it registers, once, and without a word on the console', () => {
    stock.forEach(register);
    const warn = vi.spyOn(console, 'warn');
    expect(registerTransposedProducts()).toEqual(['wasm/BatchMatMul', 'wasm/_FusedMatMul']);
    expect(registerTransposedProducts()).toEqual([]);
    expect(warn).not.toHaveBeenCalled();
  });

  it('keeps the set-up of the stock kernels, so that it may be called before the backend is set', () => {
    for (const [i, name] of KERNELS.entries()) expect(tf.getKernel(name, 'wasm').setupFunc).toBe(stock[i].setupFunc);
  });
});
