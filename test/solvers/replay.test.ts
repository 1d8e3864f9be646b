import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-layers';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { anderson } from '../../src/solvers/anderson.js';
import { equilibrium } from '../../src/solvers/equilibrium.js';
import { fixedPointIteration } from '../../src/solvers/fixed_point_iteration.js';
import { implicit } from '../../src/solvers/implicit.js';
import { jacobianPenalty } from '../../src/solvers/jacobian_penalty.js';
import { replayed } from '../../src/solvers/replay.js';
import { seeded } from '../contract/fixtures.js';
import { onGpu, relativeError } from '../helpers.js';

let before = 0;
beforeEach(() => void (before = tf.memory().numTensors));
// What is read of a first failure, on a GPU, is freed when it has come.
afterEach(() => vi.waitFor(() => expect(tf.memory().numTensors).toBe(before)));

describe('a replayed map', () => {
  it('is called once, and computes what depends on its argument again', async () => {
    const [w, x] = [seeded([2, 2], 1), seeded([3, 2], 2)];
    let calls = 0;
    const f = ([z]: tf.Tensor[]) => (calls++, [tf.tanh(tf.add(tf.matMul(z as tf.Tensor2D, w as tf.Tensor2D), tf.exp(x)))]);
    const replay = replayed('test', f);
    for (const seed of [3, 4, 5]) {
      const z = seeded([3, 2], seed);
      const [[got], [expected]] = [replay.f([z]), tf.tidy(() => f([z]))];
      expect(relativeError(await got.data(), await expected.data())).toBeLessThan(1e-6);
      tf.dispose([z, got, expected]);
    }
    expect(calls).toBe(4); // once by the replay
    replay.dispose();
    tf.dispose([w, x]);
  });

  it('runs no kernel for clones and for shapes that stay, which are given back as its own', async () => {
    const replay = replayed('test', ([a, b, c]) => [tf.mul(tf.reshape(tf.clone(a), [3, 2]), 2), tf.reshape(b, [3, 2]), tf.reshape(tf.reshape(tf.neg(c), [6]), [3, 2])]);
    const z = seeded([3, 2], 1);
    const expected = [...(await z.data())];
    tf.dispose(replay.f([z, z, z]));
    const kernels = vi.spyOn(tf.engine(), 'runKernel');
    const [doubled, same, negative] = replay.f([z, z, z]);
    const names = kernels.mock.calls.map(([name]) => name);
    kernels.mockRestore();
    expect(names.filter((name) => name === 'Reshape'), 'there and back').toHaveLength(2);
    expect(names.filter((name) => name === 'Identity'), 'the argument, which is a result').toHaveLength(1);
    expect([...(await doubled.data())]).toEqual(expected.map((value) => Math.fround(2 * value)));
    same.dispose();
    expect([...(await negative.data())]).toEqual(expected.map((value) => -value));
    expect([...(await z.data())]).toEqual(expected);
    tf.dispose([z, doubled, negative]);
    replay.dispose();
  });

  it('is called each time where it decides by the values of its argument', async () => {
    if (onGpu) return;
    let calls = 0;
    const replay = replayed('test', ([z]) => (calls++, [z.dataSync()[0] > 0 ? tf.mul(z, 2) : tf.neg(z)]));
    for (const [value, expected] of [[3, 6], [-3, 3]]) {
      const z = tf.tensor1d([value]);
      const [got] = tf.tidy(() => replay.f([z]));
      expect((await got.data())[0]).toBe(expected);
      tf.dispose([z, got]);
    }
    expect(calls).toBe(2);
    replay.dispose();
  });

  it('may contain another solve that depends on its argument', async () => {
    // y = ½y + z, so y = 2z; z = ¼y + 1, so z = 2.
    const inner = (z: tf.Tensor) => equilibrium(([y]) => [tf.add(tf.mul(y, 0.5), z)], [tf.zeros([2, 1])], { solver: anderson({ tolerance: 1e-6, maxIterations: 8 }), gradient: implicit() })[0];
    const [z] = tf.tidy(() => equilibrium(([state]) => [tf.add(tf.mul(inner(state), 0.25), 1)], [tf.zeros([2, 1])], { solver: anderson({ tolerance: 1e-6, maxIterations: 8 }), gradient: implicit() }));
    expect(relativeError(await z.data(), [2, 2])).toBeLessThan(1e-4);
    z.dispose();
  });

  it('has its results checked', () => {
    const z = tf.zeros([2, 2]);
    expect(() => replayed('test', () => [tf.zeros([3])]).f([z])).toThrow('test: f must map the state to tensors of its own shapes [2, 2], got [3].');
    expect(() => replayed('test', () => 3 as never).f([z])).toThrow('got no list');
    z.dispose();
    before = tf.memory().numTensors; // what f made outside of a tidy
  });
});

