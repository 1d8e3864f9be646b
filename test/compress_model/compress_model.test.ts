import * as tf from '@tensorflow/tfjs-core';
import { io } from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { allocate } from '../../src/compress_model/allocate.js';
import { compressSource } from '../../src/compress_model/compress_source.js';
import { measureOutputs } from '../../src/compress_model/measure_outputs.js';
import { resolveOptions } from '../../src/compress_model/options.js';
import { fromFloat16, roundSignificand, toFloat16 } from '../../src/compress_model/tensor_values.js';
import { memorySource } from '../../src/compress_model/weight_source.js';
import { splitTensors, stringLengths } from '../../src/compression/container.js';
import { compressModel, decodeModelArtifacts, type CompressionOptions } from '../../src/index.js';
import { artifactsOf, float32 } from '../compression/helpers.js';
import { seededNormal, seededUniform } from '../helpers.js';

const normal = (n: number, seed: number, scale = 1): Float32Array => Float32Array.from({ length: n }, seededNormal(seed)).map((w) => w * scale);

/** Two matrices of different scale and a bias, without topology. */
const network = (): io.ModelArtifacts =>
  artifactsOf([float32('a/kernel', [64, 100], normal(6400, 1, 0.1)), float32('a/bias', [100], normal(100, 2)), float32('b/kernel', [100, 30], normal(3000, 3, 2))]);

/** The weights as the host decodes them, by name. */
function decoded(artifacts: io.ModelArtifacts): Record<string, Float32Array> {
  const tensors = io.decodeWeights(artifacts.weightData as ArrayBuffer, artifacts.weightSpecs!);
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => {
    const values = tensor.dataSync() as Float32Array;
    tensor.dispose();
    return [name, values];
  })); // prettier-ignore
}

const bytesOf = ({ weightSpecs = [], weightData }: io.ModelArtifacts): Uint8Array[] => {
  const data = new Uint8Array(weightData as ArrayBuffer);
  return splitTensors(weightSpecs, stringLengths(weightSpecs, data), data).map(({ bytes }) => bytes);
};

const relativeError = (a: Float32Array, b: Float32Array): number => Math.sqrt(a.reduce((sum, w, i) => sum + (w - b[i]) ** 2, 0) / a.reduce((sum, w) => sum + w * w, 0));

