import * as tf from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { withFixedDraws } from '../../src/autodiff/fixed_draws.js';
import { recursiveSupervision } from '../../src/losses/recursive_supervision.js';
import { drcn } from '../../src/recipes/drcn.js';
import { drrn } from '../../src/recipes/drrn.js';
import { eigenNet } from '../../src/recipes/eigen_net.js';
import { lruBlock, lruNet } from '../../src/recipes/lru_net.js';
import { memNet } from '../../src/recipes/mem_net.js';
import { rdn } from '../../src/recipes/rdn.js';
import { deqSchedule } from '../../src/callbacks/deq_schedule.js';
import { supervisionDecay } from '../../src/callbacks/supervision_decay.js';
import { temporalConvolutionCell } from '../../src/layers/temporal_convolution_cell.js';
import { transformerCell } from '../../src/layers/transformer_cell.js';
import { fixedPointCorrection } from '../../src/losses/fixed_point_correction.js';
import { expectNear, saveAndLoad, seeded } from '../contract/fixtures.js';
import { onGpu } from '../helpers.js';

const trainable = (model: LayersModel) => model.trainableWeights.reduce((total, weight) => total + tf.util.sizeFromShape(weight.shape as number[]), 0);

/** Freed at once: the largest has 88 MB of weights. */
function counted<T>(model: LayersModel, count: (model: LayersModel) => T): T {
  const result = count(model);
  model.dispose();
  return result;
}

describe('recipes have the published numbers of parameters', () => {
  it('LruNet: 131 402 at N = 1 and 206 282 at N = 14, 5 760 per recursion', () => {
    expect(counted(lruNet({ recursions: 1 }), trainable)).toBe(131_402);
    expect(counted(lruNet({ recursions: 14 }), trainable)).toBe(206_282);
    expect(counted(lruNet({ recursions: 8 }), trainable)).toBe(171_722);
    // Twice the channels, counted by hand: stem 3 712, blocks 34 560 + 348 160 + 11 520, last convolutions 66 560 + 5 130.
    expect(counted(lruNet({ recursions: 1, width: 2 }), trainable)).toBe(469_642);
  });

  it('DRCN: 1 775 121', () => {
    expect(counted(drcn(), trainable)).toBe(1_775_121);
  });

  it('DRRN B1U9 and B1U25: 297 216, and untied 52 layers 7.38 million', () => {
    expect(counted(drrn({ units: 9 }), trainable)).toBe(297_216);
    expect(counted(drrn({ units: 25 }), trainable)).toBe(297_216);
    expect(counted(drrn({ units: 25, tied: false }), trainable)).toBe(25 * 294_912 + 2 * 1_152);
  });

  it('MemNet M6R6: 676 992 in convolutions', () => {
    const inKernels = (model: LayersModel) => model.trainableWeights.filter(({ shape }) => shape.length === 4).reduce((total, { shape }) => total + tf.util.sizeFromShape(shape as number[]), 0);
    expect(counted(memNet(), inKernels)).toBe(676_992);
  });

  // Weights of 88 MB are made for this one: once, where that is quick.
  it.skipIf(onGpu || process.env.TFWS_BACKEND === 'cpu')('RDN ×2: 22 123 395', () => {
    expect(counted(rdn({ scale: 2 }), trainable)).toBe(22_123_395);
  });

  it('Eigen’s network: layers cost nothing when tied, maps and layers change independently', () => {
    const count = (layers: number, tied = true) => counted(eigenNet({ maps: 8, layers, tied }), trainable);
    const both = 8 * (64 * 3 + 1) + 4 * 4 * 8 * 10 + 10;
    expect(count(2)).toBe(both + 9 * 64 + 8);
    expect(count(6)).toBe(count(2));
    expect(count(6, false)).toBe(both + 6 * (9 * 64 + 8));
  });
});

const image = (size: number, channels = 1, seed = 3) => seeded([1, size, size, channels], seed);
const outputsOf = (model: LayersModel, x: tf.Tensor) => [model.predict(x)].flat();

