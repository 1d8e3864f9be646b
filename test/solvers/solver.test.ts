import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-layers';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Anderson, anderson } from '../../src/solvers/anderson.js';
import { Broyden, broyden } from '../../src/solvers/broyden.js';
import { FixedPointIteration, fixedPointIteration } from '../../src/solvers/fixed_point_iteration.js';
import { lookingOn, type Looking } from '../../src/solvers/looking.js';
import { NewtonKrylov, newtonKrylov } from '../../src/solvers/newton_krylov.js';
import { revive, serialized } from '../../src/solvers/serialized.js';
import type { Solver, SolverArgs } from '../../src/solvers/solver.js';
import type { StateMap } from '../../src/solvers/space.js';
import { seeded } from '../contract/fixtures.js';
import { inPage, relativeError } from '../helpers.js';
import { problem } from './problems.js';

const GPU = process.env.TFWS_BACKEND === 'webgl' || process.env.TFWS_BACKEND === 'webgpu';
const STYLES: (Looking | undefined)[] = GPU ? [undefined] : inPage ? ['free'] : ['free', 'costly', 'never'];

const ALL: Record<string, (args?: SolverArgs) => Solver> = { fixedPointIteration, anderson, broyden, newtonKrylov };

const warnings: string[] = [];
let before = 0;
beforeEach(() => {
  warnings.length = 0;
  vi.spyOn(console, 'warn').mockImplementation((message: string) => void warnings.push(message));
  before = tf.memory().numTensors;
});
afterEach(() => {
  vi.restoreAllMocks();
  expect(tf.memory().numTensors).toBe(before);
});

/** Solves, returns the state's values and the report, and leaves nothing behind. */
async function solve(solver: Solver, f: StateMap, z0: tf.Tensor[], looking?: Looking, options = {}) {
  const solution = solver.solve(f, z0, { looking, ...options });
  const report = await solution.report();
  const values = await Promise.all(solution.state.map((part) => part.data()));
  const shapes = solution.state.map(({ shape }) => shape);
  solution.dispose();
  tf.dispose([solution.state, z0]);
  return { values, shapes, report };
}

const half: StateMap = ([z]) => [tf.add(tf.mul(z, 0.5), 1)];