describe('taps', () => {
  it('hand out the best state after chosen iterations, also where the solve has ended before', async () => {
    const seen = new Map<number, tf.Tensor>();
    const z0 = tf.zeros([1, 1]);
    const solution = fixedPointIteration({ tolerance: 0.04, stop: 'absolute', maxIterations: 20 }).solve(([z]) => [tf.add(tf.mul(z, 0.5), 1)], [z0], { taps: [1, 3, 15], onTap: ([z], at) => void seen.set(at, z), tell: () => {} });
    // z_k = 2 − 2^(1−k), evaluated at iteration k + 1; ‖f(z) − z‖ = 2^−k < 0.04 from k = 5 on.
    expect((await seen.get(1)!.data())[0]).toBe(0);
    expect((await seen.get(3)!.data())[0]).toBeCloseTo(1.5, 6);
    expect((await seen.get(15)!.data())[0]).toBeCloseTo(2 - 2 ** -4, 6);
    solution.dispose();
    tf.dispose([solution.state, z0, ...seen.values()]);
  });
});

describe('jacobianPenalty', () => {
  it('estimates the squared Frobenius norm of the Jacobian over the size of the state', async () => {
    const w = tf.tensor2d([[0.5, -1], [2, 0.1]]);
    const z = tf.zeros([64, 2]);
    const f = ([state]: tf.Tensor[]) => [tf.sin(tf.matMul(state as tf.Tensor2D, w))];
    const value = jacobianPenalty(f, [z], { samples: 8, seed: 3 });
    // cos(0) = 1: each sample's Jacobian is W; 1024 products, standard deviation about 5 %.
    // ‖W‖² / 2 = 2.63
    expect(Math.abs((await value.data())[0] / 2.63 - 1)).toBeLessThan(0.2);
    const again = jacobianPenalty(f, [z], { samples: 8, seed: 3 });
    expect((await again.data())[0]).toBe((await value.data())[0]);
    tf.dispose([w, z, value, again]);
  });

  it('has the gradient of finite differences', async () => {
    const [w, z] = [seeded([2, 2], 1), seeded([3, 2], 2)];
    const penalty = (weight: tf.Tensor) => jacobianPenalty(([state]) => [tf.tanh(tf.matMul(state as tf.Tensor2D, weight as tf.Tensor2D))], [z], { seed: 5 });
    const gradient = tf.grad(penalty as (x: tf.Tensor) => tf.Tensor)(w);
    const got = await gradient.data();
    const values = await w.data();
    for (const i of [0, 3]) {
      const at = async (by: number) => {
        const moved = values.slice();
        moved[i] += by;
        const value = tf.tidy(() => penalty(tf.tensor2d(moved, [2, 2])));
        const [number] = await value.data();
        value.dispose();
        return number;
      };
      expect(((await at(1e-2)) - (await at(-1e-2))) / 2e-2).toBeCloseTo(got[i], 2);
    }
    tf.dispose([w, z, gradient]);
  });

  it('says what is wrong', () => {
    const z = tf.zeros([1, 2]);
    expect(() => jacobianPenalty((s) => s, [z], { samples: 0 })).toThrow('jacobianPenalty: samples must be an integer ≥ 1, got 0.');
    expect(() => jacobianPenalty((s) => s, [z], { vectors: 1 } as never)).toThrow("jacobianPenalty: unknown option 'vectors'.");
    z.dispose();
  });
});
