import * as tf from '@tensorflow/tfjs-core';
import { io } from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { classQuantizer } from '../../src/clustering/entropy_constrained.js';
import { assignValues, classesCost } from '../../src/clustering/scalar_quantizer.js';
import { outputCurvature } from '../../src/compress_model/curvature.js';
import { importanceClasses } from '../../src/compress_model/importance.js';
import { measureOutputs } from '../../src/compress_model/measure_outputs.js';
import { compressModel } from '../../src/index.js';
import { onGpu, relativeError, seededNormal } from '../helpers.js';

const dense = (units: number, inputs: number, activation: 'linear' | 'softmax' = 'linear'): tfl.Sequential => tfl.sequential({ layers: [tfl.layers.dense({ units, inputShape: [inputs], activation, name: 'counted' })] });

describe('what single weights count', () => {
  it('is, for a linear map, the sum of squares of what each weight is multiplied with, of its kernel only', async () => {
    const model = dense(3, 4);
    // One input is not 0 at a time: no cross terms, so that any signs give the exact sum.
    const x = tf.tensor2d([2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 3, 0, 1, 0, 0, 0], [4, 4]);
    const tensors = tf.memory().numTensors;
    const found = await outputCurvature(model, x, (y) => tf.onesLike(y));
    expect(tf.memory().numTensors).toBe(tensors);
    expect([...found.keys()]).toEqual(['counted/kernel']);
    const once = found.get('counted/kernel')!;
    // 2 and 1 meet in one row: (±2 ± 1)² is 1 or 9, 5 in the mean of many draws.
    expect([...once.subarray(3)]).toEqual([1, 1, 1, 9, 9, 9, 0, 0, 0]);
    for (const h of once.subarray(0, 3)) expect(Math.abs(h - 5)).toBeLessThan(4);
    tf.dispose(x);
    model.dispose();
  });

  it('predicts the change of outputs by small errors, of probabilities as twice their divergence', async () => {
    const model = dense(5, 8, 'softmax');
    const normal = seededNormal(3);
    const x = tf.tensor2d(Float32Array.from({ length: 64 * 8 }, normal), [64, 8]);
    tf.tidy(() => model.setWeights([tf.tensor2d(Float32Array.from({ length: 40 }, normal), [8, 5]), tf.zeros([5])]));
    const { change, importances, dispose } = await measureOutputs(model, x);
    const h = (await importances()).get('counted/kernel')!;
    const kernel = (await model.getWeights()[0].data()) as Float32Array;
    let [predicted, measured] = [0, 0];
    for (let trial = 0; trial < 6; trial++) {
      const errors = Float32Array.from({ length: 40 }, () => 0.02 * normal());
      predicted += errors.reduce((sum, d, i) => sum + h[i] * d * d, 0);
      measured += await change('counted/kernel', kernel.map((w, i) => w + errors[i])); // prettier-ignore
    }
    // Six draws of forty errors, and signs of few passes.
    expect(measured / predicted).toBeGreaterThan(0.6);
    expect(measured / predicted).toBeLessThan(1.6);
    expect(await change('counted/kernel', kernel)).toBeLessThan(1e-6);
    dispose();
    x.dispose();
    model.dispose();
  });

  it('puts what counts little to values of few bits, and is cheaper for it at the same weighted error', () => {
    const normal = seededNormal(5);
    const values = Float32Array.from({ length: 20_000 }, normal);
    const importance = values.map((_, i) => (i % 4 === 0 ? 1 : 0.01));
    const { classes, of } = importanceClasses(values, importance);
    expect(classes).toHaveLength(2);
    expect(classes.map(({ importance: h }) => h)[1]).toBeCloseTo(1, 6);
    // What is below an eighth of the mean counts as that.
    expect(classes[0].importance).toBeCloseTo(0.2575 / 8, 6);
    const quantizer = classQuantizer(classes, 0.05);
    const cost = classesCost(classes, quantizer);
    const indices = assignValues(values, quantizer, of!);
    const error = (c: number): number => values.reduce((sum, w, i) => (of![i] === c ? sum + (w - quantizer.values[indices[i]]) ** 2 : sum), 0) / classes[c].points.counts.at(-1)!;
    expect(error(0)).toBeGreaterThan(3 * error(1));
    expect(cost.weighted).toBeCloseTo(classes.reduce((sum, { importance: h, points }, c) => sum + h * error(c) * points.counts.at(-1)!, 0), 0);
    // One quantiser for all: the same weighted error takes more bits.
    let [low, high] = [1e-6, 10];
    const same = (slope: number): ReturnType<typeof classesCost> => {
      const { values: v, thresholds } = classQuantizer([{ points: importanceClasses(values, values.map(() => 1)).classes[0].points, importance: 1 }], slope);
      return classesCost(classes, { values: v, thresholds: classes.map(() => thresholds[0]) });
    };
    for (let i = 0; i < 30; i++) {
      const middle = Math.sqrt(low * high);
      if (same(middle).weighted > cost.weighted) high = middle;
      else low = middle;
    }
    expect(cost.bits).toBeLessThan(0.9 * same(low).bits);
  });

  it('makes no classes where nothing counts, and keeps zeros in each', () => {
    const values = Float32Array.of(0, 1, 2, 0, -1, -2);
    expect(importanceClasses(values, new Float32Array(6)).classes).toHaveLength(1);
    const { classes, of } = importanceClasses(values, Float32Array.of(1, 0, 0, 0, 1, 1));
    const quantizer = classQuantizer(classes, 0.2, true);
    const indices = assignValues(values, quantizer, of!);
    expect([quantizer.values[indices[0]], quantizer.values[indices[3]]]).toEqual([0, 0]);
  });

  it('says so where an operation has no gradient, and compresses all the same', async () => {
    class CumulativeProduct extends tfl.layers.Layer {
      static readonly className = 'TestCumulativeProduct';
      override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
        return tf.tidy(() => tf.cumprod([inputs].flat()[0], 1));
      }
    }
    tf.serialization.registerClass(CumulativeProduct);
    const model = tfl.sequential({ layers: [tfl.layers.dense({ units: 12, inputShape: [6] }), new CumulativeProduct({})] });
    const inputs = tf.ones([2, 6]);
    const { report } = await compressModel(model, { ratio: 2, inputs });
    expect(report.warnings).toEqual([expect.stringMatching(/what single weights count could not be measured, so all weights of a tensor count the same: /) as string]);
    expect(report.weights[0].sensitivity).toBeGreaterThan(0);
    inputs.dispose();
    model.dispose();
  });
});

