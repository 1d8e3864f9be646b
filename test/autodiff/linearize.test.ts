import * as tf from '@tensorflow/tfjs-core';
import { initializers, input, layers, model as functional, type LayersModel } from '@tensorflow/tfjs-layers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { linearize } from '../../src/autodiff/linearize.js';
import { activeTape, disposeWithTape, isRecording, record, withoutTape } from '../../src/autodiff/tape.js';
import { seeded } from '../contract/fixtures.js';
import { relativeError } from '../helpers.js';

type State = Record<'activeTape' | 'gradientDepth' | 'kernelDepth', unknown> & { scopeStack: unknown[] };
const state = () => (tf.engine() as unknown as { state: State }).state;
const close = async (got: tf.Tensor, want: tf.Tensor, tolerance = 2e-6) => {
  expect(got.shape).toEqual(want.shape);
  expect(relativeError(await got.data(), await want.data())).toBeLessThan(tolerance);
};

/** Everything stays as it was, and nothing is left behind. */
let before: { tensors: number; tape: unknown; gradientDepth: unknown; kernelDepth: unknown; scopes: number };
beforeEach(() => {
  const { activeTape: tape, gradientDepth, kernelDepth, scopeStack } = state();
  before = { tensors: tf.memory().numTensors, tape, gradientDepth, kernelDepth, scopes: scopeStack.length };
});
afterEach(() => {
  const { gradientDepth, kernelDepth, scopeStack } = state();
  expect({ gradientDepth, kernelDepth, scopes: scopeStack.length }).toEqual({ gradientDepth: before.gradientDepth, kernelDepth: before.kernelDepth, scopes: before.scopes });
  expect(Object.getOwnPropertyNames(tf.engine())).not.toContain('runKernelFunc');
  expect(tf.memory().numTensors).toBe(before.tensors);
});

/** Runs `body` and disposes of all the tensors that are made until it has ended, also after an `await`. */
async function clean(body: () => Promise<void>): Promise<void> {
  tf.engine().startScope();
  try {
    await body();
  } finally {
    tf.engine().endScope();
  }
}

