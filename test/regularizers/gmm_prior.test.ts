import * as tf from '@tensorflow/tfjs-core';
import { callbacks, input, layers, model as functionalModel, models, regularizers, sequential, type LayersModel } from '@tensorflow/tfjs-layers';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { activeTape } from '../../src/autodiff/tape.js';
import { klMergeQuantization } from '../../src/callbacks/kl_merge_quantization.js';
import { variableOf } from '../../src/host.js';
import { isReadInsideStep } from '../../src/kernels/mixture_energy/index.js';
import { attachRegularizer, detachRegularizer, governedWeights, priorsOf } from '../../src/regularizers/attach.js';
import { GmmPrior, gmmPrior } from '../../src/regularizers/gmm_prior.js';
import type { GmmPriorArgs } from '../../src/regularizers/gmm_prior_options.js';
import { seeded } from '../contract/fixtures.js';
import { onGpu } from '../helpers.js';

const N = 50;

/** τ/N (−Σ log p(w) + hyperpriors) written out from the formulas, in float64. */
function energyByHand(weights: Float64Array[], prior: GmmPrior, tau: number): number {
  const { means, variances, mixing } = prior.mixture!;
  let energy = 0;
  for (const tensor of weights) {
    for (const w of tensor) {
      let density = 0;
      for (let j = 0; j < means.length; j++) density += (mixing[j] * Math.exp(-((w - means[j]) ** 2) / (2 * variances[j]))) / Math.sqrt(2 * Math.PI * variances[j]);
      energy -= Math.log(density);
    }
  }
  variances.forEach((variance, j) => {
    const [shape, rate] = j === 0 ? [5000, 2] : [250, 0.1];
    energy += (1 - shape) * Math.log(1 / variance) + rate / variance;
  });
  return (tau / N) * energy;
}

/** The value of a scalar that `compute` makes. */
async function valueOf(compute: () => tf.Scalar): Promise<number> {
  const scalar = tf.tidy(compute);
  const [value] = await scalar.data();
  scalar.dispose();
  return value;
}
const losses = (model: LayersModel) => valueOf(() => tf.addN(model.calculateLosses()) as tf.Scalar);

afterEach(() => vi.restoreAllMocks());

