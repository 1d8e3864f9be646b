import * as tf from '@tensorflow/tfjs-core';
import { io } from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { compressModel, decodeModelArtifacts, drrn, sparseCrossEntropy, type RetrainingArgs } from '../../src/index.js';
import { seeded } from '../contract/fixtures.js';
import { onGpu, seededNormal } from '../helpers.js';
import { missingKernelsForThisTest } from '../stock_kernels.js';

const SAMPLES = 96;
let model: tfl.Sequential;
let data: [tf.Tensor, tf.Tensor];
let validationData: [tf.Tensor, tf.Tensor];
const retraining = (args: Partial<RetrainingArgs> = {}): RetrainingArgs => ({
  data, validationData, loss: 'meanSquaredError', batchSize: 32, epochs: 4, fineTuneEpochs: onGpu ? 2 : 6, fineTuneRate: 1e-2, ...args,
}); // prettier-ignore

/** Targets of a linear map of the inputs, and a network trained on them. */
beforeAll(async () => {
  const normal = seededNormal(1);
  const draw = (): [tf.Tensor, tf.Tensor] => {
    const x = Float32Array.from({ length: SAMPLES * 6 }, normal);
    const y = Float32Array.from({ length: SAMPLES }, (_, i) => 0.5 * x[6 * i] - x[6 * i + 1] + 0.25 * x[6 * i + 2]);
    return [tf.tensor2d(x, [SAMPLES, 6]), tf.tensor2d(y, [SAMPLES, 1])];
  };
  [data, validationData] = [draw(), draw()];
  model = tfl.sequential({
    layers: [
      tfl.layers.dense({ units: 10, inputShape: [6], activation: 'tanh', kernelInitializer: tfl.initializers.glorotNormal({ seed: 1 }), name: 'first' }),
      tfl.layers.dense({ units: 1, kernelInitializer: tfl.initializers.glorotNormal({ seed: 2 }), name: 'last' }),
    ],
  });
  model.compile({ optimizer: tf.train.adam(0.02), loss: 'meanSquaredError' });
  // In one order: in some, a network trained this shortly is by chance no worse once quantised.
  await model.fit(data[0], data[1], { epochs: onGpu ? 8 : 25, batchSize: 32, shuffle: false, verbose: 0 });
});
afterAll(() => {
  model.dispose();
  tf.dispose([data, validationData] as never);
});

const weightsOf = async (of: tfl.LayersModel): Promise<number[][]> => Promise.all(of.getWeights().map(async (w) => [...(await w.data())]));

async function loaded(artifacts: io.ModelArtifacts): Promise<{ values: number[][]; loss: number }> {
  const again = await tfl.loadLayersModel(io.fromMemory(artifacts));
  again.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
  const result = again.evaluate(validationData[0], validationData[1]) as tf.Scalar;
  const answer = { values: await weightsOf(again), loss: (await result.data())[0] };
  result.dispose();
  again.dispose();
  return answer;
}

