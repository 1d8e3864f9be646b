import { describe, expect, it } from 'vitest';
import { owlPenalty, proxOwl, rowFactors } from '../../src/regularizers/growl_prox.js';
import { fromRows, rowLayout, rowNorms, toRows } from '../../src/regularizers/growl_rows.js';
import { lambdasFor, resolveLambdas, type GrowlSchedule } from '../../src/regularizers/growl_schedule.js';
// Origin: an independent implementation in Python; every proximal point was checked against 3 000 random perturbations.
import golden from '../fixtures/growl.json';
import { relativeError, seededNormal } from '../helpers.js';

describe('the proximal operator of OWL', () => {
  it('equals the reference on vectors', () => {
    for (const { z, lambda_, prox, penaltyAtZ } of golden.cases.vectors) {
      expect(relativeError(proxOwl(z, lambda_), prox)).toBeLessThan(1e-12);
      expect(owlPenalty(z, lambda_)).toBeCloseTo(penaltyAtZ, 12);
    }
  });

  it('equals the reference on the rows of matrices', () => {
    for (const { W, lambda_, prox, penalty } of golden.cases.matrices) {
      const norms = rowNorms(W.flat(), W.length);
      const factors = rowFactors(norms, lambda_, 1);
      expect(relativeError(W.flatMap((row, i) => row.map((w) => w * factors[i])), prox.flat())).toBeLessThan(1e-12);
      expect(owlPenalty(norms, lambda_)).toBeCloseTo(penalty, 12);
    }
  });

  it('equals values computed by hand: pooled entries come out equal, small ones at zero', () => {
    expect(relativeError(proxOwl([3, 2.9, 1, 0.2, -2.8], [1, 0.8, 0.5, 0.2, 0.1]), [32 / 15, 32 / 15, 0.8, 0.1, -32 / 15])).toBeLessThan(1e-12);
    expect(relativeError(proxOwl([2, 1.9, 1.8, 0.1], [1, 0.6, 0.3, 0.1]), [19 / 15, 19 / 15, 19 / 15, 0])).toBeLessThan(1e-12);
    expect(Array.from(proxOwl([], []))).toEqual([]);
  });

  it('is soft thresholding where all λ are equal, the identity where they are 0, and scales its λ by the step', () => {
    expect(Array.from(proxOwl([3, -1, 0.5], [1, 1, 1]))).toEqual([2, -0, 0]);
    expect(Array.from(proxOwl([3, -1, 0.5], [0, 0, 0]))).toEqual([3, -1, 0.5]);
    expect(Array.from(proxOwl([3, 2.9], [1, 0.5], 0.5))).toEqual(Array.from(proxOwl([3, 2.9], [0.5, 0.25])));
  });

  it('is not bettered by any perturbation of its answer', () => {
    const normal = seededNormal(5);
    for (let trial = 0; trial < 50; trial++) {
      const z = Array.from({ length: 7 }, () => 2 * normal());
      const lambda = Float64Array.from({ length: 7 }, () => Math.abs(normal())).sort().reverse();
      const objective = (x: number[]) => x.reduce((sum, value, i) => sum + (value - z[i]) ** 2 / 2, owlPenalty(x, lambda));
      const best = Array.from(proxOwl(z, lambda));
      for (let probe = 0; probe < 100; probe++) {
        expect(objective(best.map((x) => x + 0.05 * normal()))).toBeGreaterThanOrEqual(objective(best) - 1e-12);
      }
    }
  });

  it('gives rows at or below epsilon, before or after, the factor 0', () => {
    expect(Array.from(rowFactors([4, 0, 1e-9, 1.00001], [1, 1, 1, 1], 1, 1e-4))).toEqual([0.75, 0, 0, 0]);
  });
});

describe('the rows of a kernel', () => {
  it('are outgoing weights of inputs, input channels of convolutions, or columns', () => {
    expect(rowLayout([784, 300], 'inputs')).toEqual({ outer: 1, rows: 784, inner: 300 });
    expect(rowLayout([784, 300], 'outputs')).toEqual({ outer: 784, rows: 300, inner: 1 });
    expect(rowLayout([3, 3, 16, 32], 'inputs')).toEqual({ outer: 9, rows: 16, inner: 32 });
    expect(rowLayout([3, 3, 16, 32], 'outputs')).toEqual({ outer: 144, rows: 32, inner: 1 });
  });

  it('come out one after the other and go back', () => {
    // [positions 2, channels 2, filters 3]
    const values = Float32Array.from({ length: 12 }, (_, i) => i);
    const layout = rowLayout([2, 2, 3], 'inputs');
    expect(Array.from(toRows(values, layout))).toEqual([0, 1, 2, 6, 7, 8, 3, 4, 5, 9, 10, 11]);
    expect(Array.from(fromRows(toRows(values, layout), layout))).toEqual(Array.from(values));
    expect(Array.from(rowNorms([3, 4, 0, 0], 2))).toEqual([5, 0]);
  });
});

