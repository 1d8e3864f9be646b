import * as tf from '@tensorflow/tfjs-core';
import { initializers, input, layers, model as functionalModel, regularizers, sequential, type LayersModel } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { attachRegularizer, detachRegularizer, growlWeights, RegularizerSum } from '../../src/regularizers/attach.js';
import { gmmPrior } from '../../src/regularizers/gmm_prior.js';
import { growl, GrOWL, growlPenalty, type GrOWLArgs } from '../../src/regularizers/growl.js';
import { rowLayout } from '../../src/regularizers/growl_rows.js';
import { saveAndLoad, seeded } from '../contract/fixtures.js';
import { regularizerContract } from '../contract/regularizer_contract.js';
// Origin: an independent implementation in Python.
import golden from '../fixtures/growl.json';
import { relativeError } from '../helpers.js';

/** Σ λ_i ‖w_[i]‖ of the contract's kernels by definition, λ as the arguments below say. */
function energy(weights: Float64Array[]): number {
  let total = 0;
  for (const weight of weights) {
    const rows = weight.length === 30 ? 5 : weight.length === 25 ? 5 : 6;
    const columns = weight.length / rows;
    const norms = Array.from({ length: rows }, (_, r) => Math.hypot(...weight.subarray(r * columns, (r + 1) * columns))).sort((a, b) => b - a);
    const m = Math.floor(0.6 * rows);
    norms.forEach((norm, i) => (total += (0.3 + 0.2 * Math.max(0, m - 1 - i)) * norm));
  }
  return total;
}

const dense = (args: Partial<Parameters<typeof layers.dense>[0]> = {}) =>
  layers.dense({ units: 3, name: 'only', inputShape: [4], kernelInitializer: initializers.glorotUniform({ seed: 1 }), ...args });

describe('growl keeps the regularizer contract', () => {
  regularizerContract({
    name: 'GrOWL',
    create: (args: GrOWLArgs) => growl(args),
    args: { schedule: 'pld', lambda1: 0.3, lambda2: 0.2, transition: 0.6, preset: 'vgg', rows: 'inputs' } as GrOWLArgs,
    energy,
    layerUsedTwice: 'once',
  });
});