describe('linearize', () => {
  it('gives the value of f and products with its Jacobian for inputs, variables and what f closes over', () =>
    clean(async () => {
      const [x, w, b] = [seeded([3, 4], 1), seeded([4, 4], 2) as tf.Tensor2D, seeded([4], 3)];
      const weight = tf.variable(w);
      const f = (z: tf.Tensor) => tf.tanh(tf.add(tf.matMul(z as tf.Tensor2D, weight as tf.Tensor2D), b));
      const linear = linearize((z) => f(z), [x, weight, b]);
      await close(linear.value[0], f(x));
      for (const seed of [4, 5, 6]) {
        const cotangent = seeded([3, 4], seed);
        const reference = tf.grads((z: tf.Tensor, v: tf.Tensor, c: tf.Tensor) => tf.tanh(tf.add(tf.matMul(z as tf.Tensor2D, v as tf.Tensor2D), c)))([x, w, b], cotangent);
        const products = linear.vjp([cotangent]);
        for (let i = 0; i < 3; i++) await close(products[i], reference[i]);
        await close(linear.vjp([cotangent], [weight])[0], reference[1]);
      }
      linear.dispose();
      weight.dispose();
    }));

  it('runs f once, however many products are asked for, and only the kernels that depend on the cotangent after the first', () =>
    clean(async () => {
      let calls = 0;
      const z = seeded([3, 4], 1);
      const w = seeded([4, 4], 2);
      const linear = linearize((x) => (calls++, tf.tanh(tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D))), [z]);
      linear.vjp([seeded([3, 4], 3)]);
      const cotangent = seeded([3, 4], 4);
      const { kernels } = await tf.profile(() => linear.vjp([cotangent]));
      expect(calls).toBe(1);
      expect(kernels.map(({ name }) => name)).toEqual(['Multiply', 'BatchMatMul']);
      linear.dispose();
    }));

  it('takes several inputs and outputs of different shapes, and zeros where there is no dependence', () =>
    clean(async () => {
      const [a, b, c] = [seeded([2, 3], 1), seeded([2], 2), seeded([5], 3)];
      const linear = linearize((p, q) => [tf.mul(p, tf.expandDims(q, 1)), tf.exp(q), q], [a, b, c]);
      const seeds = [seeded([2, 3], 4), seeded([2], 5), seeded([2], 6)];
      const [da, db, dc] = linear.vjp(seeds);
      await close(da, tf.mul(seeds[0], tf.expandDims(b, 1)));
      await close(db, tf.addN([tf.sum(tf.mul(seeds[0], a), 1), tf.mul(seeds[1], tf.exp(b)), seeds[2]]));
      expect(Array.from(await dc.data())).toEqual([0, 0, 0, 0, 0]);
      expect([a, b, c].map((input) => linear.dependsOn(input))).toEqual([true, true, false]);
      linear.dispose();
    }));

  it('hands out results that may be disposed of one by one, also where f is the identity or names a tensor twice', () =>
    clean(async () => {
      const z = seeded([2, 2], 1);
      const linear = linearize((x) => [x, x], [z]);
      const cotangent = seeded([2, 2], 2);
      for (let round = 0; round < 3; round++) {
        const [product] = linear.vjp([cotangent, cotangent]);
        await close(product, tf.mul(cotangent, 2));
        product.dispose();
        expect(cotangent.isDisposed || z.isDisposed).toBe(false);
      }
      linear.dispose();
    }));

  it('pushes tangents forward, as the transpose of the backward pass', () =>
    clean(async () => {
      const [z, w] = [seeded([3, 4], 1), seeded([4, 2], 2)];
      const f = (x: tf.Tensor) => tf.sigmoid(tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D));
      const linear = linearize(f, [z]);
      for (const seed of [3, 4]) {
        const tangent = seeded([3, 4], seed);
        const slope = tf.mul(f(z), tf.sub(1, f(z)));
        await close(linear.jvp([tangent])[0], tf.mul(slope, tf.matMul(tangent as tf.Tensor2D, w as tf.Tensor2D)));
      }
      linear.dispose();
    }));

  it('works through layers: dense, normalisation, convolution', () =>
    clean(async () => {
      if (tf.getBackend() === 'wasm') return; // has no gradient of convolutions
      const image = input({ shape: [4, 4, 2] });
      const conv = layers.conv2d({ filters: 2, kernelSize: 3, padding: 'same', activation: 'tanh', kernelInitializer: initializers.glorotNormal({ seed: 7 }) }).apply(image);
      const cell: LayersModel = functional({ inputs: image, outputs: layers.dense({ units: 2, activation: 'sigmoid', kernelInitializer: initializers.glorotNormal({ seed: 8 }) }).apply(layers.layerNormalization().apply(conv)) as never });
      const z = seeded([2, 4, 4, 2], 1);
      const weights = cell.trainableWeights.map((weight) => weight.read());
      const linear = linearize((x) => cell.apply(x, { training: true }) as tf.Tensor, [z, ...weights]);
      const cotangents = [seeded([2, 4, 4, 2], 2), seeded([2, 4, 4, 2], 3)];
      for (const cotangent of cotangents) {
        const { grads } = tf.variableGrads(() => tf.sum(tf.mul(cell.apply(z) as tf.Tensor, cotangent)), weights as tf.Variable[]);
        const products = linear.vjp([cotangent]);
        await close(products[0], tf.grad((x) => cell.apply(x) as tf.Tensor)(z, cotangent), 1e-5);
        for (let i = 0; i < weights.length; i++) await close(products[i + 1], grads[(weights[i] as tf.Variable).name], 1e-5);
      }
      linear.dispose();
      cell.dispose();
    }));

  it('walks the tape each time where a gradient looks at values, so that it may branch on them', () =>
    clean(async () => {
      if (tf.getBackend() === 'webgpu' || tf.getBackend() === 'webgl') return;
      const doubledIfPositive = tf.customGrad((x: tf.Tensor | object) => ({
        value: tf.clone(x as tf.Tensor),
        gradFunc: (dy: tf.Tensor) => (dy.dataSync()[0] > 0 ? tf.mul(dy, 2) : tf.clone(dy)),
      }));
      const linear = linearize((x) => tf.mul(doubledIfPositive(x), 3), [tf.tensor1d([1])]);
      const at = async (value: number) => (await linear.vjp([tf.tensor1d([value])])[0].data())[0];
      expect([await at(1), await at(-1), await at(2)]).toEqual([6, -3, 12]);
      linear.dispose();
    }));

  it('can be called inside of tf.grads, whose gradients go through its value', () =>
    clean(async () => {
      const x = seeded([3], 1);
      const gradient = tf.grad((z) => {
        const linear = linearize((y) => tf.exp(y), [z]);
        linear.dispose();
        return tf.sum(linear.value[0]);
      })(x);
      await close(gradient, tf.exp(x));
    }));

  it('gives second derivatives inside of tf.grads', () =>
    clean(async () => {
      const x = seeded([3], 1);
      const second = tf.grad((z) => tf.sum(linearize((y) => tf.exp(tf.mul(y, 2)), [z]).vjp([tf.ones([3])])[0]))(x);
      await close(second, tf.mul(4, tf.exp(tf.mul(x, 2))));
      const tangent = seeded([3], 2);
      const mixed = tf.grad((z) => tf.sum(linearize((y) => tf.exp(tf.mul(y, 2)), [z]).jvp([tangent])[0]))(x);
      await close(mixed, tf.mul(tangent, tf.mul(4, tf.exp(tf.mul(x, 2)))));
      const third = tf.grad((u) => tf.sum(tf.grad((z) => tf.sum(linearize((y) => tf.exp(tf.mul(y, 2)), [z]).vjp([tf.ones([3])])[0]))(u)))(x);
      await close(third, tf.mul(8, tf.exp(tf.mul(x, 2))));
    }));

  it('can be called inside of tf.customGrad and of its gradient function', () =>
    clean(async () => {
      const x = seeded([3], 1);
      const f = tf.customGrad((z: tf.Tensor | object) => {
        const linear = linearize((y) => tf.exp(y), [z as tf.Tensor]);
        disposeWithTape(linear);
        return {
          value: linear.value[0],
          gradFunc: (dy: tf.Tensor) => {
            const again = linearize((y) => tf.exp(y), [z as tf.Tensor]);
            const [a, b] = [linear.vjp([dy])[0], again.vjp([dy])[0]];
            again.dispose();
            return tf.mul(tf.add(a, b), 0.5);
          },
        };
      });
      await close(tf.grad((z) => tf.sum(tf.square(f(z))))(x), tf.mul(2, tf.exp(tf.mul(x, 2))));
    }));

  it('nests', () =>
    clean(async () => {
      const x = seeded([3], 1);
      const outer = linearize((z) => linearize((y) => tf.exp(tf.mul(y, 2)), [z]).vjp([tf.ones([3])])[0], [x]);
      for (let round = 0; round < 2; round++) await close(outer.vjp([tf.ones([3])])[0], tf.mul(4, tf.exp(tf.mul(x, 2))));
      outer.dispose();
    }));

  it('leaves the tape as it found it, and nothing behind, when f throws', () => {
    const x = tf.tensor1d([1, 2]);
    const bad = () => linearize((z) => { tf.exp(z); throw new Error('bad f'); }, [x]); // prettier-ignore
    expect(bad).toThrow('bad f');
    tf.grad((z) => {
      const tape = activeTape();
      expect(bad).toThrow('bad f');
      expect(activeTape()).toBe(tape);
      expect(isRecording()).toBe(true);
      return tf.sum(z);
    })(x).dispose();
    x.dispose();
  });

  it('says which operation has no gradient, which tensor was no input, which shapes do not fit, and that it was disposed of', () => {
    tf.tidy(() => {
      const [x, other] = [tf.tensor1d([3, 1, 2]), tf.scalar(1)];
      const ranked = linearize((z) => tf.topk(z, 2).values, [x]);
      expect(() => ranked.vjp([tf.ones([2])])).toThrow('linearize: the operation TopK has no gradient in this version of @tensorflow/tfjs-core. Compose it of operations that have one.');
      ranked.dispose();
      const linear = linearize((z) => tf.exp(z), [x]);
      expect(() => linear.vjp([x], [other])).toThrow('linearize: wrt names a tensor that is not among the inputs.');
      expect(() => linear.vjp([other])).toThrow('linearize: vjp expects cotangents of shapes [3], got [].');
      expect(() => linear.jvp([x, x])).toThrow('linearize: jvp expects tangents of shapes [3], got [3], [3].');
      linear.dispose();
      linear.dispose();
      expect(() => linear.vjp([x])).toThrow('linearize: this linearization was disposed of.');
    });
  });
});