describe('the schedules of λ', () => {
  const of = (schedule: GrowlSchedule, rows: number, transition = 0.5) => Array.from(lambdasFor({ schedule, lambda1: 1, lambda2: 0.5, transition }, rows));

  it('follow their formulas', () => {
    expect(of('oscar', 4)).toEqual([2.5, 2, 1.5, 1]);
    expect(of('pld', 6)).toEqual([2, 1.5, 1, 1, 1, 1]);
    // linspace(5, 0, 3), then 0.
    expect(of('pldSteep', 6)).toEqual([3.5, 2.25, 1, 1, 1, 1]);
    expect(of('linear', 4)).toEqual([1.375, 1.25, 1.125, 1]);
    expect(of('groupLasso', 3)).toEqual([1.5, 1.5, 1.5].map(() => 1));
    expect(of('pldSteep', 3, 0.34)).toEqual([2, 1, 1]);
    expect(of('pld', 3, 0)).toEqual([1, 1, 1]);
  });

  it('never increase', () => {
    for (const schedule of ['oscar', 'pld', 'pldSteep', 'linear', 'groupLasso'] as const) {
      for (const rows of [1, 2, 5, 784]) {
        const lambda = of(schedule, rows, 0.3);
        expect(lambda.every((value, i) => value >= 0 && (i === 0 || value <= lambda[i - 1]))).toBe(true);
      }
    }
  });

  it('hold the constants of the two published programs', () => {
    const mnist = lambdasFor(resolveLambdas('growl', { preset: 'mnist' }), 784);
    expect([mnist[0], mnist[391], mnist[392], mnist[783]]).toEqual([12 + 0.215 * 783, 12, 12, 12]);
    const vgg = lambdasFor(resolveLambdas('growl', { preset: 'vgg', lambda1: 4.5 }), 100);
    expect(vgg[0]).toBeCloseTo(4.5 + 0.9, 12);
    expect(vgg[9]).toBe(4.5);
  });

  it('can be listed, the last λ holding for further rows', () => {
    expect(Array.from(lambdasFor(resolveLambdas('growl', { schedule: [3, 1] }), 4))).toEqual([3, 1, 1, 1]);
    expect(() => lambdasFor([3, 2, 1], 2)).toThrow('growl: schedule has 3 numbers, but a kernel with 2 rows has only 2 rows. Give at most one number per row (further rows take the last).');
  });

  it.each<[object, string]>([
    [{}, 'growl: lambda1 must be a finite number ≥ 0, got undefined. Give lambda1 (and lambda2, which ties rows), a preset, or the λ as schedule: [λ1, λ2, …].'],
    [{ lambda1: -1 }, 'growl: lambda1 must be a finite number ≥ 0, got -1.'],
    [{ lambda1: 1, lambda2: NaN }, 'growl: lambda2 must be a finite number ≥ 0, got NaN.'],
    [{ lambda1: 1, schedule: 'pld', transition: 1.5 }, 'growl: transition must be a number from 0 to 1, got 1.5.'],
    [{ lambda1: 1, schedule: 'steep' }, "growl: schedule must be one of 'oscar', 'pld', 'pldSteep', 'linear', 'groupLasso', got 'steep'."],
    [{ schedule: [1, 2] }, 'growl: schedule must not increase, but schedule[1] = 2 follows 1. The first λ is for the row of the largest norm.'],
    [{ schedule: [1, -2] }, 'growl: schedule[1] must be a finite number ≥ 0, got -2.'],
    [{ schedule: [] }, 'growl: schedule must list at least one λ, got [].'],
    [{ schedule: [1], lambda2: 1 }, 'growl: lambda2 has no effect beside a schedule that lists the λ. Leave it out.'],
    [{ schedule: 'groupLasso', lambda1: 1, lambda2: 1 }, "growl: lambda2 has no effect with schedule: 'groupLasso'. Leave it out."],
    [{ lambda1: 1, transition: 0.3 }, "growl: transition has no effect with schedule: 'oscar'. Leave it out."],
    [{ preset: 'cifar' }, "growl: preset must be one of 'mnist', 'vgg', got 'cifar'."],
  ])('refuse %j', (args, message) => {
    expect(() => resolveLambdas('growl', args)).toThrow(message);
  });
});
