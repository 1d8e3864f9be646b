/** Equilibrium layers where nothing can be looked at inside of a step, as on webgpu. */
import * as tf from '@tensorflow/tfjs-core';
import { initializers, input, layers, model as functionalModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { deqLayer, type DEQLayer } from '../../src/layers/deq_layer.js';
import type { DEQLayerArgs } from '../../src/layers/deq_options.js';
import { anderson } from '../../src/solvers/anderson.js';
import { equilibrium } from '../../src/solvers/equilibrium.js';
import { fixedPointIteration } from '../../src/solvers/fixed_point_iteration.js';
import { implicit } from '../../src/solvers/implicit.js';
import { jacobianFree } from '../../src/solvers/jacobian_free.js';
import { blindly } from '../blind_backend.js';
import { seeded } from '../contract/fixtures.js';

const warnings: string[] = [];
beforeEach(() => {
  warnings.length = 0;
  vi.spyOn(console, 'warn').mockImplementation((message: string) => void warnings.push(message));
});
afterEach(() => void vi.restoreAllMocks());

let made = 0;
/** z ↦ scale·z + x, in a model of it `times` times. */
function network(scale: number, args: Partial<DEQLayerArgs>, times = 1) {
  const [z, x] = [input({ shape: [2] }), input({ shape: [2] })];
  const dense = layers.dense({ units: 2, kernelInitializer: initializers.identity({ gain: scale }), useBias: false, name: `blind_${++made}` });
  const sum = layers.add().apply([dense.apply(z) as SymbolicTensor, x]) as SymbolicTensor;
  const layer: DEQLayer = deqLayer({ cell: functionalModel({ inputs: [z, x], outputs: sum }), solver: anderson({ tolerance: 1e-3, maxIterations: 8 }), name: `blind_deq_${made}`, ...args });
  const outer = input({ shape: [2] });
  const outputs = Array.from({ length: times }).reduce<SymbolicTensor>((at) => layer.apply(at) as SymbolicTensor, outer);
  const model = functionalModel({ inputs: outer, outputs });
  const optimizer = tf.train.sgd(0);
  const step = (at: tf.Tensor) => optimizer.minimize(() => tf.mean(tf.square(model.apply(at, { training: true }) as tf.Tensor)) as tf.Scalar);
  return { layer, model, step };
}

/** Promises that are under way. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 0));
const NO_GRADIENT = jacobianFree();

describe('where nothing can be looked at', () => {
  it('a solve that fails in training is found, forward and backward, of each layer by its name', () =>
    blindly(async () => {
      const [ones, solver] = [tf.ones([4, 2]), fixedPointIteration({ tolerance: 1e-3, maxIterations: 3 })];
      const nets = [network(0.9, { solver }), network(0.9, { solver })];
      for (let k = 0; k < 2; k++) for (const { step } of nets) step(ones);
      await settled();
      const found = (text: string) => warnings.filter((warning) => warning.startsWith(text)).length;
      for (const { layer } of nets) {
        expect(found(`DEQLayer '${layer.name}' (training, FixedPointIteration): 4 of 4 samples did not converge within 3 evaluations`)).toBe(1);
        expect(found(`DEQLayer '${layer.name}': implicit (backward pass): 4 of 4 samples did not converge within 3 evaluations`)).toBe(1);
      }
      ones.dispose();
    }));

  it('a failure that begins between two powers of two is found at the next hundredth solve', () =>
    blindly(async () => {
      const { layer, step } = network(0.3, { gradient: NO_GRADIENT });
      const ones = tf.ones([1, 2]);
      for (let k = 0; k < 66; k++) step(ones);
      layer.configure({ solver: fixedPointIteration({ tolerance: 1e-3, maxIterations: 2 }) });
      for (let k = 66; k < 99; k++) step(ones);
      await settled();
      expect(warnings).toEqual([]);
      step(ones);
      await settled();
      expect(warnings).toEqual([expect.stringMatching(/did not converge within 2 evaluations/)]);
      ones.dispose();
    }));

  it("onFailure: 'throw' rejects the report, warns, and throws at the next call", () =>
    blindly(async () => {
      const { layer, model } = network(0.9, { solver: fixedPointIteration({ tolerance: 1e-3, maxIterations: 3, onFailure: 'throw' }) });
      const ones = tf.ones([4, 2]);
      const failure = new RegExp(`^DEQLayer '${layer.name}' \\(inference, FixedPointIteration\\): 4 of 4 samples did not converge`);
      for (let k = 0; k < 3; k++) {
        (model.predict(ones) as tf.Tensor).dispose();
        await settled();
        expect(warnings).toEqual(new Array(k + 1).fill(expect.stringMatching(failure)));
        expect(() => model.predict(ones)).toThrow(failure);
      }
      (model.predict(ones) as tf.Tensor).dispose();
      await expect(layer.report()).rejects.toThrow(failure);
      ones.dispose();
    }));

  it("an equilibrium without a layer does so too, also in a backward pass with ifUnsolved: 'throw', and leaves no rejection unhandled", () =>
    blindly(async () => {
      // A rejection that nobody handles fails the run.
      const w = tf.scalar(0.9);
      const by = (onFailure: 'warn' | 'throw', gradient = implicit()) => {
        const solver = fixedPointIteration({ tolerance: 1e-3, maxIterations: 4, onFailure });
        return () => tf.grad((v: tf.Tensor) => tf.sum(equilibrium(([z]) => [tf.add(tf.mul(z, v), 1)], [tf.zeros([1, 1])], { solver, gradient, wrt: [v] })[0]))(w).dispose();
      };
      for (const [run, failure] of [
        [by('throw'), 'fixedPointIteration: 1 of 1 samples did not converge within 4 evaluations'],
        [by('warn', implicit({ ifUnsolved: 'throw' })), "Choose ifUnsolved: 'best', 'phantom' or 'jacobianFree' to go on nevertheless."],
      ] as const) {
        const before = tf.memory().numTensors;
        run();
        await settled();
        expect(tf.memory().numTensors).toBe(before);
        expect(run).toThrow(failure);
      }
      w.dispose();
    }));

  it('a layer that a model applies twice leaves nothing behind, and reports the last call', () =>
    blindly(async () => {
      const { layer, step } = network(0.5, {}, 2);
      const x = seeded([3, 2], 1);
      const counts: number[] = [];
      for (let k = 0; k < 5; k++) {
        step(x);
        await settled();
        counts.push(tf.memory().numTensors);
      }
      expect(new Set(counts).size).toBe(1);
      const { forward, backward } = await layer.report('training');
      expect([forward!.reason, backward!.reason]).toEqual(['converged', 'converged']);
      layer.dispose();
      x.dispose();
    }));
});
