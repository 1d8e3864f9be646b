import * as tf from '@tensorflow/tfjs-core';
import { CustomCallback, initializers, input, layers, model as functionalModel, sequential, type Callback, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { deqMonitor } from '../../src/callbacks/deq_monitor.js';
import { deqSchedule } from '../../src/callbacks/deq_schedule.js';
import { deqLayer, type DEQLayer } from '../../src/layers/deq_layer.js';
import type { DEQLayerArgs } from '../../src/layers/deq_options.js';
import { fixedPointCorrection } from '../../src/losses/fixed_point_correction.js';
import { anderson } from '../../src/solvers/anderson.js';
import { implicit } from '../../src/solvers/implicit.js';
import { unrolled } from '../../src/solvers/unrolled.js';
import { callbackContract, type ModelKind } from '../contract/callback_contract.js';
import { seeded } from '../contract/fixtures.js';
import { onGpu } from '../helpers.js';

beforeEach(() => void vi.spyOn(console, 'warn').mockImplementation(() => {}));
afterEach(() => void vi.restoreAllMocks());

let made = 0;
/** z ↦ zW + x with W = scale·I, of two units: the spectral radius is `scale`. */
function equilibriumLayer(scale = 0.3, args: Partial<DEQLayerArgs> = {}): DEQLayer {
  const [z, x] = [input({ shape: [2] }), input({ shape: [2] })];
  const dense = layers.dense({ units: 2, kernelInitializer: initializers.identity({ gain: scale }), useBias: false, name: `monitored_${++made}` });
  const sum = layers.add().apply([dense.apply(z) as SymbolicTensor, x]) as SymbolicTensor;
  return deqLayer({ cell: functionalModel({ inputs: [z, x], outputs: sum }), solver: anderson({ maxIterations: onGpu ? 4 : 8, tolerance: 1e-3 }), name: 'deq', ...args });
}

function network(kind: ModelKind) {
  const head = layers.dense({ units: 1, kernelInitializer: initializers.glorotUniform({ seed: 2 }) });
  const x = input({ shape: [2] });
  if (kind === 'functional') return functionalModel({ inputs: x, outputs: head.apply(equilibriumLayer().apply(x)) as SymbolicTensor });
  return sequential({ layers: [layers.dense({ units: 2, inputShape: [2] }), equilibriumLayer(), head] });
}

describe('deqMonitor keeps the callback contract', () =>
  callbackContract({
    create: () => deqMonitor({ spectralRadius: 2 }),
    model: network,
    historyKeys: ['deq_iterations', 'deq_residual', 'deq_unconverged', 'deq_backwardIterations', 'deq_spectralRadius'],
  }));

describe('deqSchedule keeps the callback contract', () =>
  callbackContract({ create: () => deqSchedule({ phases: [[0, { gradient: implicit() }], [1, { jacobianPenalty: 0.1 }]] }), model: network })); // prettier-ignore

describe('what callbacks of equilibria leave behind', () => {
  it('is what the user had set, also after a fit that failed', async () => {
    const stop = { onEpochEnd: () => Promise.reject(new Error('stopped')) };
    for (const wanted of [true, false]) {
      const layer = equilibriumLayer();
      layer.keepsInputs = wanted;
      await fit(layer, deqMonitor({ spectralRadius: 2 }));
      expect(layer.keepsInputs).toBe(wanted);
      await expect(fit(layer, [deqMonitor({ spectralRadius: 2 }), new CustomCallback(stop) as unknown as Callback])).rejects.toThrow('stopped');
      // The next one that holds something puts it back.
      await fit(equilibriumLayer(), deqMonitor({ spectralRadius: 2 }));
      expect(layer.keepsInputs).toBe(wanted);
    }
  });

  it('checks all phases of a schedule before the first', async () => {
    await expect(fit(equilibriumLayer(), deqSchedule({ phases: [[2, { gradient: implicit as never }]] }))).rejects.toThrow('DEQLayer: gradient');
    expect(() => deqSchedule({ phases: [[0, {}]], layers: 'deq' as never })).toThrow('deqSchedule: layers must be');
  });
});

async function fit(layer: DEQLayer, callbacks: Callback | Callback[], epochs = 1) {
  const x = input({ shape: [2] });
  const model = functionalModel({ inputs: x, outputs: layer.apply(x) as SymbolicTensor });
  model.compile({ optimizer: tf.train.sgd(0), loss: 'meanSquaredError' });
  return (await model.fit(seeded([8, 2], 1), tf.zeros([8, 2]), { epochs, batchSize: 4, verbose: 0, callbacks })).history;
}

describe('deqMonitor', () => {
  it('logs the means of an epoch and the spectral radius', async () => {
    const layer = equilibriumLayer(0.5);
    const history = await fit(layer, deqMonitor({ spectralRadius: 8 }));
    const report = await layer.report();
    expect(history['deq_iterations'][0]).toBe(report.iterations);
    expect(history['deq_backwardIterations'][0]).toBe(report.backward!.iterations);
    expect(history['deq_residual'][0]).toBeLessThan(1e-3);
    expect(history['deq_unconverged'][0]).toBe(0);
    expect(history['deq_spectralRadius'][0]).toBeCloseTo(0.5, 3);
    expect(layer.keepsInputs).toBe(false);
  });

  it('counts samples that did not converge, and has no radius unless asked', async () => {
    const history = await fit(equilibriumLayer(0.9, { solver: anderson({ tolerance: 1e-6, maxIterations: 1 }) }), deqMonitor());
    expect(history['deq_unconverged'][0]).toBe(1);
    expect(history).not.toHaveProperty('deq_spectralRadius');
  });

  it('logs training, not the validation that the host runs before the end of the last batch', async () => {
    // z ↦ ½ z x, whose radius is the largest |x| / 2.
    const [z, given] = [input({ shape: [2] }), input({ shape: [2] })];
    const dense = layers.dense({ units: 2, kernelInitializer: initializers.identity({ gain: 0.5 }), useBias: false, name: `monitored_${++made}` });
    const cell = functionalModel({ inputs: [z, given], outputs: layers.multiply().apply([dense.apply(z) as SymbolicTensor, given]) as SymbolicTensor });
    const layer = deqLayer({ cell, solver: anderson({ maxIterations: 2, tolerance: 1e-3, stop: 'absolute' }), inferenceSolver: anderson({ maxIterations: 9, tolerance: 1e-12 }), initialState: 'given', name: 'deq' });
    const x = input({ shape: [2] });
    const model = functionalModel({ inputs: x, outputs: layer.apply([x, x]) as SymbolicTensor });
    model.compile({ optimizer: tf.train.sgd(0), loss: 'meanSquaredError' });
    const validationData: [tf.Tensor, tf.Tensor] = [tf.fill([4, 2], 0.2), tf.ones([4, 2])];
    const { history } = await model.fit(tf.fill([8, 2], 0.8), tf.ones([8, 2]), { epochs: 2, batchSize: 4, verbose: 0, validationData, callbacks: deqMonitor({ spectralRadius: 4 }) });
    expect(history['deq_iterations']).toEqual([2, 2]);
    for (const epoch of [0, 1]) {
      expect(history['deq_backwardIterations'][epoch] as number).toBe(2);
      expect(history['deq_spectralRadius'][epoch] as number).toBeCloseTo(0.4, 4);
    }
    expect(await layer.report()).toMatchObject({ training: false });
    expect(await layer.report('training')).toMatchObject({ training: true, iterations: 2 });
  });

  it('says what is wrong', async () => {
    expect(() => deqMonitor({ spectralRadius: 1 })).toThrow('deqMonitor: spectralRadius must be 0 or an integer ≥ 2, got 1.');
    expect(() => deqMonitor({ radius: 3 } as never)).toThrow("deqMonitor: unknown option 'radius'.");
    const plain = sequential({ layers: [layers.dense({ units: 1, inputShape: [2], name: 'plain' })] });
    plain.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    await expect(plain.fit(tf.zeros([2, 2]), tf.zeros([2, 1]), { verbose: 0, callbacks: deqMonitor() })).rejects.toThrow('deqMonitor: the model has no deqLayer. Layers: plain_input, plain.');
  });
});

describe('deqSchedule', () => {
  it('changes the settings at the beginning of its epochs, and leaves the last', async () => {
    const layer = equilibriumLayer();
    const phases: Parameters<typeof deqSchedule>[0]['phases'] = [[0, { gradient: unrolled({ steps: 3 }) }], [2, { gradient: implicit(), jacobianPenalty: 0.5 }]];
    const history = await fit(layer, [deqSchedule({ phases, layers: ['deq'] }), deqMonitor()], 3);
    expect(history['deq_iterations'].slice(0, 2)).toEqual([3, 3]);
    expect(history['deq_residual'].slice(0, 2)).toEqual([NaN, NaN]);
    expect(history['deq_residual'][2]).toBeLessThan(1e-3);
    // ‖0.3 I‖² / 2 = 0.09 is estimated by ‖0.3 v‖² / 2.
    expect(history['loss'][2] as number).toBeGreaterThan(history['loss'][1] as number);
    expect(layer.gradient.getClassName()).toBe('Implicit');
    expect(layer.jacobianPenalty).toEqual({ weight: 0.5, samples: 1, frequency: 1 });
  });

  it('says what is wrong', async () => {
    expect(() => deqSchedule({ phases: [] })).toThrow('deqSchedule: phases must be a list of [epoch, settings] with rising epochs from 0, got [].');
    expect(() => deqSchedule({ phases: [[3, {}], [3, {}]] })).toThrow('rising epochs'); // prettier-ignore
    expect(() => deqSchedule({ phases: [[0, { gradients: 1 } as never]] })).toThrow("deqSchedule: the phase from epoch 0: unknown option 'gradients'. Did you mean 'gradient'?");
    await expect(fit(equilibriumLayer(), deqSchedule({ phases: [[0, { gradient: anderson() as never }]] }))).rejects.toThrow('gradient must be a gradient method');
    await expect(fit(equilibriumLayer(), deqSchedule({ phases: [[0, {}]], layers: ['other'] }))).rejects.toThrow("deqSchedule: the model has no deqLayer 'other'. It has: deq.");
  });
});

describe('fixedPointCorrection', () => {
  it('weights the states of a trajectory by γ from the last one back, the fixed point by 1', async () => {
    const losses = fixedPointCorrection({ loss: (y, p) => tf.square(tf.sub(y, p)), states: 2, gamma: 0.5 });
    const values = await Promise.all(losses.map((loss) => loss(tf.zeros([3]), tf.fill([3], 2)).data()));
    expect(values.map(([value]) => value)).toEqual([4, 1, 2]);
  });

  it('trains a model on the fixed point and on the way to it', async () => {
    const x = input({ shape: [2] });
    const outputs = equilibriumLayer(0.3, { trajectory: [1, 2] }).apply(x) as SymbolicTensor[];
    const head = layers.dense({ units: 1 });
    const model = functionalModel({ inputs: x, outputs: outputs.map((state) => head.apply(state)) as SymbolicTensor[] });
    const loss = fixedPointCorrection({ loss: (y, p) => tf.square(tf.sub(y, p)), states: 2 });
    model.compile({ optimizer: tf.train.sgd(0.05), loss: loss as never });
    const y = seeded([8, 1], 4);
    const { history } = await model.fit(seeded([8, 2], 3), [y, y, y], { epochs: onGpu ? 4 : 15, batchSize: 8, verbose: 0 });
    expect(history['loss'].at(-1) as number).toBeLessThan(history['loss'][0] as number);
  });

  it('says what is wrong', () => {
    expect(() => fixedPointCorrection({ states: 1 } as never)).toThrow('fixedPointCorrection: loss must be a function of targets and predictions, got undefined.');
    expect(() => fixedPointCorrection({ loss: (y) => y, states: 0 })).toThrow('fixedPointCorrection: states must be an integer ≥ 1, got 0.');
    expect(() => fixedPointCorrection({ loss: (y) => y, states: 1, gamma: 2 })).toThrow('fixedPointCorrection: gamma must be a number > 0 and ≤ 1, got 2.');
  });
});