describe('gmmPrior', () => {
  const dense = (units: number, prior: GmmPrior, inputShape?: number[]) => layers.dense({ units, inputShape, kernelRegularizer: prior });

  it('given to several layers is one mixture, and still is after save and load', async () => {
    const prior = gmmPrior({ trainingExamples: N, components: 4 });
    const other = gmmPrior({ trainingExamples: N, components: 3 });
    const model = sequential({ layers: [dense(4, prior, [3]), dense(4, prior), dense(2, other)] });
    model.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    const [x, y] = [seeded([8, 3], 1), seeded([8, 2], 2)];
    await model.fit(x, y, { epochs: 2, verbose: 0, callbacks: [klMergeQuantization({ quantizeAtEnd: false })] });
    expect(priorsOf(model)).toEqual([prior, other]);
    const json = model.toJSON(null, false) as Parameters<typeof models.modelFromJSON>[0];
    const [first, second] = await Promise.all([models.modelFromJSON(json), models.modelFromJSON(json)]);
    expect(priorsOf(first)).toHaveLength(2);
    expect(priorsOf(first).map(({ mixture }) => mixture)).toEqual([prior.mixture, other.mixture]);
    expect(priorsOf(first)[0].steps).toBe(2);
    expect(governedWeights(first).map(({ prior: { name } }) => name)).toEqual([prior.name, prior.name, other.name]);
    // Two models loaded at once from one file do not share a mixture.
    expect(priorsOf(second)).toHaveLength(2);
    expect(priorsOf(second)[0]).not.toBe(priorsOf(first)[0]);
    tf.dispose([x, y]);
  });

  it('resumes after a load as if training had gone on', async () => {
    const build = () => {
      const model = sequential({ layers: [layers.dense({ units: 3, inputShape: [4], kernelRegularizer: gmmPrior({ trainingExamples: N, components: 4, name: 'p' }) })] });
      return model;
    };
    const [x, y] = [seeded([8, 4], 1), seeded([8, 3], 2)];
    const fit = (model: LayersModel) => {
      model.compile({ optimizer: tf.train.sgd(0.05), loss: 'meanSquaredError' });
      return model.fit(x, y, { epochs: 3, shuffle: false, verbose: 0, callbacks: [klMergeQuantization({ quantizeAtEnd: false })] });
    };
    const model = build();
    await fit(model);
    const loaded = await models.modelFromJSON(model.toJSON(null, false) as Parameters<typeof models.modelFromJSON>[0]);
    loaded.setWeights(model.getWeights());
    await fit(model);
    await fit(loaded);
    const [[a], [b]] = [priorsOf(model), priorsOf(loaded)];
    expect(b.steps).toBe(6);
    b.mixture!.means.forEach((mean, j) => expect(mean).toBeCloseTo(a.mixture!.means[j], 6));
    b.mixture!.variances.forEach((variance, j) => expect(variance / a.mixture!.variances[j]).toBeCloseTo(1, 6));
    tf.dispose([x, y]);
  });

  it('leaves frozen layers out unless asked', async () => {
    for (const includeFrozen of [false, true]) {
      const prior = gmmPrior({ trainingExamples: N, components: 3, includeFrozen });
      prior.initialize([-1, 1]);
      const model = sequential({ layers: [dense(4, prior, [3]), dense(2, prior)] });
      model.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
      const all = await losses(model);
      model.layers[0].trainable = false;
      const kernels = await Promise.all(model.layers.map(async (layer) => Float64Array.from(await layer.getWeights()[0].data())));
      expect(await losses(model)).toBeCloseTo(energyByHand(includeFrozen ? kernels : kernels.slice(1), prior, 5e-3), 4);
      if (includeFrozen) expect(await losses(model)).toBeCloseTo(all, 5);
    }
  });

  it('raises τ over the warm-up', async () => {
    const prior = gmmPrior({ trainingExamples: N, components: 3, tau: 0.1, tauWarmup: 4 });
    prior.initialize([-1, 1]);
    const model = sequential({ layers: [dense(2, prior, [3])] });
    model.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    const [x, y] = [seeded([8, 3], 1), seeded([8, 2], 2)];
    const seen: number[] = [];
    for (let k = 0; k < 6; k++) {
      seen.push(prior.currentTau);
      await model.trainOnBatch(x, y);
      await prior.step();
    }
    expect(seen).toEqual([0, 0.025, 0.05, expect.closeTo(0.075, 12), 0.1, 0.1]);
    tf.dispose([x, y]);
  });

  it('keeps a mixture that was stepped by hand when a callback takes over', async () => {
    const prior = gmmPrior({ trainingExamples: N, components: 3 });
    if (!isReadInsideStep()) prior.initialize([-1, 1]);
    const model = sequential({ layers: [dense(2, prior, [3])] });
    model.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    const [x, y] = [seeded([8, 3], 1), seeded([8, 2], 2)];
    for (let k = 0; k < 4; k++) {
      await model.trainOnBatch(x, y);
      await prior.step();
    }
    await model.fit(x, y, { epochs: 1, verbose: 0, callbacks: [klMergeQuantization({ quantizeAtEnd: false })] });
    expect(prior.steps).toBe(5);
    tf.dispose([x, y]);
  });

  if (onGpu) it('on a GPU asks for the range of the weights instead of reading them inside a step', () => {
    const weight = tf.variable(tf.tensor1d([0.1, -0.2]));
    expect(() => gmmPrior({ trainingExamples: N, name: 'early' }).apply(weight)).toThrow(
      `gmmPrior 'early': the mixture is not initialized, and on backend '${tf.getBackend()}' weights cannot be read inside a training step. Add klMergeQuantization({prior})`,
    );
    weight.dispose();
  });

  if (onGpu) it('on a GPU reads nothing back inside a step: the host its loss after it, the callback the sums of each weight between batches', async () => {
    const prior = gmmPrior({ trainingExamples: N, components: 3 });
    const model = sequential({ layers: [dense(4, prior, [3]), dense(2, prior)] });
    model.compile({ optimizer: tf.train.adam(0.01), loss: 'meanSquaredError' });
    const [x, y] = [seeded([8, 3], 1), seeded([8, 2], 2)];
    const callbacks = [klMergeQuantization({ prior, quantizeAtEnd: false, verbose: false })];
    await model.fit(x, y, { epochs: 1, verbose: 0, callbacks });

    const gpu = tf.backend();
    const read = gpu.read.bind(gpu);
    const tapes: (object | null)[] = [];
    vi.spyOn(gpu, 'read').mockImplementation((id) => {
      tapes.push(activeTape());
      return read(id);
    });
    const readSync = vi.spyOn(gpu, 'readSync');
    await model.trainOnBatch(x, y);
    expect(tapes).toEqual([null]);
    await prior.step();
    expect(tapes).toEqual([null, null, null]);
    await model.fit(x, y, { epochs: 2, batchSize: 4, verbose: 0, callbacks: [klMergeQuantization({ prior, quantizeAtEnd: false, verbose: false })] });
    expect(tapes.length).toBeGreaterThan(3);
    expect(tapes.every((tape) => tape === null)).toBe(true);
    expect(readSync).not.toHaveBeenCalled();
    tf.dispose([x, y]);
  });

  it('counts a weight after an evaluation that threw', async () => {
    const prior = gmmPrior({ trainingExamples: N, components: 3 });
    prior.initialize([-1, 1]);
    const weight = tf.variable(tf.tensor1d([0.1, -0.2]));
    const energy = () => valueOf(() => prior.apply(weight));
    const before = await energy();
    expect(() => tf.variableGrads(() => { throw new Error('bad loss'); }, [weight])).toThrow('bad loss'); // prettier-ignore
    expect([await energy(), await energy()]).toEqual([before, before]);
    weight.dispose();
  });

  it('that gets its name by itself gets another than a loaded one has', () => {
    const next = Number(gmmPrior({ trainingExamples: N }).name.slice('gmmPrior'.length)) + 1;
    gmmPrior({ trainingExamples: N, name: `gmmPrior${next}` });
    expect(gmmPrior({ trainingExamples: N }).name).toBe(`gmmPrior${next + 1}`);
  });

  it('learns π₀ only when asked', async () => {
    for (const learnZeroMixing of [false, true, [90, 10] as [number, number]]) {
      const prior = gmmPrior({ trainingExamples: N, components: 3, zeroMixing: 0.5, learnZeroMixing });
      const weight = tf.variable(tf.zeros([10, 10]));
      prior.initialize([-1, 1]);
      for (let k = 0; k < 20; k++) {
        tf.dispose(tf.variableGrads(() => prior.apply(weight), [weight]));
        await prior.step();
      }
      if (learnZeroMixing === false) expect(prior.mixture!.mixing[0]).toBeCloseTo(0.5, 12);
      else expect(prior.mixture!.mixing[0]).toBeGreaterThan(0.501);
      weight.dispose();
    }
  });

  it('moves its mixture onto the weights: the mean of a cluster is found', async () => {
    const prior = gmmPrior({ trainingExamples: N, components: 2, zeroMixing: 0.5, learningRates: { means: 0.01, logVariances: 0.05, mixingLogits: 0.05 } });
    const weight = tf.variable(tf.concat([tf.zeros([100]), tf.fill([100], 0.4)]));
    prior.initialize([0, 0.6]);
    for (let k = 0; k < 100; k++) {
      tf.dispose(tf.variableGrads(() => prior.apply(weight), [weight]));
      await prior.step();
    }
    expect(prior.mixture!.means[1]).toBeCloseTo(0.4, 2);
    expect(prior.mixture!.means[0]).toBe(0);
    weight.dispose();
  });

  it('says once that nobody trains it', () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const prior = gmmPrior({ trainingExamples: N, components: 3, name: 'idle' });
    prior.initialize([-1, 1]);
    const weight = tf.variable(tf.tensor1d([0.1, -0.2]));
    for (let k = 0; k < 8; k++) tf.dispose(tf.variableGrads(() => prior.apply(weight), [weight]));
    expect(warn.mock.calls).toEqual([["gmmPrior 'idle': nobody trains its mixture. Add klMergeQuantization({prior}) to the callbacks of model.fit."]]);
    weight.dispose();
  });

  it.each<[object, string]>([
    [{}, 'gmmPrior: trainingExamples must be a finite number > 0, got undefined. Give the number of examples in the training set'],
    [{ trainingExamples: 9, components: 1 }, 'gmmPrior: components must be an integer from 2 to 65535, got 1.'],
    [{ trainingExamples: 9, components: 1e8 }, 'gmmPrior: components must be an integer from 2 to 65535, got 100000000.'],
    [{ trainingExamples: 9, tau: 0 }, 'gmmPrior: tau must be a finite number > 0, got 0.'],
    [{ trainingExamples: 9, tau: -1 }, 'gmmPrior: tau must be a finite number > 0, got -1.'],
    [{ trainingExamples: 9, zeroMixing: 1 }, 'gmmPrior: zeroMixing must be a number strictly between 0 and 1, got 1.'],
    [{ trainingExamples: 9, zeroMixing: 0 }, 'gmmPrior: zeroMixing must be a number strictly between 0 and 1, got 0.'],
    [{ trainingExamples: 9, compnents: 4 }, "gmmPrior: unknown option 'compnents'. Did you mean 'components'?"],
    [{ trainingExamples: 9, preset: 'ullrich' }, "gmmPrior: preset must be one of 'paper', 'tutorial', got 'ullrich'."],
    [{ trainingExamples: 9, learning: 'em', learningRates: { means: 1e-3 } }, "gmmPrior: learningRates are of gradient steps and change nothing with learning 'em'. Leave one of them out."],
    [{ trainingExamples: 9, learningRates: { mean: 1 } }, "gmmPrior: learningRates: unknown option 'mean'. Did you mean 'means'?"],
    [{ trainingExamples: 9, includeFrozen: 'yes' }, "gmmPrior: includeFrozen must be true or false, got 'yes'."],
    [{ trainingExamples: 9, learnZeroMixing: [1] }, 'gmmPrior: learnZeroMixing must be true, false, or the two parameters [a, b] of a Beta density, got [1].'],
    [{ trainingExamples: 9, name: '' }, "gmmPrior: name must be a string that is not empty, got ''."],
    [{ trainingExamples: 9, zeroHyperprior: { shape: 0, rate: 1 } }, 'gmmPrior: zeroHyperprior.shape must be a finite number > 0, got 0.'],
  ])('refuses %j', (args, message) => {
    expect(() => gmmPrior(args as GmmPriorArgs)).toThrow(message);
  });

  it('refuses a damaged state in a saved model', () => {
    const prior = gmmPrior({ trainingExamples: N, components: 3, name: 'q' });
    prior.initialize([-1, 1]);
    const config = JSON.parse(JSON.stringify(prior.getConfig())) as { state: { parameters: { means: number[] } } };
    config.state.parameters.means.pop();
    expect(() => GmmPrior.fromConfig(GmmPrior, config as unknown as tf.serialization.ConfigDict)).toThrow("gmmPrior 'q': the saved state does not hold 3 finite components.");
  });

  it('given to a layer of another copy of tfjs-layers says that there are two copies', () => {
    // What the other copy does with a regularizer that is not an instance of its own class (deserializeKerasObject).
    const foreignLayer = (config: Record<string, unknown>) => {
      if (config['className'] == null || config['config'] == null) throw new Error(`regularizer: Improper config format: ${JSON.stringify(config)}`);
    };
    expect(() => foreignLayer(gmmPrior({ trainingExamples: N }) as unknown as Record<string, unknown>)).toThrow('two copies of @tensorflow/tfjs-layers are loaded');
  });
});

