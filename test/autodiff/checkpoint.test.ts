import * as tf from '@tensorflow/tfjs-core';
import { initializers, layers } from '@tensorflow/tfjs-layers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkpointed, type ChainStep } from '../../src/autodiff/checkpoint.js';
import { linearize, pulledBack } from '../../src/autodiff/linearize.js';
import { withFixedDraws } from '../../src/autodiff/fixed_draws.js';
import { expectNear, peakBytes, seeded } from '../contract/fixtures.js';

let before = 0;
beforeEach(() => {
  before = tf.memory().numTensors;
  tf.engine().startScope();
});
afterEach(() => {
  tf.engine().endScope();
  expect(tf.memory().numTensors, 'tensors left behind').toBe(before);
});

const product = (a: tf.Tensor, b: tf.Tensor) => tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D);
const plain = (steps: readonly ChainStep[], state: tf.Tensor[], inputs: tf.Tensor[]) => steps.reduce<tf.Tensor[]>((s, step) => step(s, inputs), state);
const values = async (tensors: tf.Tensor[]) => Promise.all(tensors.map(async (tensor) => Array.from(await tensor.data())));
const weights = (...shapes: number[][]) => shapes.map((shape, i) => tf.tidy(() => tf.variable(tf.mul(0.5, seeded(shape, 50 + i)))));