describe('compressModel without data', () => {
  it('gives every matrix 2^bits values and rounds vectors, and its report says what it did', async () => {
    const before = network();
    const untouched = new Uint8Array(before.weightData as ArrayBuffer).slice();
    const { artifacts, file, report } = await compressModel(before, { bits: 3 });
    expect(new Uint8Array(before.weightData as ArrayBuffer)).toEqual(untouched);
    const [old, now] = [decoded(before), decoded(artifacts)];
    for (const weight of report.weights) {
      const error = relativeError(old[weight.name], now[weight.name]);
      expect(weight.relativeError).toBeCloseTo(error, 6);
      expect(weight.maxDeviation).toBeCloseTo(Math.max(...old[weight.name].map((w, i) => Math.abs(w - now[weight.name][i]))), 6);
      if (weight.treatment === 'codebook') {
        expect(new Set(now[weight.name]).size).toBe(8);
        expect(weight.values).toBe(8);
        expect(error ** 2).toBeCloseTo(0.0345, 2);
      }
    }
    expect(report.weights.map(({ treatment }) => treatment)).toEqual(['codebook', 'rounded', 'codebook']);
    expect(report.weights[1].relativeError).toBeLessThan(2 ** -12);
    expect(file!.length).toBe(report.bytes);
    expect(report.ratio).toBeCloseTo((4 * 9500) / file!.length, 10);
    expect(report.ratio).toBeGreaterThan(9);
    expect(decoded(decodeModelArtifacts(file!))).toEqual(now);
  });

  it.each([4, 8, 12, 20])('meets ratio %d within two per cent, whatever the scale of a matrix', async (ratio) => {
    const { file, report } = await compressModel(network(), { ratio });
    expect(38000 / file!.length).toBeGreaterThan(ratio / 1.02);
    expect(38000 / file!.length).toBeLessThan(ratio * 1.15);
    expect(report.sensitivity).toBe('weights');
    // Whatever their scale: at one price of a byte, squared relative errors are as the numbers of weights (6400 and 3000) where bits are many.
    const [a, , b] = report.weights;
    expect(a.relativeError / b.relativeError).toBeGreaterThan(1.1);
    expect(a.relativeError / b.relativeError).toBeLessThan(2);
  });

  it('is more exact at a ratio with codes in mind than with k-means', async () => {
    const [coded, kMeans] = await Promise.all((['entropyConstrained', 'kMeans'] as const).map((method) => compressModel(network(), { ratio: 10, method })));
    expect(coded.report.relativeError).toBeLessThan(kMeans.report.relativeError);
  });

  it('says the best ratio when the one asked for is out of reach', async () => {
    const error = await compressModel(network(), { ratio: 500 }).catch((e: Error) => e);
    const best = Number(/compressModel: ratio 500 cannot be reached: the best is ([\d.]+) \(\d+ bytes\)/.exec((error as Error).message)?.[1]);
    expect(best).toBeGreaterThan(20);
    const { file } = await compressModel(network(), { ratio: best * 0.97 });
    expect(38000 / file!.length).toBeGreaterThan(best * 0.9);
    await expect(compressModel(network(), { ratio: 30, maxError: 0.05 })).rejects.toThrow(/within maxError 0.05\. Ask for less, allow a larger maxError/);
  });

  it.each([['entropyConstrained', 0.1], ['kMeans', 0.1], ['mixture', 0.3]] as const)('keeps every tensor within maxError by %s, and no finer than that needs', async (method, maxError) => {
    // Mixtures take long.
    const before = method === 'mixture' ? artifactsOf([float32('a/kernel', [20, 50], normal(1000, 1))]) : network();
    const { report } = await compressModel(before, { maxError, method });
    expect(report.weights[0].treatment).toBe('codebook');
    for (const { relativeError, treatment } of report.weights) {
      expect(relativeError).toBeLessThanOrEqual(maxError);
      if (treatment === 'codebook') expect(relativeError).toBeGreaterThan(maxError / 2);
    }
    if (method === 'mixture') return;
    const exact = await compressModel(before, { maxError: 1e-6, method });
    expect(exact.report.weights.every(({ treatment }) => treatment === 'kept')).toBe(true);
    expect(decoded(exact.artifacts)).toEqual(decoded(before));
  });

  it('keeps zeros zero unless told not to', async () => {
    const values = normal(4000, 5).map((w, i) => (i % 4 === 0 ? 0 : w + 3));
    const artifacts = artifactsOf([float32('w', [40, 100], values)]);
    const zerosLeft = async (args: CompressionOptions): Promise<number> => {
      const { w } = decoded((await compressModel(artifacts, args)).artifacts);
      return values.reduce((sum, old, i) => sum + (old === 0 && w[i] === 0 ? 1 : 0), 0);
    };
    for (const method of ['kMeans', 'entropyConstrained', 'mixture'] as const) expect(await zerosLeft({ bits: 2, method })).toBe(1000);
    const loose = normal(4000, 5).map((w, i) => (i % 4 === 0 ? 0 : w));
    const { w } = decoded((await compressModel(artifactsOf([float32('w', [40, 100], loose)]), { bits: 1, preserveSparsity: false })).artifacts);
    expect(w.includes(0)).toBe(false);
  });

  it('has a codebook for each channel where asked: more exact, more values', async () => {
    const values = normal(6400, 6).map((w, i) => w * (1 + (i % 8)) + (i % 8));
    const artifacts = artifactsOf([float32('conv/kernel', [10, 80, 8], values)]);
    const whole = await compressModel(artifacts, { bits: 2 });
    const each = await compressModel(artifacts, { bits: 2, perChannel: true });
    expect(each.report.relativeError).toBeLessThan(whole.report.relativeError);
    expect(each.report.weights[0].values).toBe(32);
    const now = decoded(each.artifacts)['conv/kernel'];
    for (let c = 0; c < 8; c++) expect(new Set(now.filter((_, i) => i % 8 === c)).size).toBe(4);
  });

  it('has codebooks by channel for a ratio too, where a channel is all zeros', async () => {
    const pruned = normal(320, 4).map((w, i) => (i % 8 === 3 ? 0 : w));
    const { artifacts } = await compressModel(artifactsOf([float32('a/kernel', [40, 8], pruned)]), { perChannel: true, maxError: 0.3 });
    const kernel = decoded(artifacts)['a/kernel'];
    expect(kernel.filter((w, i) => i % 8 === 3 && w !== 0)).toEqual(new Float32Array(0));
    expect(relativeError(pruned, kernel)).toBeLessThanOrEqual(0.3);
  });

  it('refuses more components than a mixture is fitted with', async () => {
    await expect(compressModel(network(), { bits: 6, method: 'mixture' })).rejects.toThrow("compressModel: method 'mixture' fits at most 32 components, so that bits must be at most 5, got 6.");
  });

  it('refuses to skip what is not there', async () => {
    for (const skip of [['zz'], ['a', 'b*c']]) {
      await expect(compressModel(network(), { bits: 2, skip })).rejects.toThrow(`compressModel: skip: no weight or layer is named '${skip.at(-1)}'. Weights: a/kernel, `);
    }
  });

  it('leaves alone what is skipped, by name of the weight, of the layer, or pattern', async () => {
    for (const skip of [['a/kernel'], ['a'], ['*a*']]) {
      const { report, artifacts } = await compressModel(network(), { bits: 2, skip });
      expect(report.weights[0]).toMatchObject({ treatment: 'kept', reason: 'skipped as asked', relativeError: 0 });
      expect(report.weights[2].treatment).toBe('codebook');
      expect(decoded(artifacts)['a/kernel']).toEqual(decoded(network())['a/kernel']);
    }
    const { report } = await compressModel(network(), { vectors: 'keep' });
    expect(report.weights[1]).toMatchObject({ treatment: 'kept', reason: 'vectors are kept as asked' });
  });

  it('rounds statistics of each recursion as vectors, and gives stored weights of hashed layers and banks codebooks', async () => {
    const artifacts = artifactsOf([
      float32('rec/gamma', [6, 8], normal(48, 1)), float32('rec/moving_variance_part1', [6, 8], normal(48, 2).map(Math.abs)), float32('depth/step_signals', [4, 16], normal(64, 3)),
      float32('hashed/hashed_v1_seed0_tile1x1_signed', [900], normal(900, 4)), float32('own/bank', [700], normal(700, 5)), float32('own/bias', [700], normal(700, 6)),
      float32('attention/position_bias', [200, 200], normal(40000, 7)),
    ]); // prettier-ignore
    const { report } = await compressModel(artifacts, { bits: 3 });
    expect(report.weights.map(({ treatment }) => treatment)).toEqual(['rounded', 'rounded', 'rounded', 'codebook', 'codebook', 'rounded', 'codebook']);
  });

  it('keeps stock artefacts within maxError, grids included', async () => {
    for (let i = 0; i < 12; i++) {
      const maxError = 0.03 + 0.01 * i;
      const { report } = await compressModel(network(), { maxError, format: 'stock' });
      for (const { relativeError: error } of report.weights) expect(error).toBeLessThanOrEqual(maxError);
    }
  });

  it('writes stock artefacts that the host decodes to the values of the report, on grids that hold 0', async () => {
    const before = artifactsOf([
      float32('a/kernel', [64, 100], normal(6400, 1).map((w, i) => (i % 2 ? w : 0))),
      float32('a/bias', [100], normal(100, 2)),
      // One outlier: 256 levels would be too coarse.
      float32('b/kernel', [100, 30], normal(3000, 3).map((w, i) => (i === 7 ? 900 : w))),
      float32('c/bias', [2], [1e30, 1]),
    ]);
    const { artifacts, file, report } = await compressModel(before, { bits: 4, format: 'stock' });
    expect(file).toBeNull();
    expect(artifacts.weightSpecs!.map(({ quantization }) => quantization?.dtype)).toEqual(['uint8', 'float16', 'uint16', undefined]);
    const [old, now] = [decoded(before), decoded(artifacts)];
    for (const weight of report.weights) {
      expect(relativeError(old[weight.name], now[weight.name])).toBeCloseTo(weight.relativeError, 6);
      expect(new Set(now[weight.name]).size).toBeLessThanOrEqual(weight.treatment === 'codebook' ? 16 : 100);
    }
    expect(old['a/kernel'].every((w, i) => w !== 0 || now['a/kernel'][i] === 0)).toBe(true);
    expect((artifacts.weightData as ArrayBuffer).byteLength).toBe(6400 + 200 + 6000 + 8);
    if (report.gzipBytes !== null) expect(report.gzipBytes).toBeLessThan(report.bytes);
  });

  it('compresses a model of layers that then loads with the host and predicts nearly the same', async () => {
    const model = tfl.sequential({
      layers: [
        tfl.layers.dense({ units: 24, inputShape: [20], activation: 'tanh', kernelInitializer: tfl.initializers.glorotNormal({ seed: 1 }), kernelRegularizer: tfl.regularizers.l2() }),
        tfl.layers.dense({ units: 3, kernelInitializer: tfl.initializers.glorotNormal({ seed: 2 }) }),
      ],
    });
    const x = tf.tensor2d(normal(200, 9), [10, 20]);
    const old = model.predict(x) as tf.Tensor;
    for (const format of ['tfws', 'stock'] as const) {
      const { artifacts, report } = await compressModel(model, { maxError: 0.02, format });
      expect(report.weights.map(({ name }) => name.replace(/_\w+\//, '/'))).toEqual(['dense/kernel', 'dense/bias', 'dense/kernel', 'dense/bias']);
      const loaded = await tfl.loadLayersModel(io.fromMemory(artifacts));
      const now = loaded.predict(x) as tf.Tensor;
      const difference = tf.tidy(() => tf.sqrt(tf.div(tf.sum(tf.square(tf.sub(now, old))), tf.sum(tf.square(old)))));
      const error = (await difference.data())[0];
      expect(error).toBeGreaterThan(0);
      expect(error).toBeLessThan(0.06);
      tf.dispose([now, difference]);
      loaded.dispose();
    }
    tf.dispose([x, old]);
    model.dispose();
  });

  it('tells how far it is', async () => {
    const seen: number[] = [];
    await compressModel(network(), { bits: 2, onProgress: (done) => seen.push(done) });
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen[0]).toBe(0);
    expect(seen.at(-1)).toBe(1);
  });
});

describe('weights that cannot or need not be compressed', () => {
  const spec = (name: string, shape: number[], dtype: io.WeightsManifestEntry['dtype']): io.WeightsManifestEntry => ({ name, shape, dtype });

  it('pass through bit by bit where they are integers, booleans, strings or complex, and empty or single ones', async () => {
    const uniform = seededUniform(1);
    const bytes = (n: number): Uint8Array => Uint8Array.from({ length: n }, () => Math.floor(256 * uniform()));
    const text = Uint8Array.of(2, 0, 0, 0, 104, 105, 1, 0, 0, 0, 33);
    const before = artifactsOf([
      { spec: spec('ids', [10, 10], 'int32'), bytes: bytes(400) },
      { spec: spec('mask', [7, 3], 'bool'), bytes: Uint8Array.from({ length: 21 }, (_, i) => i % 2) },
      { spec: spec('words', [2], 'string'), bytes: text },
      { spec: spec('waves', [4, 4], 'complex64'), bytes: bytes(128) },
      float32('empty', [0, 5], []),
      float32('epsilon', [], [1.0000001]),
    ]);
    for (const format of ['tfws', 'stock'] as const) {
      const { artifacts, report } = await compressModel(before, { bits: 1, format });
      expect(bytesOf(artifacts)).toEqual(bytesOf(before));
      expect(report.weights.every(({ treatment }) => treatment === 'kept')).toBe(true);
      expect(report.weights.map(({ reason }) => reason)).toEqual([
        'int32 weights are passed through', 'bool weights are passed through', 'string weights are passed through', 'complex64 weights are passed through',
        'it is empty', 'a single number',
      ]); // prettier-ignore
      expect(report.warnings).toEqual([]);
    }
  });

  it('are kept, with a warning, where a value is not finite', async () => {
    const values = normal(100, 1);
    values[17] = NaN;
    const before = artifactsOf([float32('broken', [10, 10], values), float32('fine', [10, 10], normal(100, 2))]);
    const { artifacts, report } = await compressModel(before, { bits: 2 });
    expect(bytesOf(artifacts)[0]).toEqual(bytesOf(before)[0]);
    expect(report.weights.map(({ treatment }) => treatment)).toEqual(['kept', 'codebook']);
    expect(report.warnings).toEqual(["'broken' is kept: value 17 is NaN: weights that are not finite are passed through."]);
  });

  it('stay exact where they are constant or have few values already', async () => {
    const before = artifactsOf([float32('constant', [10, 10], new Float32Array(100).fill(0.3)), float32('two', [10, 10], normal(100, 1).map(Math.sign))]);
    for (const args of [{ bits: 4 }, { ratio: 2 }, { maxError: 0.5 }, { bits: 4, method: 'mixture' }] as CompressionOptions[]) {
      const { artifacts, report } = await compressModel(before, args);
      if (args.maxError === undefined) expect(decoded(artifacts)).toEqual(decoded(before));
      expect(report.weights[0].maxDeviation).toBe(0);
    }
  });

  it('are taken as the host decodes them where they are quantised already', async () => {
    const first = await compressModel(network(), { bits: 4, format: 'stock' });
    const { artifacts, report } = await compressModel(first.artifacts, { bits: 4 });
    expect(report.warnings[0]).toBe("'a/kernel' was stored as uint8: errors are relative to those values.");
    expect(decoded(artifacts)).toEqual(decoded(first.artifacts));
    expect(report.relativeError).toBe(0);
  });

  it('are refused where specifications and bytes do not fit', async () => {
    const { weightData, ...rest } = network();
    await expect(compressModel({ ...rest, weightData: (weightData as ArrayBuffer).slice(4) })).rejects.toThrow(/describe 38000 bytes, but the weight data has 37996/);
    await expect(compressModel({ ...rest, weightSpecs: [{ name: 'w' } as io.WeightsManifestEntry], weightData })).rejects.toThrow('compressModel: the weight specification {"name":"w"} is invalid.');
    await expect(compressModel(rest)).rejects.toThrow('compressModel: expected a model, or its artefacts with weightSpecs and weightData, got Object.');
    await expect(compressModel(null as never)).rejects.toThrow('got null');
  });
});

describe('options of compressModel', () => {
  it.each<[CompressionOptions, string]>([
    [{ bits: 0 }, 'bits must be a number from 1 to 8, got 0.'],
    [{ ratio: 1 }, 'ratio must be a finite number > 1, got 1.'],
    [{ maxError: 1 }, 'maxError must be a number strictly between 0 and 1, got 1.'],
    [{ bits: 4, ratio: 8 }, 'bits cannot be given together with ratio'],
    [{ method: 'kmeans' as never }, "method must be one of 'kMeans', 'entropyConstrained', 'mixture', got 'kmeans'."],
    [{ perChannel: true, method: 'mixture' }, "perChannel belongs to method 'kMeans', got method 'mixture'."],
    [{ ratoi: 8 } as never, "unknown option 'ratoi'. Did you mean 'ratio'?"],
  ])('%o is refused', async (args, message) => {
    await expect(compressModel(network(), args)).rejects.toThrow(`compressModel: ${message}`);
  });
});

describe('parts', () => {
  it('measures how much an output changes with a weight, and puts the weight back', async () => {
    const model = tfl.sequential({ layers: [tfl.layers.dense({ units: 3, inputShape: [2], useBias: false, name: 'measured' })] });
    const w = Float32Array.of(1, 2, 3, -1, -2, -3);
    tf.tidy(() => model.setWeights([tf.tensor2d(w, [2, 3])]));
    const x = tf.tensor2d([1, 0, 0, 1], [2, 2]);
    const { change: measure, dispose } = await measureOutputs(model, x);
    const tensors = tf.memory().numTensors;
    // The outputs are the weights: mean 0.01 over mean square 28/6.
    expect(await measure('measured/kernel', w.map((value) => value + 0.1))).toBeCloseTo(0.06 / 28, 5);
    expect(await measure('measured/kernel', w)).toBe(0);
    expect([...(await model.getWeights()[0].data())]).toEqual([...w]);
    expect(tf.memory().numTensors).toBe(tensors);
    await expect(measure('other', w)).rejects.toThrow("compressModel: the model has no weight 'other'.");
    dispose();
    x.dispose();
    model.dispose();
  });

  it('measures at a second size where outputs do not change in proportion, and shares bytes out by both', async () => {
    const kernels: Record<string, Float32Array> = { linear: normal(4000, 11), saturating: normal(4000, 12) };
    const artifacts = artifactsOf(Object.entries(kernels).map(([name, values]) => float32(name, [100, 40], values)));
    const calls: { name: string; error: number; change: number }[] = [];
    const outputs = {
      change: (name: string, values: Float32Array): Promise<number> => {
        const error = values.reduce((sum, w, i) => sum + (w - kernels[name][i]) ** 2, 0);
        const change = name === 'linear' ? error : error / (1 + error / 50);
        calls.push({ name, error, change });
        return Promise.resolve(change);
      },
      importances: () => Promise.resolve(new Map<string, Float32Array>()),
    };
    const { report } = await compressSource(memorySource(artifacts), resolveOptions({ ratio: 20 }), outputs);
    for (const { name, sensitivity } of report.weights) {
      const [probe, chosen, ...more] = calls.filter((call) => call.name === name);
      expect(more).toEqual([]);
      expect(chosen.error).toBeGreaterThan(1.2 * probe.error);
      expect(sensitivity).toBeCloseTo(Math.sqrt((probe.change / probe.error) * (chosen.change / chosen.error)), 4);
    }
    // What saturates bears the larger error.
    expect(report.weights[1].relativeError).toBeGreaterThan(1.05 * report.weights[0].relativeError);
    // Where there is nothing to choose, nothing is measured.
    calls.length = 0;
    await compressSource(memorySource(artifacts), resolveOptions({ bits: 2 }), outputs);
    expect(calls).toEqual([]);
  });

  it('shares out bytes at one price', () => {
    const curve = (scale: number): { bytes: number; weighted: number }[] => [1, 2, 3, 4].map((bits) => ({ bytes: 100 * bits, weighted: scale * 4 ** -bits }));
    const tensors = [{ candidates: curve(1), sensitivity: 1 }, { candidates: curve(1), sensitivity: 16 }];
    expect(allocate(tensors, 400)).toEqual([0, 2]);
    expect(allocate(tensors, 1e6)).toEqual([3, 3]);
    expect(allocate(tensors, 200)).toEqual([0, 0]);
    expect(allocate(tensors, 199)).toBeNull();
    // Off the hull, and so for no price: what is left goes to it.
    const bent = { candidates: [{ bytes: 100, weighted: 1 }, { bytes: 200, weighted: 0.9 }, { bytes: 300, weighted: 0.2 }], sensitivity: 1 }; // prettier-ignore
    expect(allocate([bent], 250)).toEqual([1]);
    expect(allocate([bent], 300)).toEqual([2]);
    expect(allocate([bent, bent], 500)).toEqual([2, 1]);
  });

  it('rounds to 11 significant bits, ties to even, and knows what float16 holds', () => {
    const values = Float32Array.of(1, 1 + 2 ** -11, 1 + 3 * 2 ** -11, -0.1, 0, 3.4e38, 6e-8);
    const rounded = roundSignificand(values);
    expect([...rounded.subarray(0, 3)]).toEqual([1, 1, 1 + 2 ** -9]);
    rounded.forEach((r, i) => expect(Math.abs(r - values[i])).toBeLessThanOrEqual(2 ** -11 * Math.abs(values[i])));
    for (const r of [1, -0.0999755859375, 0, 65504, 2 ** -14]) expect(fromFloat16(toFloat16(r)!)).toBe(r);
    for (const r of [1e6, 1e-6, 0.1]) expect(toFloat16(r)).toBeNull();
  });
});
