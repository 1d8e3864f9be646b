/** Priors and penalties on the kernels of a recursion's block, head and fusion, and on those of each recursion. */
import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model as functional, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { growlProximal } from '../../../src/callbacks/growl_proximal.js';
import { klMergeQuantization } from '../../../src/callbacks/kl_merge_quantization.js';
import { stripTopology } from '../../../src/compression/strip_training.js';
import { recursiveConv, type RecursiveConv } from '../../../src/layers/recursion/recursive_conv.js';
import type { RecursiveConvArgs } from '../../../src/layers/recursion/recursion_options.js';
import { drcn } from '../../../src/recipes/drcn.js';
import { drrn } from '../../../src/recipes/drrn.js';
import { memNet } from '../../../src/recipes/mem_net.js';
import { attachRegularizer, detachRegularizer, governedWeights, growlWeights, priorsOf } from '../../../src/regularizers/attach.js';
import { gmmPrior } from '../../../src/regularizers/gmm_prior.js';
import { growl } from '../../../src/regularizers/growl.js';
import { saveAndLoad, seeded } from '../../contract/fixtures.js';

function prior() {
  const made = gmmPrior({ trainingExamples: 4, components: 3, tau: 0.01 });
  // A GPU cannot look at weights inside of a step.
  made.initialize([-1, 1]);
  return made;
}
function network(args: Partial<RecursiveConvArgs>): LayersModel {
  const x = input({ shape: [4, 4, 2] });
  return functional({ inputs: x, outputs: recursiveConv({ recursions: 3, ...args }).apply(x) as SymbolicTensor });
}
const names = (model: LayersModel) => governedWeights(model).map(({ weight }) => weight.originalName.replace(/^.*\//, ''));
/** The energies that training adds to the loss. */
const losses = (model: LayersModel) => Promise.all(tf.tidy(() => model.calculateLosses()).map(async (loss) => (await loss.data())[0]));
const sum = (numbers: number[]) => numbers.reduce((total, n) => total + n, 0);

/** Every convolution somewhere else. */
const EVERYWHERE: Partial<RecursiveConvArgs> = {
  block: [{ kernelSize: 3, filters: 4 }, layers.conv2d({ kernelSize: 1, filters: 2, padding: 'same', name: 'of_the_host' })],
  head: [{ kernelSize: 3, filters: 3 }, { kernelSize: 1, filters: 2 }], readout: 'fusion',
}; // prettier-ignore

describe('a prior given to a recursive convolution', () => {
  it('governs the kernel of each recursion, is counted once for each, and is quantised', async () => {
    const given = prior();
    const model = network({ kernelSize: 3, tied: false, kernelRegularizer: given });
    expect(priorsOf(model)).toEqual([given]);
    expect(names(model)).toEqual(['kernel_0', 'kernel_1', 'kernel_2']);
    const [x, y] = [seeded([4, 4, 4, 2], 1), seeded([4, 4, 4, 2], 2)];
    model.compile({ optimizer: tf.train.adam(0.01), loss: 'meanSquaredError' });
    const quantization = klMergeQuantization({ verbose: false });
    await model.fit(x, y, { epochs: 2, batchSize: 4, verbose: 0, callbacks: [quantization] });
    const kernels = await Promise.all(model.getWeights().filter(({ rank }) => rank === 4).map((weight) => weight.data())); // prettier-ignore
    expect(kernels).toHaveLength(3);
    expect(new Set(kernels.flatMap((kernel) => Array.from(kernel))).size).toBeLessThanOrEqual(3);
    expect(quantization.report!.layers.map(({ weights }) => weights)).toEqual([36, 36, 36]);
    detachRegularizer(model);
    expect(priorsOf(model)).toEqual([]);
    expect(sum(await losses(model))).toBe(0);
    tf.dispose([x, y]);
    model.dispose();
  });

  it('of a single convolution is gone after loading, too, where it was taken off', async () => {
    const model = network({ kernelSize: 3, kernelRegularizer: prior() });
    expect(priorsOf(await saveAndLoad(model))).toHaveLength(1);
    detachRegularizer(model);
    expect(priorsOf(await saveAndLoad(model))).toEqual([]);
  });

  it('as an option of one part stands on that one alone, and once in the loss', async () => {
    const given = growl({ lambda1: 0.1, lambda2: 0.1 });
    const model = network({ ...EVERYWHERE, block: [{ kernelSize: 3, filters: 4, kernelRegularizer: given }, { kernelSize: 1, filters: 2 }] });
    expect(growlWeights(model).map(({ weight }) => weight.originalName.replace(/^.*\//, ''))).toEqual(['kernel_part0']);
    const [one] = await losses(model);
    expect(await losses(model)).toEqual([one]);
    const [x, y] = [seeded([4, 4, 4, 2], 1), seeded([4, 4, 4, 2], 2)];
    model.compile({ optimizer: tf.train.sgd(0.01), loss: 'meanSquaredError' });
    await model.fit(x, y, { epochs: 1, batchSize: 4, verbose: 0, callbacks: [growlProximal()] });
    tf.dispose([x, y]);
    model.dispose();
  });
});

describe('a prior put on later', () => {
  it('reaches every convolution, and comes back as one on all of them', async () => {
    const model = network(EVERYWHERE);
    const attached = prior();
    attachRegularizer(model, attached);
    // The host's layer is one inside.
    const all = ['kernel_part0', 'kernel_head_part0', 'kernel_head_part1', 'kernel_fusion', 'kernel'];
    expect(names(model).sort()).toEqual([...all].sort());
    expect(await losses(model)).toHaveLength(5);
    const loaded = await saveAndLoad(model);
    expect(names(loaded).sort()).toEqual([...all].sort());
    expect(priorsOf(loaded)).toHaveLength(1);
    expect(sum(await losses(loaded))).toBeCloseTo(sum(await losses(model)), 4);
    expect(JSON.stringify(stripTopology(model.toJSON(null, false)))).not.toContain('GmmPrior');
    model.dispose();
    loaded.dispose();
  });

  it('with biases those too; what was taken off stays off after loading', async () => {
    const model = network({ kernelSize: 3, tied: false, kernelRegularizer: prior(), name: 'untied' });
    detachRegularizer(model);
    expect(priorsOf(await saveAndLoad(model))).toEqual([]);
    attachRegularizer(model, prior(), { biases: true });
    expect(names(model)).toEqual(['kernel_0', 'kernel_1', 'kernel_2', 'bias_0', 'bias_1', 'bias_2']);
    const other = network({ kernelSize: 3 });
    attachRegularizer(other, prior());
    expect((other.layers[1] as RecursiveConv).getConfig()).not.toHaveProperty('innerRegularizers');
    model.dispose();
    other.dispose();
  });

  it.each([
    ['drrn', () => drrn({ filters: 4, units: 2 })], ['untied drrn', () => drrn({ filters: 4, units: 2, tied: false })],
    ['drcn', () => drcn({ filters: 4, recursions: 2 })], ['memNet', () => memNet({ filters: 4, blocks: 2, recursions: 2, normalization: false })],
  ])('reaches all kernels of %s', (_, make) => {
    const model = make();
    attachRegularizer(model, prior());
    const sizes = (shapes: readonly (readonly (number | null)[])[]) => sum(shapes.map((shape) => tf.util.sizeFromShape(shape as number[])));
    expect(sizes(governedWeights(model).map(({ weight }) => weight.shape))).toBe(sizes(model.weights.filter(({ shape }) => shape.length === 4).map(({ shape }) => shape)));
    model.dispose();
  }); // prettier-ignore
});