describe.each(STYLES)('every solver, with looking %s', (looking) => {
  it.each(Object.entries(ALL))('%s takes states of several tensors of different shapes, which may depend on each other', async (_, make) => {
    const f: StateMap = ([a, b]) => [tf.add(tf.mul(tf.reshape(tf.mean(b, [1, 2]), [2, 1]), 0.3), tf.mul(a, 0.5)), tf.add(tf.mul(b, -0.4), tf.reshape(tf.sum(a, 1), [2, 1, 1]))];
    const solver = make({ tolerance: 1e-5, maxIterations: 40 });
    const { values, shapes, report } = await solve(solver, (z) => f([z[0], z[1]]).map((part, i) => tf.add(part, i + 1)), [tf.zeros([2, 1]), tf.zeros([2, 3, 2])], looking);
    expect(report.reason).toBe('converged');
    expect(shapes).toEqual([[2, 1], [2, 3, 2]]);
    // a = 0.5 a + 0.3 b + 1 and b = −0.4 b + a + 2, constant over b's axes: a = 2 (0.3 b + 1), 1.4 b = a + 2 → 0.8 b = 4
    expect(relativeError(values[0], [5, 5])).toBeLessThan(1e-4);
    expect(relativeError(values[1], new Array(12).fill(5))).toBeLessThan(1e-4);
  });

  it.each([[[]], [[3]], [[2, 3]], [[2, 4, 3]], [[2, 3, 3, 2]]])('states of shape %j keep their shape', async (shape) => {
    const { values, shapes, report } = await solve(anderson({ tolerance: 1e-5 }), half, [tf.zeros(shape)], looking);
    expect(report.reason).toBe('converged');
    expect(shapes).toEqual([shape]);
    expect(relativeError(values[0], new Array(values[0].length).fill(2))).toBeLessThan(1e-4);
    expect(report.samples.length).toBe(shape[0] ?? 1);
  });

  it('freezes a sample that has converged, while others go on', async () => {
    const { f, z0 } = problem('one hard sample');
    const { report } = await solve(fixedPointIteration({ tolerance: 1e-3, maxIterations: 30 }), f, [tf.tensor2d(z0)], looking, { tell: () => {} });
    const [easy, alsoEasy, hard] = report.samples;
    expect([easy.reason, alsoEasy.reason, hard.reason]).toEqual(['converged', 'converged', 'maxIterations']);
    expect(easy.iterations).toBeLessThan(10);
    expect(hard.iterations).toBe(30);
    expect(report.iterations).toBe(30);
    const residuals = report.trace.map((all) => all[0]).slice(easy.iterations - 1);
    expect(new Set(residuals).size).toBe(1);
    expect(residuals[0]).toBeCloseTo(easy.relativeResidual, 6);
  });

  it('returns the state of least residual, and its residual, not the last', async () => {
    const f: StateMap = ([z]) => [tf.mul(z, tf.tensor2d([[-1.2], [0.5]]))]; // grows in the first sample, whose best state is the first
    const { values, report } = await solve(fixedPointIteration({ tolerance: 1e-3, stop: 'absolute', maxIterations: 8 }), f, [tf.ones([2, 1])], looking, { tell: () => {} });
    expect(values[0][0]).toBe(1);
    expect(report.samples[0].residual).toBeCloseTo(2.2, 5);
    expect(values[0][1]).toBeCloseTo(0.5 ** 7, 6);
    expect(report.samples[1].residual).toBeCloseTo(0.5 ** 8, 6);
    expect(report.trace.map((all) => all[0])[7]).toBeCloseTo(2.2 * 1.2 ** 7, 3);
  });

  it('stops by the absolute residual where that is asked for', async () => {
    const f: StateMap = ([z]) => [tf.add(tf.mul(z, 0.5), 1000)];
    const relative = await solve(fixedPointIteration({ tolerance: 1e-2 }), f, [tf.zeros([1, 1])], looking);
    const absolute = await solve(fixedPointIteration({ tolerance: 1e-2, stop: 'absolute' }), f, [tf.zeros([1, 1])], looking);
    expect([relative.report.iterations, absolute.report.iterations]).toEqual([7, 18]);
    expect(absolute.report.samples[0].residual).toBeLessThan(1e-2);
  });

  it('tells where f was not finite: the iteration and the sample', async () => {
    // In sample 1: from 1 to 3, 4.41, 5.18, whose root is that of a negative number.
    const f: StateMap = ([z]) => [tf.add(z, tf.mul(tf.sqrt(tf.sub(5, z)), tf.tensor2d([[0], [1]])))];
    const { values, report } = await solve(fixedPointIteration({ maxIterations: 9 }), f, [tf.tensor2d([[0.5], [1]])], looking, { tell: () => {} });
    expect(report.reason).toBe('nonFinite');
    expect(report.nonFinite).toEqual({ iteration: 4, sample: 1 });
    expect(values[0].every(Number.isFinite)).toBe(true);
  });

  it('returns z₀ where f is not finite there', async () => {
    const { values, report } = await solve(anderson(), ([z]) => [tf.div(z, 0)], [tf.tensor2d([[1, 2]])], looking, { tell: () => {} });
    expect(Array.from(values[0])).toEqual([1, 2]);
    expect(report.nonFinite).toEqual({ iteration: 1, sample: 0 });
    expect(report.samples[0].residual).toBeNaN();
  });

  it('returns the state of least relative residual where it stops by that, though another had a smaller norm', async () => {
    // From 0 to 1, 2.2, 3.64: the residual grows by 1.2 an iteration, f by more.
    const { values, report } = await solve(fixedPointIteration({ maxIterations: 4 }), ([z]) => [tf.add(tf.mul(z, 1.2), 1)], [tf.zeros([1, 1])], looking, { tell: () => {} });
    expect(values[0][0]).toBeCloseTo(3.64, 5);
    expect(report.samples[0].relativeResidual).toBeCloseTo(1.728 / 5.368, 5);
  });

  it('goes on where the residual grows from next to nothing, and the iterates stay bounded', async () => {
    for (const stop of ['relative', 'absolute'] as const) {
      const { values, report } = await solve(fixedPointIteration({ stop, tolerance: 1e-4 }), ([z]) => [tf.tanh(tf.add(tf.mul(z, 3), 1e-6))], [tf.zeros([1, 1])], looking, { tell: () => {} });
      // In absolute terms z₀ is a solution already.
      expect(report.reason).toBe('converged');
      expect(values[0][0]).toBeCloseTo(stop === 'relative' ? 0.9949 : 0, 3);
    }
    const precise = await solve(fixedPointIteration({ stop: 'absolute', tolerance: 5e-7 }), ([z]) => [tf.tanh(tf.add(tf.mul(z, 3), 1e-6))], [tf.zeros([1, 1])], looking, { tell: () => {} });
    expect(precise.report.reason).toBe('converged');
    expect(precise.values[0][0]).toBeCloseTo(0.9949, 3);
  });

  it('gives up an affine map that diverges early, whatever its scale, and returns z₀', async () => {
    const [f, product]: StateMap[] = [([z]) => [tf.add(tf.mul(z, 3), 1e-6)], ([v]) => [tf.mul(v, 3)]];
    const { values, report } = await solve(fixedPointIteration({ maxIterations: 40 }), f, [tf.zeros([1, 1])], looking, { product, tell: () => {} });
    expect(report.reason).toBe('diverged');
    expect(report.iterations).toBeLessThan(15);
    expect(values[0][0]).toBe(0);
    expect(report.samples[0]).toMatchObject({ relativeResidual: expect.closeTo(1, 2) });
  });

  it('gives up a sample that diverges', async () => {
    const { report } = await solve(fixedPointIteration({ maxIterations: 60 }), ([z]) => [tf.add(tf.mul(z, tf.tensor2d([[3], [0.1]])), 1)], [tf.zeros([2, 1])], looking, { tell: () => {} });
    expect(report.reason).toBe('diverged');
    expect(report.samples.map(({ reason }) => reason)).toEqual(['diverged', 'converged']);
    expect(report.samples[0].iterations).toBeLessThan(15);
  });
});