describe('recipes for super-resolution', () => {
  const small = {
    drcn: () => drcn({ recursions: 2, filters: 4 }),
    drrn: () => drrn({ units: 2, filters: 4 }),
    memNet: () => memNet({ blocks: 2, recursions: 2, filters: 4 }),
    rdn: () => rdn({ scale: 1, blocks: 2, layers: 2, filters: 4, channels: 1 }),
  };

  it.each(Object.entries(small))('%s takes images of any size and trains', async (name, make) => {
    const model = withFixedDraws(1, make);
    const steps = model.outputs.length - 1;
    const supervision = steps === 0 ? null : recursiveSupervision({ steps, alpha: 0.5 });
    model.compile({ optimizer: tf.train.sgd(0.001), loss: supervision?.losses ?? 'meanSquaredError' });
    const [x, y] = [image(8), image(8, 1, 4)];
    const target = supervision?.targets(y) ?? y;
    const { history } = await model.fit(x, target, { epochs: onGpu ? 2 : 4, verbose: 0 });
    expect(history['loss'].at(-1) as number, name).toBeLessThan(history['loss'][0] as number);
    expect(outputsOf(model, image(6)).map(({ shape }) => shape)).toEqual(Array(steps + 1).fill([1, 6, 6, 1]));
  });

  it('begins, with the identity, as the interpolated image plus one reconstruction in each step', async () => {
    const [main, ...steps] = outputsOf(drcn({ recursions: 3, filters: 4 }), image(5));
    // ReLU of non-negative states and the identity change nothing: all steps are equal, and so is their weighted mean.
    for (const step of steps) expectNear('step', await step.data(), await main.data(), 1e-5);
  });

  it('is saved and loaded', async () => {
    const model = memNet({ blocks: 2, recursions: 2, filters: 4 });
    const [before] = outputsOf(model, image(5));
    const [after] = outputsOf(await saveAndLoad(model), image(5));
    expectNear('ŷ', await after.data(), await before.data(), 1e-6);
  });

  it('makes rdn’s image larger', () => {
    const [y] = outputsOf(rdn({ scale: 2, blocks: 2, layers: 1, filters: 4, channels: 3 }), image(4, 3));
    expect(y.shape).toEqual([1, 8, 8, 3]);
  });
});

describe('recipes for classification', () => {
  it.each<[string, () => LayersModel]>([
    ['lruNet', () => lruNet({ recursions: 2, inputShape: [16, 16, 1], classes: 3, dropout: 0 })],
    ['eigenNet', () => eigenNet({ maps: 4, layers: 2, inputShape: [16, 16, 1], classes: 3 })],
  ])('%s trains', async (name, make) => {
    const model = withFixedDraws(1, make);
    model.compile({ optimizer: tf.train.sgd(0.002), loss: 'categoricalCrossentropy' });
    const [x, y] = [seeded([3, 16, 16, 1], 1), tf.oneHot(tf.tensor1d([0, 1, 2], 'int32'), 3)];
    const { history } = await model.fit(x, y, { epochs: 2, verbose: 0 });
    expect(history['loss'].at(-1) as number, name).toBeLessThan(history['loss'][0] as number);
    expect(outputsOf(model, x)[0].shape).toEqual([3, 3]);
  });

  it('lruBlock keeps its channels, and says where its groups do not divide them', () => {
    const block = lruBlock({ channels: 16, recursions: 2 });
    block.build([null, 4, 4, 16]);
    expect(block.trainableWeights.reduce((total, { shape }) => total + tf.util.sizeFromShape(shape as number[]), 0)).toBe(18 * 16 + 64 + 2 * 6 * 16);
    expect(() => lruBlock({ channels: 12, recursions: 2 })).toThrow('lruBlock: channels must be a multiple of 8, got 12. They are convolved in 8 groups.');
    expect(() => lruBlock({ recursions: 2 } as never)).toThrow('lruBlock: channels must be a multiple of 8, got undefined.');
    expect(() => lruBlock({ channels: 8, recursions: 0 })).toThrow('lruBlock: recursions must be an integer ≥ 1, got 0.');
  });

  it('say what is wrong', () => {
    expect(() => lruNet({ recursions: 0 })).toThrow('lruNet: recursions must be an integer ≥ 1, got 0.');
    expect(() => lruNet({ recursions: 1, width: 0.3 })).toThrow('lruNet: width must be a multiple of 1/8, at least 1/8, got 0.3. The blocks have channels in 8 groups.');
    expect(() => drrn({ unit: 3 } as never)).toThrow("drrn: unknown option 'unit'. Did you mean 'units'?");
    expect(() => drcn({ recursions: 0 })).toThrow('drcn: recursions must be an integer ≥ 1, got 0.');
    expect(() => memNet({ blocks: 1 })).toThrow('memNet: blocks must be an integer ≥ 2, got 1.');
    expect(() => rdn({ scale: 0 })).toThrow('rdn: scale must be an integer ≥ 1, got 0.');
    expect(() => eigenNet({ maps: 3, layers: 0 })).toThrow('eigenNet: layers must be an integer ≥ 1, got 0.');
  });
});

describe('options that are not given', () => {
  it.each<[string, (args: never) => unknown]>([
    ['lruNet', lruNet], ['lruBlock', lruBlock], ['rdn', rdn], ['eigenNet', eigenNet], ['recursiveSupervision', recursiveSupervision], ['supervisionDecay', supervisionDecay],
    ['transformerCell', transformerCell], ['temporalConvolutionCell', temporalConvolutionCell], ['deqSchedule', deqSchedule], ['fixedPointCorrection', fixedPointCorrection],
  ])('%s says so', (name, make) => {
    for (const [args, got] of [[undefined, 'undefined'], [null, 'null'], [3, '3']] as const) expect(() => make(args as never)).toThrow(`${name}: expected an options object, got ${got}. Options: `);
  });
}); // prettier-ignore
