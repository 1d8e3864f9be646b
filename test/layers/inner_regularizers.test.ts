import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model as functional, regularizers, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { attachRegularizer, detachRegularizer, gmmPrior, growl, priorsOf, recurrentDepth, sharedAttention, universalTransformer, type InnerRegularizer } from '../../src/index.js';
import { growlWeights } from '../../src/regularizers/attach.js';
import { stripTopology } from '../../src/compression/strip_training.js';
import { expectNear, saveAndLoad, seeded } from '../contract/fixtures.js';

type Outer = 'universalTransformer' | 'sharedAttention';
type Extra = { kernelRegularizer?: ReturnType<typeof regularizers.l2>; innerRegularizers?: InnerRegularizer[] };

const made: Record<Outer, (extra?: Extra) => layers.Layer> = {
  universalTransformer: (extra) => universalTransformer({ units: 4, numHeads: 2, hiddenUnits: 6, steps: 2, recurrence: 'highway', name: 'outer', ...(extra as object) }),
  sharedAttention: (extra) => sharedAttention({ numLayers: 2, numHeads: 2, units: 3, name: 'outer', ...(extra as object) }),
};
/** Kernels inside. */
const KERNELS: Record<Outer, number> = { universalTransformer: 7, sharedAttention: 12 };

function build(layer: layers.Layer): LayersModel {
  const x = input({ shape: [3, 4] });
  return functional({ inputs: x, outputs: layer.apply(x) as SymbolicTensor });
}

/** The energies that training adds to the loss. */
async function losses(model: LayersModel): Promise<number[]> {
  const energies = tf.tidy(() => model.calculateLosses());
  return Promise.all(energies.map(async (energy) => (await energy.data())[0]));
}
const total = async (model: LayersModel) => (await losses(model)).reduce((sum, energy) => sum + energy, 0);

/** Both take one step, and are the same afterwards. */
async function expectSameStep(a: LayersModel, b: LayersModel): Promise<void> {
  for (const model of [a, b]) {
    model.compile({ optimizer: tf.train.sgd(0.05), loss: 'meanSquaredError' });
    await model.trainOnBatch(seeded([2, 3, 4], 1), seeded([2, 3, 4], 2));
  }
  expect(new Set(b.trainableWeights).size).toBe(a.trainableWeights.length);
  for (const [i, weight] of a.getWeights().entries()) expectNear(a.weights[i].name, await b.getWeights()[i].data(), await weight.data(), 1e-5);
}

const initialized = () => {
  const prior = gmmPrior({ components: 3, trainingExamples: 10 });
  prior.initialize([-1, 1]);
  return prior;
};