describe('a solve', () => {
  it('says how much memory its own vectors took: as much after many iterations as when its window is full, none beside tensors', async () => {
    const [batch, width] = [4, 16];
    const turned = ([z]: tf.Tensor[]) => [tf.add(tf.mul(tf.reverse(z, 1), 0.9), 1)];
    const bytes = async (maxIterations: number, looking?: Looking) =>
      (await solve(anderson({ tolerance: 1e-12, window: 3, maxIterations }), turned, [tf.zeros([batch, width])], looking, { tell: () => {} })).report.bytes;
    if (GPU) return expect(await bytes(4)).toBe(0);
    const vector = 4 * batch * width;
    const full = await bytes(8);
    // Two rings of three, the state, its image.
    expect(full).toBeGreaterThanOrEqual(8 * vector);
    expect(await bytes(40)).toBeLessThanOrEqual(full + 2 * vector);
    expect(await bytes(4, 'never')).toBe(0);
  });

  it('looks at each iteration where that is free, every checkEvery iterations where it is costly, and never where it is impossible', async () => {
    if (GPU) {
      const { report } = await solve(fixedPointIteration({ tolerance: 1e-3, checkEvery: 4, maxIterations: 20 }), half, [tf.zeros([1, 1])]);
      return expect(report.looks).toBe(lookingOn() === 'never' ? 0 : 3);
    }
    const looks = async (looking: Looking) => {
      const reads = vi.spyOn(tf.engine(), 'readSync');
      const { report } = await solve(fixedPointIteration({ tolerance: 1e-3, checkEvery: 4, maxIterations: 20 }), half, [tf.zeros([1, 1])], looking);
      return [report.looks, report.trace.length, reads.mock.calls.length > 0];
    };
    // Residual 2^(1−k) / (2 − 2^(1−k)) at iteration k: below 1e-3 from the tenth on.
    expect(await looks('free')).toEqual([10, 10, true]);
    expect(await looks('costly')).toEqual([3, 12, true]);
    vi.restoreAllMocks();
    const reads = vi.spyOn(tf.engine(), 'readSync');
    const solution = fixedPointIteration({ tolerance: 1e-3, maxIterations: 20 }).solve(half, [tf.zeros([1, 1])], { looking: 'never' });
    expect(reads).not.toHaveBeenCalled();
    expect(solution.known).toBeNull();
    expect(await solution.report()).toMatchObject({ looks: 0, reason: 'converged', iterations: 10 });
    expect((await solution.report()).trace.length).toBe(20);
    solution.dispose();
    tf.disposeVariables();
    tf.dispose(solution.state);
    before = tf.memory().numTensors; // z0 above
  });

  it('may begin inside of another: an equilibrium whose f solves one', async () => {
    const inner = (x: tf.Tensor) => {
      const solution = anderson({ tolerance: 1e-6, maxIterations: 20 }).solve(([y]) => [tf.add(tf.mul(tf.sin(y), 0.5), x)], [tf.zeros(x.shape)], { tell: () => {} });
      solution.dispose();
      return solution.state[0];
    };
    const { values, report } = await solve(anderson({ tolerance: 1e-5, maxIterations: 20 }), ([z]) => [tf.add(tf.mul(inner(z), 0.3), 0.1)], [tf.ones([2, 2])]);
    expect(report.reason).toBe('converged');
    // y = ½ sin y + z and z = 0.3 y + 0.1: y (1 − 0.3) = ½ sin y + 0.1
    const y = (values[0][0] - 0.1) / 0.3;
    expect(0.7 * y).toBeCloseTo(0.5 * Math.sin(y) + 0.1, 4);
  });

  it('takes results of f that f did not make: its argument, a constant, the same tensor twice', async () => {
    const constant = tf.ones([2, 1]);
    for (const looking of STYLES) {
      const { values, report } = await solve(anderson(), ([a]) => [constant, a], [tf.zeros([2, 1]), tf.zeros([2, 1])], looking);
      expect(report.reason).toBe('converged');
      expect(relativeError(values[0], [1, 1])).toBeLessThan(1e-4);
      const twice = await solve(fixedPointIteration(), () => [constant, constant], [tf.zeros([2, 1]), tf.zeros([2, 1])], looking);
      expect(twice.values.map((part) => Array.from(part))).toEqual([[1, 1], [1, 1]]);
      expect((await solve(broyden(), (z) => z, [tf.zeros([2, 1])], looking)).report.iterations).toBe(1);
    }
    expect(constant.isDisposed).toBe(false);
    constant.dispose();
  });

  it('leaves nothing behind when f throws', () => {
    for (const looking of STYLES) {
      for (const make of Object.values(ALL)) {
        let calls = 0;
        const z0 = tf.zeros([2, 2]);
        const run = () =>
          tf.tidy(() => {
            make().solve(([z]) => {
              if (++calls === 4) throw new Error('bad f');
              return [tf.sub(1, tf.mul(z, tf.add(z, 0.3)))];
            }, [z0], { looking }); // prettier-ignore
          });
        expect(run).toThrow('bad f');
        z0.dispose();
      }
    }
  });

  it('records nothing on a tape', () => {
    const x = tf.ones([1, 2]);
    tf.tidy(() =>
      tf.grad((v) => {
        const solution = anderson({ tolerance: 1e-2, maxIterations: 10 }).solve(([z]) => [tf.mul(tf.add(z, v), 0.5)], [tf.zeros([1, 2])], { tell: () => {} });
        solution.dispose();
        const { state } = solution;
        expect(() => tf.grad((u) => tf.mul(u, state[0]))(v)).not.toThrow();
        return tf.add(tf.sum(v), tf.sum(state[0]));
      })(x).dispose(),
    );
    x.dispose();
  });
});