describe('the engine', () => {
  it('still keeps its tape where this package looks for it', () => {
    for (const key of ['gradientDepth', 'kernelDepth', 'nextTapeNodeId', 'scopeStack']) expect(state()).toHaveProperty(key);
    expect((tf.engine() as unknown as { runKernelFunc: unknown }).runKernelFunc).toBeTypeOf('function');
    const x = tf.scalar(2);
    const { nodes, result, shared } = record(() => tf.mul(tf.square(x), x));
    expect(shared).toBe(false);
    // The others are the copies that it saves.
    expect(nodes.map(({ kernelName }) => kernelName).filter((name) => !name.endsWith('__op'))).toEqual(['Square', 'Multiply']);
    expect(nodes.every(({ gradient, saved, inputs, outputs }) => typeof gradient === 'function' && Array.isArray(saved) && typeof inputs === 'object' && Array.isArray(outputs))).toBe(true);
    nodes.forEach(({ saved }) => saved.forEach((tensor) => tensor.dispose()));
    tf.dispose([x, result]);
  });

  it('frees what stands on its tape when the evaluation ends, also without a backward pass', () => {
    let freed = 0;
    const x = tf.scalar(2);
    tf.grad((z) => (disposeWithTape({ dispose: () => freed++ }), tf.square(z)))(x).dispose();
    expect(freed).toBe(1);
    expect(() => disposeWithTape({ dispose: () => freed++ })).toThrow('outside of a gradient evaluation');
    x.dispose();
  });

  it('records nothing inside of withoutTape, where tf.grads work even inside of tf.customGrad', () => {
    tf.tidy(() => {
      const f = tf.customGrad((z: tf.Tensor | object, save: unknown) => {
        (save as (tensors: tf.Tensor[]) => void)([withoutTape(() => tf.grad((y) => tf.square(y))(z as tf.Tensor))]);
        return { value: tf.square(z as tf.Tensor), gradFunc: (dy: tf.Tensor, [slope]: tf.Tensor[]) => tf.mul(dy, slope) };
      });
      expect(tf.grad((z) => f(z))(tf.scalar(3)).shape).toEqual([]);
      tf.grad((z) => {
        withoutTape(() => expect(isRecording()).toBe(false));
        return tf.square(z);
      })(tf.scalar(1));
    });
  });
});