describe('batch normalisation', () => {
  /** A network with statistics as after training. */
  function normalized(): tfl.LayersModel {
    const input = tfl.input({ shape: [6] });
    const normal = seededNormal(7);
    const normalization = tfl.layers.batchNormalization({ epsilon: 0.01, name: 'norm' });
    const model = tfl.model({ inputs: input, outputs: normalization.apply(tfl.layers.dense({ units: 40, name: 'before' }).apply(input)) as tfl.SymbolicTensor });
    const draw = (f: (z: number) => number): tf.Tensor => tf.tensor1d(Float32Array.from({ length: 40 }, () => f(normal())));
    tf.tidy(() => normalization.setWeights([draw((z) => 1 + 0.2 * z), draw((z) => z), draw((z) => 3 * z), draw((z) => z * z + 0.1)]));
    return model;
  }

  it('is left alone where one inside of another layer is called the same', async () => {
    const input = tfl.input({ shape: [3, 4] });
    const varied = (seed: number) => ({ movingVarianceInitializer: tfl.initializers.randomUniform({ minval: 0.01, maxval: 1, seed }), name: 'norm' });
    const outer = tfl.layers.batchNormalization({ ...varied(1), epsilon: 1e-3 }).apply(input) as tfl.SymbolicTensor;
    const model = tfl.model({ inputs: input, outputs: tfl.layers.timeDistributed({ layer: tfl.layers.batchNormalization({ ...varied(2), epsilon: 0.5 }) }).apply(outer) as tfl.SymbolicTensor });
    const x = tf.tensor3d(Float32Array.from({ length: 24 }, seededNormal(9)), [2, 3, 4]);
    const loaded = await tfl.loadLayersModel(io.fromMemory((await compressModel(model, { bits: 8 })).artifacts));
    const [ours, theirs] = [loaded, model].map((each) => each.predict(x) as tf.Tensor);
    expect(relativeError(await ours.data(), await theirs.data())).toBeLessThan(2e-3);
    tf.dispose([x, ours, theirs]);
  });

  it('has its four numbers a channel merged into two, with equal outputs, and keeps them where vectors are kept or it is skipped', async () => {
    const model = normalized();
    const x = tf.tensor2d(Float32Array.from({ length: 60 }, seededNormal(8)), [10, 6]);
    const outputs = async (of: tfl.LayersModel): Promise<ArrayLike<number>> => {
      const y = of.predict(x) as tf.Tensor;
      const values = await y.data();
      y.dispose();
      return values;
    };
    const all = { maxError: 0.001, skip: ['before'] };
    const { artifacts, report, file } = await compressModel(model, all);
    const merged = await tfl.loadLayersModel(io.fromMemory(artifacts));
    expect(relativeError(await outputs(merged), await outputs(model))).toBeLessThan(2e-3);
    const [gamma, , mean, variance] = await Promise.all(merged.getLayer('norm').getWeights().map((w) => w.data()));
    expect(new Set(mean)).toEqual(new Set([0]));
    expect(new Set(variance)).toEqual(new Set([1]));
    expect(new Set(gamma).size).toBeGreaterThan(20);
    const kept = await compressModel(model, { ...all, skip: ['before', 'norm'] });
    const keptVectors = await compressModel(model, { ...all, vectors: 'keep' });
    expect(kept.report.weights.slice(2).every(({ treatment }) => treatment === 'kept')).toBe(true);
    expect(keptVectors.report.relativeError).toBe(0);
    expect(file!.length).toBeLessThan(kept.file!.length - 200);
    expect(report.parameters).toBe(kept.report.parameters);
    merged.dispose();
    x.dispose();
    model.dispose();
  });
});

describe('vectors whose errors are measured', () => {
  it.skipIf(onGpu)('are rounded further where they count little', async () => {
    const model = tfl.sequential({ layers: [tfl.layers.dense({ units: 64, inputShape: [8], useBias: true, name: 'a' }), tfl.layers.dense({ units: 64, name: 'b' })] });
    const normal = seededNormal(9);
    tf.tidy(() => model.setWeights(model.getWeights().map((w) => tf.tensor(Float32Array.from({ length: w.size }, () => 0.3 * normal()), w.shape))));
    const inputs = tf.tensor2d(Float32Array.from({ length: 128 }, normal), [16, 8]);
    const { artifacts } = await compressModel(model, { ratio: 12, inputs });
    const plain = await compressModel(model, { ratio: 12 });
    const bits = (a: io.ModelArtifacts): number => {
      const values = new Uint32Array((a.weightData as ArrayBuffer).slice(4 * 512, 4 * 576));
      return Math.max(...Array.from(values, (word) => 24 - (word === 0 ? 24 : Math.min(23, 31 - Math.clz32(word & -word)))));
    };
    expect(bits(plain.artifacts)).toBe(11);
    expect(bits(artifacts)).toBeLessThanOrEqual(8);
    inputs.dispose();
    model.dispose();
  });
});
