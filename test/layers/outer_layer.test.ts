import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model as functional, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { deqLayer, fixedPointIteration, multiHeadAttention, recurrentDepth } from '../../src/index.js';
import { expectNear, saveAndLoad, savedArtifacts, seeded } from '../contract/fixtures.js';

const around = (layer: layers.Layer): LayersModel => {
  const x = input({ shape: [3, 4] });
  return functional({ inputs: x, outputs: layer.apply(x) as SymbolicTensor });
};

async function expectRoundTrip(net: LayersModel): Promise<void> {
  const x = seeded([2, 3, 4], 1);
  const loaded = await saveAndLoad(net);
  expectNear('after loading', await (loaded.predict(x) as tf.Tensor).data(), await (net.predict(x) as tf.Tensor).data(), 1e-6);
}

describe('a layer that was built before another one took it in', () => {
  it('is saved and loaded by recurrentDepth', async () => {
    const inner = layers.dense({ units: 4, activation: 'tanh', kernelRegularizer: 'l1l2', name: 'before' });
    inner.build([null, 3, 4]);
    const [kernel] = inner.getWeights();
    const outer = recurrentDepth({ layer: inner, steps: 2, name: 'outer' });
    const net = around(outer);
    expectNear('its weights stay', await outer.getWeights()[0].data(), await kernel.data(), 0);
    expect((await savedArtifacts(net)).weightSpecs!.map(({ name }) => name)).toEqual(['outer/before/kernel', 'outer/before/bias']);
    await expectRoundTrip(net);
  });

  it('also where it was applied, and where it holds layers itself', async () => {
    const applied = layers.dense({ units: 4, name: 'applied' });
    applied.apply(input({ shape: [3, 4] }));
    const nested = recurrentDepth({ layer: layers.dense({ units: 4, name: 'within' }), steps: 2, name: 'nested' });
    nested.apply(input({ shape: [3, 4] }));
    const inside = input({ shape: [3, 4] });
    // A model gives its weights their names wherever it is.
    const whole = functional({ inputs: inside, outputs: layers.dense({ units: 4, name: 'whole' }).apply(inside) as SymbolicTensor, name: 'a_model' });
    const net = around(recurrentDepth({ layers: [applied, nested, whole], name: 'outer' }));
    expect((await savedArtifacts(net)).weightSpecs!.map(({ name }) => name).filter((name) => name.endsWith('kernel'))).toEqual([
      'outer/applied/kernel', 'outer/nested/within/kernel', 'whole/kernel',
    ]); // prettier-ignore
    await expectRoundTrip(net);
  });

  it('is saved and loaded by deqLayer', async () => {
    const cell = multiHeadAttention({ numHeads: 2, name: 'cell' });
    cell.apply([input({ shape: [3, 4] }), input({ shape: [3, 4] })]);
    await expectRoundTrip(around(deqLayer({ cell, solver: fixedPointIteration({ maxIterations: 3, tolerance: 1e-3 }), name: 'equilibrium' })));
  });
});