describe('methods', () => {
  it('fixedPointIteration damps its steps: z ← τ f(z) + (1 − τ) z', async () => {
    const f: StateMap = ([z]) => [tf.add(tf.mul(z, -1.5), 5)];
    expect((await solve(fixedPointIteration({ damping: 0.5, tolerance: 1e-5 }), f, [tf.zeros([1, 1])])).values[0][0]).toBeCloseTo(2, 3);
    // From 0: f(0) = 5, so 2.5, then f = 1.25, so 1.875
    const { values } = await solve(fixedPointIteration({ damping: 0.5, maxIterations: 3 }), f, [tf.zeros([1, 1])], undefined, { tell: () => {} });
    expect(values[0][0]).toBeCloseTo(1.875, 5);
  });

  it('anderson with mixing below 1 takes states into the next one too', async () => {
    const { f, z0, root } = problem('contraction 0.5');
    const { values, report } = await solve(anderson({ mixing: 0.5, tolerance: 1e-5, maxIterations: 40 }), f, [tf.tensor2d(z0)]);
    expect(report.reason).toBe('converged');
    expect(relativeError(values[0], root!.flat())).toBeLessThan(1e-4);
    // The first step has one state: half way to f(z).
    const one = await solve(anderson({ mixing: 0.25, maxIterations: 2 }), ([z]) => [tf.add(tf.mul(z, 0), 4)], [tf.zeros([1, 1])], undefined, { tell: () => {} });
    expect(one.values[0][0]).toBeCloseTo(1, 6);
  });

  it('anderson drops its history where the residual has grown, and counts that', async () => {
    // Steep beyond 1, so that an extrapolated step lands where the residual is large.
    const f: StateMap = ([z]) => [tf.where(tf.greater(z, 1), tf.sub(tf.mul(z, -30), 1), tf.add(tf.mul(z, 0.98), 0.05))];
    const { report } = await solve(anderson({ restart: 2, maxIterations: 30 }), f, [tf.zeros([1, 1])], undefined, { tell: () => {} });
    expect(report.counts.restarts).toBeGreaterThan(0);
  });

  it('broyden begins afresh when its window is full, and still converges', async () => {
    const { f, z0, root } = problem('tanh');
    for (const looking of STYLES) {
      const { values, report } = await solve(broyden({ window: 4, tolerance: 1e-4, maxIterations: 60 }), f, [tf.tensor2d(z0)], looking);
      expect(report.reason).toBe('converged');
      expect(report.counts.restarts).toBeGreaterThan(1);
      expect(relativeError(values[0], root!.flat())).toBeLessThan(1e-3);
    }
  });

  it('broyden takes shorter steps, and halves those that do not shorten the residual if told to', async () => {
    const { f, z0, root } = problem('expansive');
    // Where nothing is looked at all iterations are run.
    for (const args of [{ stepSize: 0.7 }, { lineSearch: true }, { stepSize: 0.9, lineSearch: true }]) {
      const { values, report } = await solve(broyden({ ...args, tolerance: 1e-4, maxIterations: GPU ? 25 : 80 }), f, [tf.tensor2d(z0)]);
      expect(report.reason).toBe('converged');
      expect(relativeError(values[0], root!.flat())).toBeLessThan(1e-3);
    }
    // Newton from 2 on z ↦ z − atan(z) overshoots further each time.
    const atan: StateMap = ([z]) => [tf.sub(z, tf.atan(z))];
    const far = () => [tf.tensor2d([[1.6], [-1.7]])];
    const whole = await solve(newtonKrylov({ lineSearch: false, stop: 'absolute', maxIterations: 20 }), atan, far(), undefined, { tell: () => {} });
    const halved = await solve(newtonKrylov({ stop: 'absolute', maxIterations: 20 }), atan, far());
    expect([whole.report.reason === 'converged', halved.report.reason]).toEqual([false, 'converged']);
  });

  it('broyden leaves out updates that are all rounding, and counts them', async () => {
    const { report } = await solve(broyden({ maxIterations: 6 }), ([z]) => [tf.add(z, 1)], [tf.zeros([1, 3])], undefined, { tell: () => {} });
    expect(report.counts.skippedUpdates).toBeGreaterThan(0);
  });

  it("broyden's estimate of the inverse Jacobian is exact in one dimension, per sample", async () => {
    const z0 = tf.zeros([2, 1]);
    const solution = broyden({ tolerance: 1e-6 }).solve(([z]) => [tf.add(tf.mul(z, tf.tensor2d([[-3], [0.5]])), 1)], [z0], { keepInverse: true });
    const [applied] = solution.inverse!.applyTranspose([z0]);
    const [doubled] = tf.tidy(() => solution.inverse!.applyTranspose([tf.tensor2d([[2], [2]])]));
    // 2 / (J − 1)
    expect(relativeError(await doubled.data(), [-0.5, -4])).toBeLessThan(1e-5);
    expect(Array.from(await applied.data(), Math.abs)).toEqual([0, 0]);
    solution.inverse!.dispose();
    solution.dispose();
    tf.dispose([solution.state, z0, applied, doubled]);
    expect(anderson().solve(half, [tf.zeros([1])], { keepInverse: true, tell: () => {} }).inverse).toBeNull();
    tf.disposeVariables();
    before = tf.memory().numTensors;
  });

  it('newtonKrylov differentiates f forward, or takes differences of it', async () => {
    const { f, z0, root } = problem('tanh');
    for (const products of ['exact', 'differences'] as const) {
      const { values, report } = await solve(newtonKrylov({ products, tolerance: 1e-5, maxIterations: 10 }), f, [tf.tensor2d(z0)]);
      expect(report.reason).toBe('converged');
      expect(report.iterations).toBeLessThan(8);
      expect(relativeError(values[0], root!.flat())).toBeLessThan(1e-4);
      expect(report.counts.products).toBeGreaterThan(report.iterations);
    }
  });

  it('newtonKrylov by differences takes as many iterations whatever the size of states', async () => {
    const [w, x] = [tf.tidy(() => tf.mul(0.8, seeded([4, 4], 81))), seeded([2, 4], 82)];
    const counts: number[] = [];
    for (const size of [1, 1e-4, 1e-7]) {
      const f: StateMap = ([z]) => [tf.mul(size, tf.tanh(tf.add(tf.matMul(tf.div(z, size) as tf.Tensor2D, w as tf.Tensor2D), x)))];
      const { report } = await solve(newtonKrylov({ products: 'differences', tolerance: 1e-3 }), f, [tf.zeros([2, 4])]);
      counts.push(report.iterations);
    }
    tf.dispose([w, x]);
    for (const count of counts) expect(Math.abs(count - counts[0])).toBeLessThanOrEqual(1);
  });

  it('newtonKrylov says so where f cannot be differentiated twice', async () => {
    const f: StateMap = ([z]) => [tf.mul(tf.maxPool(z as tf.Tensor4D, 2, 1, 'same'), 0.5)];
    const z0 = tf.ones([1, 2, 2, 1]);
    expect(() => anderson().solve((z) => z, z0 as never)).toThrow('anderson: expected a list of tensors to start from, as in solve(f, [z0]), got Tensor.');
    expect(() => newtonKrylov().solve(f, [z0])).toThrow("newtonKrylov: exact products differentiate the gradients of f, and the operation MaxPoolGrad has none. Use products: 'differences'");
    expect((await solve(newtonKrylov({ products: 'differences', stop: 'absolute' }), f, [z0])).report.reason).toBe('converged');
  });
});