describe('growl', () => {
  it('has the penalty of the reference', async () => {
    for (const { W, lambda_, penalty } of golden.cases.matrices) {
      const regularizer = growl({ schedule: lambda_ });
      const value = tf.tidy(() => regularizer.apply(tf.tensor2d(W)));
      expect(relativeError(await value.data(), [penalty])).toBeLessThan(1e-6);
      value.dispose();
    }
  });

  it('has the gradient λ of the rank times the unit row, and 0 in rows that are zero or vanish in float32', async () => {
    const weight = tf.tensor2d([[0, 0], [3, 4], [0, 1], [1e-30, 0]]);
    const gradient = tf.grad((w) => growlPenalty(w, Float64Array.of(4, 2, 1, 0.5), rowLayout([4, 2], 'inputs')))(weight);
    expect(relativeError(await gradient.data(), [0, 0, 2.4, 3.2, 0, 2, 0, 0])).toBeLessThan(1e-6);
    tf.dispose([weight, gradient]);
  });

  it('takes input channels of a convolution, or columns, as rows', async () => {
    const kernel = seeded([3, 3, 4, 2], 3);
    const values = (await kernel.data()) as Float32Array;
    const norm = (belongs: (i: number) => boolean) => Math.sqrt(values.reduce((sum, w, i) => sum + (belongs(i) ? w * w : 0), 0));
    const byChannel = [0, 1, 2, 3].map((c) => norm((i) => Math.floor(i / 2) % 4 === c)).sort((a, b) => b - a);
    const byFilter = [0, 1].map((f) => norm((i) => i % 2 === f)).sort((a, b) => b - a);
    const oscar = (norms: number[]) => norms.reduce((sum, length, i) => sum + (1 + 0.5 * (norms.length - 1 - i)) * length, 0);
    for (const [rows, expected] of [['inputs', oscar(byChannel)], ['outputs', oscar(byFilter)]] as const) {
      const value = tf.tidy(() => growl({ lambda1: 1, lambda2: 0.5, rows }).apply(kernel));
      expect(relativeError(await value.data(), [expected])).toBeLessThan(1e-6);
      value.dispose();
    }
    kernel.dispose();
  });

  it('is the group lasso with equal λ, and 0 while somebody else accounts for it', async () => {
    const weight = tf.tensor2d([[3, 4], [0, 2]]);
    const regularizer = growl({ schedule: 'groupLasso', lambda1: 0.5 });
    const value = () => tf.tidy(() => regularizer.apply(weight)).data();
    expect((await value())[0]).toBeCloseTo(3.5, 5);
    let holds = true;
    regularizer.hold(() => holds);
    expect((await value())[0]).toBe(0);
    holds = false;
    expect((await value())[0]).toBeCloseTo(3.5, 5);
    weight.dispose();
  });

  it('goes onto a loaded model beside other regularizers, survives a save with them, and comes off again', async () => {
    const x = input({ shape: [4] });
    const regular = dense({ kernelRegularizer: regularizers.l2({ l2: 0.1 }) });
    const model = await saveAndLoad(functionalModel({ inputs: x, outputs: regular.apply(x) as typeof x }));
    const losses = async (of: LayersModel) => (await tf.tidy(() => tf.addN(of.calculateLosses())).data())[0];
    const before = await losses(model);
    const regularizer = growl({ lambda1: 1 });
    attachRegularizer(model, regularizer);
    const both = await losses(model);
    expect(both).toBeGreaterThan(before);
    const loaded = await saveAndLoad(model);
    expect((loaded.getLayer('only') as unknown as { kernelRegularizer: unknown }).kernelRegularizer).toBeInstanceOf(RegularizerSum);
    expect(growlWeights(loaded)).toHaveLength(1);
    expect(await losses(loaded)).toBeCloseTo(both, 4);
    expect(() => attachRegularizer(model, regularizer)).toThrow("attachRegularizer: layer 'only' carries this growl already.");
    detachRegularizer(model, regularizer);
    expect(await losses(model)).toBeCloseTo(before, 5);
    expect(() => detachRegularizer(model, regularizer)).toThrow('carries this growl. priorsOf(model) lists what it has.');
  });

  it('stands beside a mixture prior', () => {
    const model = sequential({ layers: [dense()] });
    const [prior, penalty] = [gmmPrior({ trainingExamples: 10 }), growl({ lambda1: 1 })];
    attachRegularizer(model, prior);
    attachRegularizer(model, penalty);
    expect(growlWeights(model).map((entry) => entry.prior)).toEqual([penalty]);
  });

  it('refuses what has no rows, a list longer than the rows, and layers without a kernel', () => {
    const model = sequential({ layers: [dense(), layers.activation({ activation: 'relu', name: 'bare' })] });
    const tooLong = growl({ schedule: [5, 4, 3, 2, 1] });
    expect(() => attachRegularizer(model, tooLong)).toThrow("growl: schedule has 5 numbers, but layer 'only' has only 4 rows.");
    expect(() => attachRegularizer(model, growl({ lambda1: 1 }), { biases: true })).toThrow('growl: a weight of shape [3] has no rows. Give it to kernels');
    expect(() => attachRegularizer(model, growl({ lambda1: 1 }), { layers: ['bare'] })).toThrow("attachRegularizer: layer 'bare' has no kernel to regularize.");
    expect(() => growl(undefined as unknown as GrOWLArgs)).toThrow('growl: expected an options object with lambda1 or preset, got undefined.');
    expect(() => growl({ lamda1: 1 } as GrOWLArgs)).toThrow("growl: unknown option 'lamda1'. Did you mean 'lambda1'?");
    expect(() => growl({ lambda1: 1, rows: 'columns' as 'inputs' })).toThrow("growl: rows must be one of 'inputs', 'outputs', got 'columns'.");
    expect(GrOWL.className).toBe('GrOWL');
  });
});