describe('compressModel with data', () => {
  it.each(['average', 'sum'] as const)('fine-tunes the values of codebooks (%s), which weights share them staying, and is never worse for it', async (aggregation) => {
    const before = await weightsOf(model);
    const tensors = tf.memory().numTensors;
    const without = await loaded((await compressModel(model, { bits: 2 })).artifacts);
    const { artifacts, file, retraining: report } = await compressModel(model, { bits: 2, retraining: retraining({ method: 'clusters', aggregation, fineTuneRate: aggregation === 'sum' ? 2e-3 : 1e-2 }) });
    expect(tf.memory().numTensors).toBe(tensors);
    expect(await weightsOf(model)).toEqual(before);
    const { values, loss } = await loaded(decodeModelArtifacts(file!));
    expect(new Set(values[0]).size).toBeLessThanOrEqual(4);
    expect(values).toEqual((await loaded(artifacts)).values);
    // Who shared a value before still does.
    const groups = (all: number[]): number[] => all.map((w) => all.indexOf(w));
    expect(groups(values[0])).toEqual(groups(without.values[0]));
    expect(report).toMatchObject({ method: 'clusters', monitor: 'loss' });
    expect(report!.quantized).toBeCloseTo(without.loss, 3);
    expect(report!.after).toBeLessThan(report!.quantized);
    expect(loss).toBeCloseTo(report!.after, 2);
    expect(report!.before).toBeLessThan(report!.quantized);
  });

  it('retrains by soft weight sharing to one codebook for all kernels', async () => {
    const { file, retraining: report } = await compressModel(model, { retraining: retraining({ prior: { components: 5, tau: 0.1, zeroMixing: 0.5 } }) });
    const { values, loss } = await loaded(decodeModelArtifacts(file!));
    expect(new Set([...values[0], ...values[2]]).size).toBeLessThanOrEqual(5);
    expect(new Set([...values[0], ...values[2]]).has(0)).toBe(true);
    expect(report!.method).toBe('softSharing');
    expect(report!.after).toBeLessThanOrEqual(report!.quantized);
    expect(loss).toBeCloseTo(report!.after, 2);
  });

  it('stops when the metric no longer improves', async () => {
    const { retraining: report } = await compressModel(model, { bits: 3, retraining: retraining({ method: 'clusters', fineTuneRate: 1e-9, fineTuneEpochs: 20, patience: 1 }) });
    expect(report!.fineTuneEpochs).toBeLessThan(20);
    const none = await compressModel(model, { bits: 3, retraining: retraining({ method: 'clusters', fineTuneEpochs: 0 }) });
    expect(none.retraining!.after).toBe(none.retraining!.quantized);
  });

  it('leaves skipped layers free', async () => {
    const { report, artifacts } = await compressModel(model, { bits: 1, skip: ['last'], retraining: retraining({ method: 'clusters', fineTuneEpochs: 1 }) });
    expect(report.weights.map(({ treatment }) => treatment)).toEqual(['codebook', 'rounded', 'kept', 'kept']);
    expect(new Set((await loaded(artifacts)).values[2]).size).toBe(10);
  });

  it('shares softly beside normalisations, which have no kernel', async () => {
    const normalised = tfl.sequential({ layers: [tfl.layers.dense({ units: 5, inputShape: [6] }), tfl.layers.batchNormalization(), tfl.layers.layerNormalization(), tfl.layers.dense({ units: 1 })] });
    const { report } = await compressModel(normalised, { retraining: retraining({ epochs: 2, fineTuneEpochs: 1, prior: { components: 4 } }) });
    const kernels = report.weights.filter(({ shape }) => shape.length > 1);
    expect(kernels.map(({ treatment, values }) => [treatment, values <= 4])).toEqual([['codebook', true], ['codebook', true]]);
    normalised.dispose();
  });

  it.each([[['last']], [['last/kernel']], [['la*/kernel']]])('leaves %j free in soft sharing', async (skip) => {
    const { report, artifacts } = await compressModel(model, { skip, retraining: retraining({ epochs: 2, fineTuneEpochs: 1, prior: { components: 4 } }) });
    expect(report.weights[2]).toMatchObject({ treatment: 'kept', reason: 'skipped as asked' });
    const { values } = await loaded(artifacts);
    expect(new Set(values[2]).size).toBe(10);
    expect(new Set(values[0]).size).toBeLessThanOrEqual(4);
  });

  it('says that nothing is left to share', async () => {
    await expect(compressModel(model, { skip: ['first', 'last'], retraining: retraining() })).rejects.toThrow('compressModel: retraining: no kernel of the model takes part in soft weight sharing: all are frozen or skipped.');
  });

  it('keeps the codebooks of weights that are no kernels, and rounds again what was only rounded', async () => {
    const sloped = tfl.sequential({
      layers: [
        tfl.layers.dense({ units: 24, inputShape: [6], kernelInitializer: tfl.initializers.glorotNormal({ seed: 1 }) }),
        tfl.layers.reshape({ targetShape: [4, 6] }),
        tfl.layers.prelu({ alphaInitializer: tfl.initializers.randomNormal({ mean: 0.2, stddev: 0.05, seed: 3 }), name: 'slope' }),
        tfl.layers.flatten(),
        tfl.layers.dense({ units: 1, kernelInitializer: tfl.initializers.glorotNormal({ seed: 2 }) }),
      ],
    });
    const args = retraining({ method: 'clusters', fineTuneEpochs: 2 });
    const without = decodeModelArtifacts((await compressModel(sloped, { bits: 2 })).file!);
    const { report, artifacts } = await compressModel(sloped, { bits: 2, retraining: args });
    const slopes = report.weights.findIndex(({ name }) => name.startsWith('slope'));
    expect(report.weights[slopes]).toMatchObject({ treatment: 'codebook', values: 4 });
    expect((await loaded(artifacts)).values[slopes]).toEqual((await loaded(without)).values[slopes]);
    expect(report.warnings).toEqual([]);
    // So fine that no matrix has a codebook.
    const fine = (await compressModel(sloped, { maxError: 0.0006, retraining: args })).report;
    expect(fine.weights.map(({ treatment }) => treatment)).toEqual(fine.weights.map(() => 'rounded'));
    sloped.dispose();
  });

  it('says which matrices retraining could not share', async () => {
    const frozen = tfl.sequential({ layers: [tfl.layers.dense({ units: 60, inputShape: [6], trainable: false, name: 'base' }), tfl.layers.dense({ units: 1 })] });
    const { report } = await compressModel(frozen, { retraining: retraining({ epochs: 2, fineTuneEpochs: 1, prior: { components: 4 } }) });
    expect(report.weights.map(({ name, treatment }) => [name.split('/')[0] === 'base', treatment])).toContainEqual([true, 'rounded']);
    expect(report.warnings.join()).toContain("'base/kernel' shares no values after retraining (it is frozen, or no kernel of its layer): it was rounded only.");
    expect(report.method).toBe('mixture');
    frozen.dispose();
  });

  it.each([['method', 'kMeans'], ['initialization', 'linear'], ['perChannel', true]] as const)('refuses %s, which has no say in soft sharing', async (option, value) => {
    await expect(compressModel(model, { [option]: value, retraining: retraining() })).rejects.toThrow(`compressModel: ${option} has no say in retraining by soft weight sharing`);
  });

  it('knows that the host’s cosine, and a loss whatever its output is called, are better where they are smaller', async () => {
    const x = tfl.input({ shape: [6] });
    const outputs = ['accel', 'speed'].map((name) => tfl.layers.dense({ units: 1, name, kernelInitializer: tfl.initializers.glorotNormal({ seed: 3 }) }).apply(x) as tfl.SymbolicTensor);
    const two = tfl.model({ inputs: x, outputs });
    for (const monitor of ['accel_loss', 'speed_loss']) {
      const pair = ([xs, ys]: [tf.Tensor, tf.Tensor]): [tf.Tensor, tf.Tensor[]] => [xs, [ys, ys]];
      const { retraining: report } = await compressModel(two, { bits: 2, retraining: retraining({ data: pair(data), validationData: pair(validationData), method: 'clusters', monitor }) });
      expect(report!.after).toBeLessThan(report!.quantized);
    }
    const { retraining: report } = await compressModel(model, { bits: 1, retraining: retraining({ method: 'clusters', metrics: ['cosine'], monitor: 'cosine', fineTuneRate: 3e-2 }) });
    expect(report!.after).toBeLessThanOrEqual(report!.quantized);
    two.dispose();
  });

  it('refuses inputs on which outputs are not finite', async () => {
    const broken = tf.tidy(() => tf.concat([data[0], tf.fill([1, 6], NaN)]));
    const tensors = tf.memory().numTensors;
    await expect(compressModel(model, { ratio: 3, inputs: broken })).rejects.toThrow('compressModel: inputs: output 1 of the model is not finite on these inputs');
    expect(tf.memory().numTensors).toBe(tensors);
    broken.dispose();
  });

  it('spends little on weights that the outputs do not depend on', async () => {
    const still = tfl.sequential({ layers: [tfl.layers.dense({ units: 40, inputShape: [6], activation: 'relu', biasInitializer: tfl.initializers.constant({ value: -1e3 }), kernelInitializer: tfl.initializers.glorotNormal({ seed: 1 }) }), tfl.layers.dense({ units: 1 })] });
    const { report } = await compressModel(still, { bits: 2, method: 'entropyConstrained', inputs: data[0] });
    expect(report.weights[0].values).toBeLessThanOrEqual(8);
    still.dispose();
  });

  it.skipIf(onGpu)('shares softly by its defaults, in steps enough and in parts, without losing what the network can do', async () => {
    const normal = seededNormal(5);
    const centres = Array.from({ length: 4 }, () => Array.from({ length: 16 }, () => 1.5 * normal()));
    const drawn = (n: number): [tf.Tensor, tf.Tensor] => [
      tf.tensor2d(Array.from({ length: n }, (_, i) => centres[i % 4].map((c) => c + normal()))),
      tf.tensor2d(Array.from({ length: n }, (_, i) => [0, 1, 2, 3].map((k) => Number(i % 4 === k)))),
    ];
    const [train, held] = [drawn(480), drawn(200)];
    const glorot = (seed: number) => ({ kernelInitializer: tfl.initializers.glorotUniform({ seed }) });
    const classifier = tfl.sequential({ layers: [tfl.layers.dense({ units: 24, inputShape: [16], activation: 'relu', ...glorot(1) }), tfl.layers.dense({ units: 4, activation: 'softmax', ...glorot(2) })] });
    classifier.compile({ optimizer: tf.train.adam(3e-3), loss: 'categoricalCrossentropy' });
    await classifier.fit(train[0], train[1], { epochs: 12, batchSize: 32, shuffle: false, verbose: 0 });
    const onProgress = vi.fn();
    const { retraining: result, report } = await compressModel(classifier, { onProgress, retraining: { data: train, validationData: held, loss: 'categoricalCrossentropy', metrics: ['acc'], monitor: 'acc', batchSize: 96, fineTuneEpochs: 2 } });
    expect(result!.before).toBeGreaterThan(0.95);
    expect(result!.after).toBeGreaterThan(result!.before - 0.02);
    expect(report.warnings).toEqual([]);
    // 5 batches make an epoch, 400 of these 2 000 steps.
    expect(onProgress.mock.calls.flat().join()).toContain('of 400');
    classifier.dispose();
    tf.dispose([...train, ...held]);
  }, 180_000);

  it('takes losses with integer targets, of this package too', async () => {
    missingKernelsForThisTest();
    const tokens = tf.tidy(() => tf.cast(tf.floor(tf.mul(5, tf.randomUniform([24, 4], 0, 1, 'float32', 1))), 'int32'));
    const next = tf.expandDims(tokens, -1);
    const language = tfl.sequential({ layers: [tfl.layers.embedding({ inputDim: 5, outputDim: 4, inputLength: 4 }), tfl.layers.dense({ units: 5 })] });
    const pair: [tf.Tensor, tf.Tensor] = [tokens, next];
    const { retraining: report } = await compressModel(language, { bits: 3, retraining: { data: pair, validationData: pair, loss: sparseCrossEntropy(), method: 'clusters', fineTuneEpochs: 2 } });
    expect(report!.after).toBeLessThanOrEqual(report!.quantized);
    tf.dispose([tokens, next]);
    language.dispose();
  });

  it('warns where the result is much worse on held-out data, and keeps that from a console', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
    const { report } = await compressModel(model, { retraining: retraining({ epochs: 1, prior: { components: 2, tau: 50, learningRates: { means: 0 } } }) });
    const printed = warn.mock.calls.flat().join();
    warn.mockRestore();
    expect(report.warnings.join()).toMatch(/loss on held-out data went from [\d.e-]+ to [\d.e-]+\. Give more epochs, or the prior a smaller tau/);
    expect(printed).not.toContain('klMergeQuantization');
  });

  it('warns where the weights had not gathered', async () => {
    const { report } = await compressModel(model, { retraining: retraining({ epochs: 1, learningRate: 1e-6, prior: { components: 3, tau: 1e-6 } }) });
    expect(report.warnings[0]).toMatch(/^soft weight sharing moved the weights by \d+ % of their norm when they took their values: the mixture had not converged\. Give more epochs, or a larger tau/);
  });

  it('shares the kernels of a recursive network softly, those inside of its recursion too', async () => {
    const recursive = drrn({ filters: 4, units: 2 });
    const pair: [tf.Tensor, tf.Tensor] = [seeded([8, 5, 5, 1], 1), seeded([8, 5, 5, 1], 2)];
    const { report } = await compressModel(recursive, { retraining: { data: pair, validationData: pair, loss: 'meanSquaredError', epochs: 2, fineTuneEpochs: 0, prior: { components: 4 } } });
    const kernels = report.weights.filter(({ name }) => name.includes('kernel'));
    expect(kernels.length).toBeGreaterThan(3);
    for (const { name, treatment, values } of kernels) expect([name, treatment === 'kept', values > 0 && values <= 4]).toEqual([name, false, true]);
    tf.dispose(pair);
    recursive.dispose();
  });

  it('measures sensitivity on given inputs, without a change to the model', async () => {
    const before = await weightsOf(model);
    const { report } = await compressModel(model, { maxError: 0.2, inputs: data[0] });
    expect(report.sensitivity).toBe('outputs');
    expect(report.weights[0].sensitivity).toBeGreaterThan(0);
    expect(await weightsOf(model)).toEqual(before);
  });

  it('says what is wrong with its options', async () => {
    const attempt = (args: Partial<RetrainingArgs>, more = {}): Promise<unknown> => compressModel(model, { ...more, retraining: retraining(args) });
    await expect(attempt({ loss: undefined as never })).rejects.toThrow('compressModel: retraining: loss is missing.');
    await expect(attempt({ data: data[0] as never })).rejects.toThrow('compressModel: retraining: data must be [inputs, targets]');
    await expect(attempt({ monitor: 'acc' })).rejects.toThrow("retraining: monitor 'acc' is none of loss. Name it in metrics");
    await expect(attempt({}, { ratio: 10 })).rejects.toThrow('ratio has no say in retraining by soft weight sharing');
    await expect(attempt({ method: 'clusters', prior: { tau: 0.1 } }, { bits: 2 })).rejects.toThrow("retraining: prior has a say in soft weight sharing only, got method 'clusters'. Leave it out.");
    await expect(attempt({ method: 'clusters', learningRate: 1e-3 }, { bits: 2 })).rejects.toThrow("learningRate has a say in soft weight sharing only, got method 'clusters'. Give fineTuneRate, or leave it out.");
    await expect(attempt({ epoch: 3 } as never)).rejects.toThrow("compressModel: retraining: unknown option 'epoch'. Did you mean 'epochs'?");
    const graph = { modelTopology: { node: [] }, weightSpecs: [], weightData: new ArrayBuffer(0) };
    await expect(compressModel(graph, { inputs: data[0] })).rejects.toThrow('inputs needs a model of layers; of a graph model only the weights are compressed.');
  });
});