describe('failures', () => {
  it('are warned of once for each kind, with the sample, the residual and what to do', async () => {
    const slow: StateMap = ([z]) => [tf.add(tf.mul(z, tf.tensor2d([[0.1], [0.99]])), 1)];
    const solver = fixedPointIteration({ maxIterations: 6 });
    await solve(solver, slow, [tf.zeros([2, 1])]);
    await solve(solver, slow, [tf.zeros([2, 1])]);
    await solve(solver, ([z]) => [tf.sub(tf.mul(z, -30), 1)], [tf.zeros([1, 1])]);
    await solve(solver, ([z]) => [tf.sqrt(tf.sub(z, 1))], [tf.zeros([1, 1])]);
    expect(warnings.filter((text) => text.startsWith('fixedPointIteration:'))).toEqual([
      expect.stringMatching(/^fixedPointIteration: 1 of 2 samples did not converge within 6 evaluations; the relative residual of the state that is returned is up to 0\.16\d \(sample 1\), tolerance 0\.0001\. Raise maxIterations or the tolerance, or take another solver\.$/),
      expect.stringMatching(/^fixedPointIteration: the iterates ran away in 1 of 1 samples; .*Damp the steps, take anderson, broyden or newtonKrylov, or keep f contractive/),
      'fixedPointIteration: f was not finite at iteration 1 in sample 0 (1 of 1 samples); the best state before that is returned, which is z₀. Look at the inputs and weights, or damp the steps.',
    ]);
  });

  it('are thrown where that is asked for, naming the iteration and the sample of a NaN', async () => {
    const z0 = tf.zeros([3, 1]);
    const f: StateMap = ([z]) => [tf.sqrt(tf.sub(tf.tensor2d([[1], [1], [0.5]]), tf.mul(z, 0.8)))];
    const bad: StateMap = ([z]) => f([tf.mul(z, 1)]).map((part) => tf.add(part, tf.log(tf.sub(tf.tensor2d([[9], [9], [0.4]]), z))));
    const solver = fixedPointIteration({ onFailure: 'throw' });
    const thrown = async () => {
      const solution = solver.solve(bad, [z0]);
      tf.dispose(solution.state);
      await solution.report().finally(() => solution.dispose());
    };
    await expect(thrown()).rejects.toThrow(/^fixedPointIteration: f was not finite at iteration \d+ in sample \d \(\d of 3 samples\); the best state before that is returned/);
    z0.dispose();
  });
});