describe('checkpointed', () => {
  const cases: Array<[number, number | undefined]> = [[1, undefined], [6, undefined], [6, 1], [6, 4], [6, 6], [5, 100]]; // prettier-ignore
  it.each(cases)('gives the values and, to the last bit, the gradients of the plain chain: %s steps in segments of %s', async (count, segment) => {
    const [w, v, b] = weights([4, 4], [4, 4], [4]);
    // Each weight used twice in a step: the order of the sums matters to the last bit.
    const steps = Array<ChainStep>(count).fill(([h, c], [x]) => {
      const mixed = tf.tanh(tf.add(tf.add(product(h, w), product(c, v)), tf.add(b, x)));
      return [mixed, tf.add(c, tf.mul(mixed, tf.sigmoid(tf.add(product(mixed, w), b))))];
    });
    const given = [seeded([3, 4], 1), seeded([3, 4], 2), seeded([3, 4], 3)];
    const loss = (run: (state: tf.Tensor[], inputs: tf.Tensor[]) => tf.Tensor[]) =>
      tf.grads((h: tf.Tensor, c: tf.Tensor, x: tf.Tensor, ...rest: tf.Tensor[]) => {
        void rest; // the variables are closed over
        const [p, q] = run([h, c], [x]);
        return tf.sum(tf.add(tf.square(p), tf.mul(q, 3)));
      })([...given, w, v, b]);
    const expected = loss((state, inputs) => plain(steps, state, inputs));
    const got = loss((state, inputs) => checkpointed(steps, state, { inputs, variables: [w, v, b, w], segment }));
    expect(await values(got)).toEqual(await values(expected));
    expect(await values(checkpointed(steps, given.slice(0, 2), { inputs: given.slice(2) }))).toEqual(await values(plain(steps, given.slice(0, 2), given.slice(2))));
    tf.dispose([w, v, b]);
  });

  it('keeps gradients from what is not listed, and gives zeros for what a step does not use', async () => {
    const [w, v] = weights([4, 4], [4, 4]);
    const steps: ChainStep[] = [([h]) => [product(h, w)], ([h]) => [product(h, v)]];
    const { grads } = tf.variableGrads(() => tf.sum(checkpointed(steps, [seeded([2, 4], 1)], { variables: [w] })[0]) as tf.Scalar, [w]);
    expect(Object.keys(grads)).toEqual([w.name]);
    const unused = tf.grads((x: tf.Tensor, mask: tf.Tensor) => tf.sum(checkpointed(steps, [x], { inputs: [mask] })[0]))([seeded([2, 4], 1), seeded([2, 4], 2)]);
    expect(Array.from(await unused[1].data())).toEqual(Array(8).fill(0));
    tf.dispose([w, v]);
  });

  it('hands on masks and numbers that are not differentiated, and states that pass through', async () => {
    const [w] = weights([4, 4]);
    const mask = tf.tensor2d([[1], [0]], [2, 1], 'bool');
    const steps = Array<ChainStep>(3).fill(([h, first], [m]) => [tf.mul(tf.tanh(product(h, w)), tf.cast(m, 'float32')), first]);
    const loss = (run: (x: tf.Tensor) => tf.Tensor[]) => tf.grad((x: tf.Tensor) => tf.sum(tf.mul(run(x)[0], run(x)[1])))(seeded([2, 4], 1));
    const expected = loss((x) => plain(steps, [x, x], [mask]));
    expect(await values([loss((x) => checkpointed(steps, [x, x], { inputs: [mask] }))])).toEqual(await values([expected]));
    w.dispose();
  });

  it('draws the same random numbers again, others in the next step and the next call', async () => {
    const x = tf.ones([4, 16]);
    const steps = Array<ChainStep>(4).fill(([h]) => [tf.mul(h, tf.cast(tf.greater(tf.randomUniform(h.shape), 0.3), 'float32'))]);
    const run = () => tf.valueAndGrad((h: tf.Tensor) => tf.sum(checkpointed(steps, [h])[0]))(x);
    const first = run();
    // The product of the masks is the gradient; its sum is the value.
    expect((await first.value.data())[0]).toBe((await tf.sum(first.grad).data())[0]);
    const second = run();
    expect(await values([second.grad])).not.toEqual(await values([first.grad]));
    const [one, four] = [1, 4].map((count) => withFixedDraws(7, () => checkpointed(steps.slice(0, count), [x])[0]));
    expect(await values([one])).not.toEqual(await values([four]));
  });

  it('takes layers with dropout', async () => {
    const [dense, dropout] = [layers.dense({ units: 8, kernelInitializer: initializers.glorotNormal({ seed: 1 }) }), layers.dropout({ rate: 0.5 })];
    const x = seeded([4, 8], 1);
    dense.apply(x);
    const variables = dense.trainableWeights.map((weight) => weight.read() as tf.Variable);
    const steps = Array<ChainStep>(3).fill(([h]) => [dropout.apply(dense.apply(h), { training: true }) as tf.Tensor]);
    // Linear: loss = Σ weightᵀ·gradient for the kernel of the last step alone; here three, and Euler's identity for a homogeneous function (bias 0).
    const { value, grads } = tf.variableGrads(() => tf.sum(checkpointed(steps, [x], { variables })[0]) as tf.Scalar, variables);
    const kernel = variables.find(({ rank }) => rank === 2)!;
    expectNear('sum of kernel times gradient', await tf.sum(tf.mul(kernel, grads[kernel.name])).data(), await tf.mul(value, 3).data(), 1e-4);
    dense.dispose();
  });

  it('works inside of tf.customGrad’s gradient function, of linearize, and of itself', async () => {
    const [w] = weights([4, 4]);
    const step: ChainStep = ([h]) => [tf.tanh(product(h, w))];
    const [x, dy] = [seeded([2, 4], 1), seeded([2, 4], 2)];
    const reference = tf.grads((h: tf.Tensor, k: tf.Tensor) => (void k, plain(Array(4).fill(step), [h], [])[0]))([x, w], dy);
    const args = { variables: [w] };
    const linear = linearize((h) => checkpointed(Array(4).fill(step), [h], args), [x, w]);
    for (let round = 0; round < 2; round++) expect(await values(linear.vjp([dy]))).toEqual(await values(reference));
    linear.dispose();
    const twice: ChainStep = (state) => checkpointed([step, step], state, { ...args, segment: 1 });
    const nested = tf.grads((h: tf.Tensor, k: tf.Tensor) => (void k, checkpointed([twice, twice], [h], { ...args, segment: 1 })[0]))([x, w], dy);
    for (const i of [0, 1]) expectNear(`gradient ${i} of the nested chain`, (await values(nested))[i], (await values(reference))[i], 1e-6);
    const through = tf.customGrad((h) => ({
      value: tf.clone(h as tf.Tensor),
      gradFunc: (cotangent: tf.Tensor) => pulledBack((z) => checkpointed(Array(4).fill(step), [z], args), [x], [cotangent]),
    }));
    expect(await values([tf.grad((h: tf.Tensor) => through(h))(x, dy)])).toEqual(await values([reference[0]]));
    w.dispose();
  });

  it('has second derivatives where the host has those of the plain chain', async () => {
    const [w] = weights([4, 4]);
    const steps = Array<ChainStep>(3).fill(([h]) => [tf.add(h, tf.square(product(h, w)))]);
    const x = seeded([2, 4], 1);
    const second = (run: (h: tf.Tensor) => tf.Tensor) => tf.grads((h: tf.Tensor, k: tf.Tensor) => (void k, tf.sum(tf.square(tf.grad((z: tf.Tensor) => tf.sum(run(z)))(h)))))([x, w]);
    const expected = await values(second((h) => plain(steps, [h], [])[0]));
    const got = await values(second((h) => checkpointed(steps, [h], { variables: [w] })[0]));
    for (const i of [0, 1]) expectNear(`second derivative ${i}`, got[i], expected[i], 1e-5);
    w.dispose();
  });

  it('keeps at twelve steps less than 40 % of what the plain chain keeps', async () => {
    const [w, v] = weights([16, 64], [64, 16]);
    const steps = Array<ChainStep>(12).fill(([h]) => [tf.add(h, tf.tanh(product(tf.sigmoid(product(h, w)), v)))]);
    const x = seeded([64, 16], 1);
    const peak = (run: () => tf.Tensor) => peakBytes(() => void tf.variableGrads(() => tf.sum(run()) as tf.Scalar, [w, v]));
    const all = await peak(() => plain(steps, [x], [])[0]);
    for (const segment of [undefined, 1, 2]) {
      expect((await peak(() => checkpointed(steps, [x], { variables: [w, v], segment })[0])) / all, `share of memory in segments of ${String(segment)}`).toBeLessThan(0.4);
    }
    tf.dispose([w, v]);
  });

  it('says what is wrong with its arguments', () => {
    const x = seeded([2, 2], 1);
    const identity: ChainStep = ([h]) => [h];
    expect(() => checkpointed([], [x])).toThrow('checkpointed: expected a list of one or more functions (state, inputs) => next state, got [].');
    expect(() => checkpointed([identity], [x], { segment: 0 })).toThrow('checkpointed: segment must be an integer ≥ 1, got 0.');
    expect(() => checkpointed([identity], [x], { variabels: [] } as object)).toThrow(/unknown option 'variabels'. Did you mean 'variables'/);
    expect(() => checkpointed([(([h]: tf.Tensor[]) => h) as never], [x])).toThrow('checkpointed: a step must return a list of tensors, got Tensor.');
    expect(() => tf.grad((h: tf.Tensor) => tf.cast(checkpointed([([z]) => [tf.cast(z, 'int32')]], [h])[0], 'float32'))(x)).toThrow(/the last state must be float32, one part is int32/);
  });
});
