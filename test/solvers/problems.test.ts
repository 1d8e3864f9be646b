import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { lookingOn, type Looking } from '../../src/solvers/looking.js';
import { inPage, relativeError } from '../helpers.js';
import { METHODS, MOST, PLAIN_FAILS, PROBLEMS, TOLERANCE, type MethodName } from './problems.js';

/** In this process, and as on a GPU. */
const STYLES = (process.env.TFWS_BACKEND === 'webgl' || process.env.TFWS_BACKEND === 'webgpu' ? [undefined] : inPage ? ['free'] : ['free', 'costly']) as (Looking | undefined)[];
/** SwiftShader takes a minute for long solves. */
const LONGEST = STYLES[0] === undefined ? 12 : Infinity;
/** Evaluations where nobody is compared with: enough to run away by a factor of 1.5 an iteration. */
const SOME = 30;

/** How far from its root a state of residual TOLERANCE may be, over that: the norm of (I − J)⁻¹, roughly. */
const CONDITION: Record<string, number> = { 'contraction 0.9': 20, 'contraction 0.99': 200, 'one hard sample': 50, 'badly scaled': 50 };

describe.each(STYLES)('solvers, with looking %s', (looking) => {
  for (const { name, z0, root, evaluations, f } of PROBLEMS) {
    for (const method of Object.keys(METHODS) as MethodName[]) {
      const known = Object.values(evaluations[method] ?? {}).filter((count): count is number => count != null);
      const allowed = known.length > 0 ? Math.floor(1.1 * Math.min(...known) + 1) : null;
      if ((allowed ?? SOME) > LONGEST) continue;
      const fails = method === 'fixedPointIteration' ? PLAIN_FAILS[name] : undefined;
      const title =
        allowed !== null
          ? `${method} solves '${name}' within ${allowed} evaluations, 1.1 times what the best of the others needs and 1`
          : fails !== undefined
            ? `${method} does not solve '${name}' and says why: ${fails}`
            : `${method} says that it did not solve '${name}', or did`;
      it(title, async () => {
        const start = tf.tensor2d(z0);
        const solution = METHODS[method]({ tolerance: TOLERANCE, maxIterations: allowed ?? SOME }).solve(f, [start], { looking, tell: () => {} });
        const report = await solution.report();
        const next = tf.tidy(() => f(solution.state));
        const [state, image] = [await solution.state[0].data(), await next[0].data()];
        const { reason } = report;
        solution.dispose();
        tf.dispose([solution.state, next, start]);
        if (allowed !== null) {
          expect(reason).toBe('converged');
          // Each product with the Jacobian costs an evaluation too; how many are needed can only be known by looking.
          if ((looking ?? lookingOn()) === 'free') expect(report.iterations + (report.counts.products ?? 0)).toBeLessThanOrEqual(allowed);
        } else if (name === 'no root') {
          expect(['maxIterations', 'diverged']).toContain(reason);
        }
        if (fails !== undefined) expect(reason).toBe(fails);
        report.samples.forEach(({ reason: why, relativeResidual }, i) => {
          const least = report.trace.reduce((low, residuals) => Math.min(low, residuals[i]), Infinity);
          if (why === 'maxIterations') expect(relativeResidual / least).toBeCloseTo(1, 5);
        });
        // Twice, for the rounding of an evaluation.
        if (reason === 'converged') expect(relativeError(state, image)).toBeLessThan(2 * TOLERANCE);
        expect(state.every(Number.isFinite)).toBe(true);
        if (reason === 'converged' && root !== null) expect(relativeError(state, root.flat())).toBeLessThan(2 * TOLERANCE * (CONDITION[name] ?? 5));
      });
    }
  }
});

describe('lookingOn', () => {
  it('is free where tensors lie in this process, costly on webgl, impossible on webgpu and where nothing is known', () => {
    expect(['cpu', 'wasm', 'tensorflow', 'webgl', 'webgpu', 'other'].map((name) => lookingOn(name))).toEqual(['free', 'free', 'free', 'costly', 'never', 'never']);
  });
});

it('has references for what is compared', () => {
  expect(MOST).toBeGreaterThan(100);
  const compared = PROBLEMS.flatMap(({ evaluations }) => Object.values(evaluations).flatMap((counts) => Object.values(counts).filter((count) => count !== null)));
  expect(compared.length).toBeGreaterThan(40);
});