describe('attachRegularizer', () => {
  const network = () => {
    const x = input({ shape: [3] });
    const shared = layers.dense({ units: 3, name: 'shared', kernelRegularizer: regularizers.l2({ l2: 0.1 }) });
    const y = layers.dense({ units: 2, name: 'top' }).apply(layers.batchNormalization({ name: 'norm' }).apply(shared.apply(shared.apply(x)))) as SymbolicTensor;
    return functionalModel({ inputs: x, outputs: y });
  };
  type SymbolicTensor = ReturnType<typeof input>;
  const kernelOf = (model: LayersModel, name: string) => model.getLayer(name).getWeights()[0].data().then((values) => Float64Array.from(values));

  it('puts a prior on a built model beside what is there, counts a layer used twice once, and comes off again', async () => {
    const model = network();
    const l2Alone = await losses(model);
    const prior = gmmPrior({ trainingExamples: N, components: 3 });
    prior.initialize([-1, 1]);
    expect(attachRegularizer(model, prior)).toBe(model);
    const expected = energyByHand([await kernelOf(model, 'shared'), await kernelOf(model, 'top')], prior, 5e-3);
    expect(await losses(model)).toBeCloseTo(l2Alone + expected, 3);
    expect(priorsOf(model)).toEqual([prior]);
    detachRegularizer(model, prior);
    expect(await losses(model)).toBeCloseTo(l2Alone, 5);
    expect(priorsOf(model)).toEqual([]);
    attachRegularizer(model, prior, { layers: ['top'] });
    expect(await losses(model)).toBeCloseTo(l2Alone + energyByHand([await kernelOf(model, 'top')], prior, 5e-3), 3);
  });

  it('is saved with the model, the other regularizer of the layer too, and detaches after loading', async () => {
    const model = network();
    const prior = gmmPrior({ trainingExamples: N, components: 3, name: 'saved' });
    prior.initialize([-1, 1]);
    attachRegularizer(model, prior);
    const loaded = await models.modelFromJSON(model.toJSON(null, false) as Parameters<typeof models.modelFromJSON>[0]);
    loaded.setWeights(model.getWeights());
    expect(await losses(loaded)).toBeCloseTo(await losses(model), 3);
    const [back] = priorsOf(loaded);
    expect(back.mixture).toEqual(prior.mixture);
    detachRegularizer(loaded);
    detachRegularizer(model);
    expect(await losses(loaded)).toBeCloseTo(await losses(model), 5);
    attachRegularizer(loaded, back);
    attachRegularizer(model, prior);
    expect(await losses(loaded)).toBeCloseTo(await losses(model), 3);
  });

  it('takes biases and normalisations in when asked', () => {
    const model = network();
    const prior = gmmPrior({ trainingExamples: N, components: 3 });
    attachRegularizer(model, prior, { biases: true });
    expect(governedWeights(model).map(({ weight }) => variableOf(weight).shape)).toEqual([[3, 3], [3], [3], [3], [3, 2], [2]]);
  });

  describe('reaches weights whose losses the host forgets', () => {
    const lstm = (kernelRegularizer?: GmmPrior) => layers.lstm({ units: 3, recurrentInitializer: 'glorotUniform', kernelRegularizer, inputShape: [4, 5] });
    const head = (layer: layers.Layer) => sequential({ layers: [layer] });
    const wrap = (layer: unknown) => layers.bidirectional({ layer, mergeMode: 'sum', inputShape: [4, 5] } as unknown as Parameters<typeof layers.bidirectional>[0]);
    type Layer = layers.Layer;
    const cases: Record<string, (prior?: GmmPrior) => Layer> = {
      'a recurrent layer': (prior) => lstm(prior),
      'Bidirectional, both directions': (prior) => wrap(lstm(prior)),
      'TimeDistributed around a layer': (prior) => layers.timeDistributed({ layer: layers.dense({ units: 3, kernelRegularizer: prior }), inputShape: [4, 5] }),
      'TimeDistributed around a model': (prior) => layers.timeDistributed({ layer: head(layers.dense({ units: 3, inputShape: [5], kernelRegularizer: prior })), inputShape: [4, 5] }),
      'a model at the head of another': (prior) => head(layers.dense({ units: 3, inputShape: [4, 5], kernelRegularizer: prior })),
    };
    const governed = (model: LayersModel) => [...new Set(governedWeights(model).map(({ weight }) => variableOf(weight)))];
    const train = async (model: LayersModel) => {
      model.compile({ optimizer: tf.train.sgd(0), loss: 'meanSquaredError' });
      const [x, y] = [seeded([8, ...(model.inputs[0].shape.slice(1) as number[])], 1), seeded([8, ...(model.outputs[0].shape.slice(1) as number[])], 2)];
      const [plain] = await (model.evaluate(x, y) as tf.Scalar).data();
      const { history } = await model.fit(x, y, { epochs: 1, verbose: 0, callbacks: [klMergeQuantization({ quantizeAtEnd: false })] });
      tf.dispose([x, y]);
      return (history['loss'][0] as number) - plain;
    };
    const still = { learningRates: { means: 0, logVariances: 0, mixingLogits: 0 } };

    for (const [title, build] of Object.entries(cases)) {
      for (const how of ['attached', 'given to the layer'] as const) {
        it(`${title}, ${how}, also after saving and loading`, async () => {
          const prior = gmmPrior({ trainingExamples: N, components: 3, ...still });
          const model = sequential({ layers: [build(how === 'attached' ? undefined : prior)] });
          if (how === 'attached') attachRegularizer(model, prior);
          for (const m of [model, await models.modelFromJSON(model.toJSON(null, false) as Parameters<typeof models.modelFromJSON>[0])]) {
            const added = await train(m);
            expect(priorsOf(m)).toHaveLength(1);
            const weights = await Promise.all(governed(m).map(async (weight) => Float64Array.from(await weight.data())));
            expect(added).toBeCloseTo(energyByHand(weights, priorsOf(m)[0], 5e-3), 3);
            expect(governed(m).length).toBe(governed(model).length);
          }
          detachRegularizer(model, prior);
          expect(priorsOf(model)).toEqual([]);
          expect(await valueOf(() => model.calculateLosses().reduce((sum, loss) => tf.add(sum, loss), tf.scalar(0)))).toBe(0);
          const bare = await models.modelFromJSON(model.toJSON(null, false) as Parameters<typeof models.modelFromJSON>[0]);
          expect(priorsOf(bare)).toEqual([]);
        });
      }
    }

    it('by the name of what is around them, and not when that is frozen', async () => {
      const prior = gmmPrior({ trainingExamples: N, components: 3 });
      const model = sequential({ layers: [layers.lstm({ units: 3, recurrentInitializer: 'glorotUniform', inputShape: [4, 5], name: 'outer' }), layers.dense({ units: 2, name: 'head' })] });
      attachRegularizer(model, prior, { layers: ['outer'] });
      expect(governedWeights(model).map(({ slot }) => slot)).toEqual(['kernelRegularizer', 'recurrentRegularizer']);
      attachRegularizer(model, prior, { layers: ['head'] });
      model.layers[0].trainable = false;
      prior.initialize([-1, 1]);
      const added = await train(model);
      expect(added).toBeCloseTo(energyByHand([Float64Array.from(await model.layers[1].getWeights()[0].data())], prior, 5e-3), 3);
      model.layers[0].trainable = true;
      await expect(klMergeQuantization({ skip: ['outer', 'head'] }).quantize(model)).rejects.toThrow('klMergeQuantization: skip leaves nothing to quantise');
    });
  });

  it('works before compile, after compile and after a fit, and trains', async () => {
    const model = network();
    const [x, y] = [seeded([16, 3], 1), seeded([16, 2], 2)];
    model.compile({ optimizer: 'adam', loss: 'meanSquaredError' });
    await model.fit(x, y, { epochs: 1, verbose: 0 });
    const prior = attachRegularizer(model, gmmPrior({ trainingExamples: 16, components: 3 })) && priorsOf(model)[0];
    const history = await model.fit(x, y, { epochs: 2, verbose: 0, callbacks: [klMergeQuantization({ prior, quantizeAtEnd: false })] });
    expect(history.history['gmmEnergy']).toHaveLength(2);
    expect(prior.steps).toBe(2);
    tf.dispose([x, y]);
  });

  it.each<[string, (model: LayersModel, prior: GmmPrior) => void, string]>([
    ['a layer that is not there', (model, prior) => attachRegularizer(model, prior, { layers: ['tpo'] }), "has no layer 'tpo'. Layers: "],
    ['a layer without a kernel', (model, prior) => attachRegularizer(model, prior, { layers: ['norm'] }), "attachRegularizer: layer 'norm' has no kernel to regularize."],
    ['the same prior twice', (model, prior) => attachRegularizer(attachRegularizer(model, prior), prior), "layer 'shared' carries gmmPrior "],
    ['what is no prior', (model) => attachRegularizer(model, regularizers.l2() as unknown as GmmPrior), 'attachRegularizer: expected a prior made by gmmPrior(…) or growl(…), got L1L2.'],
    ['a misspelt option', (model, prior) => attachRegularizer(model, prior, { layer: ['top'] } as object), "attachRegularizer: unknown option 'layer'. Did you mean 'layers'?"],
    ['one layer instead of a list', (model, prior) => attachRegularizer(model, prior, { layers: 'top' as unknown as string[] }), "attachRegularizer: layers must be an array of layer names, got 'top'."],
    ['what is no model', (_, prior) => attachRegularizer(undefined as unknown as LayersModel, prior), 'attachRegularizer: expected a tf.LayersModel, got undefined.'],
    ['a model of another copy of the host', (model, prior) => attachRegularizer({ layers: model.layers } as LayersModel, prior), 'attachRegularizer: two copies of @tensorflow/tfjs-layers are loaded'],
    ['a model without kernels', (_, prior) => attachRegularizer(sequential({ layers: [layers.flatten({ inputShape: [2, 2] })] }), prior), 'has no layer with a kernel; the prior would be attached to no weight.'],
    ['detaching what is not there', (model, prior) => detachRegularizer(model, prior), 'carries gmmPrior '],
  ])('refuses %s', (_, act, message) => {
    expect(() => act(network(), gmmPrior({ trainingExamples: N }))).toThrow(message);
  });

  it('lets EarlyStopping watch what is logged', async () => {
    const model = network();
    const [x, y] = [seeded([16, 3], 1), seeded([16, 2], 2)];
    model.compile({ optimizer: tf.train.sgd(1e-6), loss: 'meanSquaredError' });
    const prior = gmmPrior({ trainingExamples: 16, components: 3, learningRates: { means: 0, logVariances: 0, mixingLogits: 0 } });
    attachRegularizer(model, prior);
    const stopping = callbacks.earlyStopping({ monitor: 'gmmComponents', patience: 2 });
    const history = await model.fit(x, y, { epochs: 10, verbose: 0, callbacks: [klMergeQuantization({ quantizeAtEnd: false }), stopping] });
    expect(history.epoch.length).toBe(3);
    tf.dispose([x, y]);
  });
});