describe('bad input', () => {
  it.each(Object.entries(ALL))('%s refuses tolerances, stops, counts and options that make no sense', (who, make) => {
    expect(() => make({ tolerance: 0 })).toThrow(`${who}: tolerance must be a finite number > 0, got 0. For a fixed number of iterations set maxIterations.`);
    expect(() => make({ tolerance: -1 })).toThrow(`${who}: tolerance must be a finite number > 0, got -1.`);
    expect(() => make({ stop: 'rel' as never })).toThrow(`${who}: stop must be one of 'relative', 'absolute', got 'rel'.`);
    expect(() => make({ maxIterations: 0 })).toThrow(`${who}: maxIterations must be an integer ≥ 1, got 0.`);
    expect(() => make({ checkEvery: 1.5 })).toThrow(`${who}: checkEvery must be an integer ≥ 1, got 1.5.`);
    expect(() => make({ onFailure: 'ignore' as never })).toThrow(`${who}: onFailure must be one of 'warn', 'throw', got 'ignore'.`);
    expect(() => make({ maxIteration: 3 } as never)).toThrow(`${who}: unknown option 'maxIteration'. Did you mean 'maxIterations'?`);
  });

  it('methods refuse their own options outside of their ranges', () => {
    expect(() => fixedPointIteration({ damping: 0 })).toThrow('fixedPointIteration: damping must be a number > 0 and ≤ 1, got 0.');
    expect(() => anderson({ window: 1 })).toThrow('anderson: window must be an integer ≥ 2, got 1. With one iterate it is fixedPointIteration.');
    expect(() => anderson({ ridge: -1 })).toThrow('anderson: ridge must be a finite number ≥ 0, got -1.');
    expect(() => anderson({ mixing: 2 })).toThrow('anderson: mixing must be a number > 0 and ≤ 1, got 2.');
    expect(() => anderson({ restart: 1 })).toThrow('anderson: restart must be a finite number > 1, got 1.');
    expect(() => broyden({ window: 0 })).toThrow('broyden: window must be an integer ≥ 1, got 0.');
    expect(() => broyden({ lineSearch: 'no' as never })).toThrow("broyden: lineSearch must be true or false, got 'no'.");
    expect(() => newtonKrylov({ krylovTolerance: 1 })).toThrow('newtonKrylov: krylovTolerance must be a number strictly between 0 and 1, got 1.');
    expect(() => newtonKrylov({ products: 'vjp' as never })).toThrow("newtonKrylov: products must be one of 'exact', 'differences', got 'vjp'.");
  });

  it.each(STYLES)('f and its state must fit together (looking %s)', (looking) => {
    tf.tidy(() => {
      const solver = anderson();
      expect(() => solver.solve(([z]) => [tf.concat([z, z], 1)], [tf.zeros([2, 3])], { looking })).toThrow('anderson: f must map the state to tensors of its own shapes [2, 3], got [2, 6].');
      expect(() => solver.solve(([z]) => [z, z], [tf.zeros([2, 3])], { looking })).toThrow('anderson: f must map the state to tensors of its own shapes [2, 3], got [2, 3], [2, 3].');
      expect(() => solver.solve((([z]: tf.Tensor[]) => z) as never, [tf.zeros([2, 3])], { looking })).toThrow('anderson: f must map the state to tensors of its own shapes [2, 3], got no list.');
      expect(() => solver.solve(([z]) => [tf.cast(z, 'int32')], [tf.zeros([2, 3])], { looking })).toThrow("anderson: f must return float32, got int32. Use tf.cast(…, 'float32').");
      expect(() => solver.solve(([z]) => [z], [], { looking })).toThrow('anderson: the state must be a list of at least one tensor, got none.');
      expect(() => solver.solve((z) => z, [tf.zeros([2, 3]), tf.zeros([3, 3])], { looking })).toThrow('the first axis of every part of the state is the batch and must be the same, got shapes [2, 3], [3, 3].');
      expect(() => solver.solve((z) => z, [tf.zeros([2, 3], 'int32')], { looking })).toThrow("anderson: state 0 must be of dtype float32, got int32. Use tf.cast(z, 'float32').");
      expect(() => solver.solve((z) => z, [tf.zeros([0, 3])], { looking })).toThrow('anderson: the state must hold at least one sample, got shapes [0, 3].');
    });
  });
});