describe.each<Outer>(['universalTransformer', 'sharedAttention'])('a regularizer attached inside of %s', (outer) => {
  it('comes back from a file as one mixture over all kernels, with the same energies, and trains as before', async () => {
    const model = build(made[outer]());
    attachRegularizer(model, initialized());
    const before = await losses(model);
    expect(before).toHaveLength(KERNELS[outer]);
    const loaded = await saveAndLoad(model);
    expect(priorsOf(loaded)).toHaveLength(1);
    expect(priorsOf(loaded)[0].mixture).toEqual(priorsOf(model)[0].mixture);
    const after = await losses(loaded);
    expect(after).toHaveLength(before.length);
    expectNear('sum of the energies', [await total(loaded)], [await total(model)], 1e-5);
    await expectSameStep(model, loaded);
    expect(priorsOf(await saveAndLoad(loaded))).toHaveLength(1);
  });

  it('comes back as one growl penalty, with the same energies, and trains as before', async () => {
    const model = build(made[outer]());
    attachRegularizer(model, growl({ lambda1: 0.1, lambda2: 0.05 }));
    const before = await losses(model);
    const loaded = await saveAndLoad(model);
    const governed = growlWeights(loaded);
    expect(governed).toHaveLength(KERNELS[outer]);
    expect(new Set(governed.map(({ prior }) => prior)).size).toBe(1);
    expectNear('energies', (await losses(loaded)).sort(), before.sort(), 1e-5);
    await expectSameStep(model, loaded);
  });

  it('comes back beside those that the layer was made with, and stays off where it was taken off', async () => {
    const model = build(made[outer]({ kernelRegularizer: regularizers.l2({ l2: 0.1 }) }));
    expect(await losses(model)).toHaveLength(KERNELS[outer]);
    expect(model.getLayer('outer').getConfig()['innerRegularizers']).toBeNull();
    const prior = initialized();
    attachRegularizer(model, prior, { layers: [outer === 'sharedAttention' ? 'layer_1_inner' : 'transition_in'] });
    const loaded = await saveAndLoad(model);
    expectNear('both', [await total(loaded)], [await total(model)], 1e-5);
    detachRegularizer(loaded);
    expect(priorsOf(await saveAndLoad(loaded))).toEqual([]);

    const given = build(made[outer]({ kernelRegularizer: initialized() }));
    expect(priorsOf(await saveAndLoad(given))).toHaveLength(1);
    detachRegularizer(given);
    expect(priorsOf(await saveAndLoad(given))).toEqual([]);
  });

  it('is no part of a deployed model', async () => {
    const model = build(made[outer]());
    attachRegularizer(model, initialized());
    const topology = JSON.stringify(stripTopology(model.toJSON(null, false)));
    expect(topology).not.toContain('GmmPrior');
  });

  it('is kept in configs also before the layer is built, and inside of another layer', async () => {
    const model = build(recurrentDepth({ layer: made[outer](), steps: 2 }));
    attachRegularizer(model, initialized());
    expect(priorsOf(await saveAndLoad(model))).toHaveLength(1);
    const innerRegularizers: InnerRegularizer[] = [{ regularizer: 'l1l2' as const, slots: [{ name: outer === 'sharedAttention' ? 'layer_0_attention' : 'attention', slot: 'keyRegularizer' }] }];
    const layer = made[outer]({ innerRegularizers });
    expect(layer.getConfig()).toMatchObject({ innerRegularizers: [{ regularizer: { className: 'L1L2' }, slots: innerRegularizers[0].slots }] });
    expect(await losses(build(layer))).toHaveLength(1);
  });

  it('says what is wrong in a config', () => {
    const wrong = (innerRegularizers: unknown) => () => build(made[outer]({ innerRegularizers } as Extra));
    expect(wrong('l2')).toThrow("innerRegularizers must be a list of {regularizer, slots}, got 'l2'.");
    expect(wrong([{ regularizer: null, slots: 'all' }])).toThrow("innerRegularizers: slots must be a list of {name, slot}, got 'all'.");
    expect(wrong([{ regularizer: null, slots: [{ name: 'nobody', slot: 'kernelRegularizer' }] }])).toThrow("innerRegularizers names the kernelRegularizer of 'nobody', which is not there. Layers: ");
    const name = outer === 'sharedAttention' ? 'layer_0_attention' : 'attention';
    expect(wrong([{ regularizer: null, slots: [{ name, slot: 'call' }] }])).toThrow(`innerRegularizers names the call of '${name}', which is not there.`);
  });
});

it('universalTransformer leaves the regularizers of a transition of the user’s to that', async () => {
  const transition = layers.dense({ units: 4, name: 'mine', kernelRegularizer: regularizers.l2({ l2: 0.5 }) });
  const model = build(universalTransformer({ units: 4, numHeads: 2, steps: 2, transition, kernelRegularizer: regularizers.l2({ l2: 0.1 }) }));
  attachRegularizer(model, initialized());
  const loaded = await saveAndLoad(model);
  expect(priorsOf(loaded)).toHaveLength(1);
  expectNear('energies', [await total(loaded)], [await total(model)], 1e-5);
});