describe('configs', () => {
  it('hold every option, come through JSON, and make the same solver again', () => {
    const common = { tolerance: 1e-3, stop: 'absolute', maxIterations: 7, checkEvery: 2, onFailure: 'throw' } as const;
    const solvers: [Solver, new () => Solver, object][] = [
      [fixedPointIteration({ ...common, damping: 0.5 }), FixedPointIteration, { ...common, damping: 0.5 }],
      [anderson({ ...common, window: 3, ridge: 0.1, mixing: 0.5, restart: 3 }), Anderson, { ...common, window: 3, ridge: 0.1, mixing: 0.5, restart: 3 }],
      [broyden({ ...common, window: 3, stepSize: 0.5, lineSearch: true }), Broyden, { ...common, window: 3, stepSize: 0.5, lineSearch: true }],
      [newtonKrylov({ ...common, krylovIterations: 3, krylovTolerance: 0.1, products: 'differences', lineSearch: false }), NewtonKrylov, { ...common, krylovIterations: 3, krylovTolerance: 0.1, products: 'differences', lineSearch: false }],
    ];
    for (const [solver, cls, args] of solvers) {
      expect(solver.getConfig()).toEqual(args);
      const again = revive<Solver>('test', JSON.parse(JSON.stringify(serialized(solver))));
      expect(again).toBeInstanceOf(cls);
      expect(again.getConfig()).toEqual(args);
    }
    expect(() => revive('deqLayer', { className: 'Andersen', config: {} })).toThrow("deqLayer: expected {className, config} of a registered class, got 'Andersen'.");
    expect(() => revive('deqLayer', 3)).toThrow('deqLayer: expected {className, config} of a registered class, got 3.');
  });

  it('can be made of the defaults', () => {
    for (const make of Object.values(ALL)) expect(seeded([1], 1).dispose() ?? make().limits).toMatchObject({ tolerance: 1e-4, stop: 'relative', maxIterations: 50 });
  });
});
