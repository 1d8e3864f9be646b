import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model as functional, sequential, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { deqLayer, fixedPointIteration, hashedDense, implicit, multiHeadAttention, recurrentDepth, recursiveConv, transformerCell, universalTransformer, unrolled, weightNormalization } from '../../src/index.js';
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

describe('a layer that was applied elsewhere before another one took it in, and holds a model', () => {
  it('is saved and loaded', async () => {
    const solver = fixedPointIteration({ maxIterations: 3 });
    const inner = deqLayer({ cell: transformerCell({ units: 4, numHeads: 2 }), solver });
    around(inner);
    await expectRoundTrip(around(recurrentDepth({ layer: inner, steps: 2 })));
  });
});

describe('what is frozen inside of a layer', () => {
  it('leaves the outer layer’s own weights to be trained', () => {
    const frozen = () => layers.dense({ units: 4, trainable: false });
    const outer = recurrentDepth({ layer: frozen(), steps: 2, stepSignal: 'learned' });
    around(outer);
    expect(outer.trainableWeights.map(({ shape }) => shape)).toEqual([[2, 4]]);
    const shut = recurrentDepth({ layer: layers.dense({ units: 4 }), steps: 2, stepSignal: 'learned', trainable: false });
    around(shut);
    expect(shut.trainableWeights).toEqual([]);
  });

  it('keeps normalisations of each step from training, too, until it is thawed', async () => {
    const inner = normalised();
    inner.layers[1].trainable = false;
    const net = around(recurrentDepth({ layer: inner, steps: 3, normalization: 'perStep' }));
    const [, outer] = net.layers;
    expect([outer.trainableWeights.length, outer.nonTrainableWeights.length]).toEqual([2, 6]);
    await expectRoundTrip(net);
    outer.trainable = false;
    expect([outer.trainableWeights.length, outer.nonTrainableWeights.length]).toEqual([0, 8]);
    outer.trainable = true;
    expect([outer.trainableWeights.length, outer.nonTrainableWeights.length]).toEqual([2, 6]);
    inner.layers[1].trainable = true;
    expect([outer.trainableWeights.length, outer.nonTrainableWeights.length]).toEqual([8, 0]);
  });

  it('may be thawed after loading: recomputation and normalisation go on with it', async () => {
    const x = input({ shape: [5, 4] });
    const recursive = recursiveConv({ kernelSize: 3, recursions: 3, checkpoint: true, trainable: false });
    const net = functional({ inputs: x, outputs: recursive.apply(x) as SymbolicTensor });
    const loaded = await saveAndLoad(net);
    const [, layer] = loaded.layers;
    layer.trainable = true;
    loaded.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
    const kernel = await layer.getWeights()[0].data();
    await loaded.fit(seeded([2, 5, 4], 1), seeded([2, 5, 4], 2), { epochs: 1, verbose: 0 });
    expect(await layer.getWeights()[0].data()).not.toEqual(kernel);
    const deq = deqLayer({ cell: cellOf(), kernelNormalization: weightNormalization(), solver: fixedPointIteration({ maxIterations: 3 }), trainable: false });
    await expectRoundTrip(around(deq));
    const steps = recurrentDepth({ layer: normalised(), steps: 3, normalization: 'perStep', trainable: false });
    const again = await saveAndLoad(around(steps));
    again.layers[1].trainable = true;
    expect(again.layers[1].trainableWeights).toHaveLength(8);
  });
});

/** (z, x) ↦ 0.3·zW + x */
function cellOf(): LayersModel {
  const [z, x] = [input({ shape: [3, 4] }), input({ shape: [3, 4] })];
  const dense = layers.dense({ units: 4, useBias: false, kernelInitializer: 'identity' });
  return functional({ inputs: [z, x], outputs: layers.add().apply([layers.activation({ activation: 'tanh' }).apply(dense.apply(z)) as SymbolicTensor, x]) as SymbolicTensor });
}

const normalised = (): LayersModel => sequential({ layers: [layers.dense({ units: 4, inputShape: [3, 4] }), layers.layerNormalization()] });

describe('what would add to the loss inside of a layer that computes again', () => {
  const ponders = () => universalTransformer({ units: 4, numHeads: 2, steps: 2, recurrence: 'act', adaptive: { ponderWeight: 1 }, name: 'ponders' });

  it.each<[string, () => layers.Layer]>([
    ['recurrentDepth', () => recurrentDepth({ layer: ponders(), steps: 2, checkpointing: true })],
    ['universalTransformer', () => universalTransformer({ units: 4, numHeads: 2, steps: 2, checkpointing: true, transition: around(ponders()) } as never)],
  ])('is refused by %s', async (_, make) => {
    const net = around(make());
    net.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    const fit = net.fit(seeded([2, 3, 4], 1), seeded([2, 3, 4], 2), { epochs: 1, verbose: 0 });
    await expect(fit).rejects.toThrow("computes each step again, and what the layer 'ponders' (UniversalTransformer) adds to the loss would be lost. Give it adaptive: {ponderWeight: 0}, or do without that.");
  });

  it('is refused by deqLayer', () => {
    const [z, x] = [input({ shape: [3, 4] }), input({ shape: [3, 4] })];
    const cell = functional({ inputs: [z, x], outputs: layers.add().apply([ponders().apply(z) as SymbolicTensor, x]) as SymbolicTensor });
    expect(() => around(deqLayer({ cell }))).toThrow("the cell is called at each iteration, and what the layer 'ponders'");
  });
});

describe('a layer inside of two layers of one model', () => {
  it('is refused: its weights would be updated and saved twice', () => {
    const dense = layers.dense({ units: 4, name: 'twice' });
    const x = input({ shape: [3, 4] });
    const first = recurrentDepth({ layer: dense, steps: 2, name: 'first' });
    const y = first.apply(x) as SymbolicTensor;
    expect(() => recurrentDepth({ layer: dense, steps: 3, name: 'second' }).apply(y)).toThrow("RecurrentDepth 'second': the layer 'twice' inside of it is used by 'first' on the way to its input. Two layers cannot own one weight");
    expect(() => recurrentDepth({ layer: dense, steps: 3 }).apply(dense.apply(x) as SymbolicTensor)).toThrow('is used by the model itself on the way');
    // One outer layer may be used again, and one inner layer in two models.
    expect(functional({ inputs: x, outputs: first.apply(y) as SymbolicTensor }).countParams()).toBe(20);
    expect(around(recurrentDepth({ layer: dense, steps: 3 })).countParams()).toBe(20);
  });
});

describe('weights that stand in for those of a layer inside', () => {
  /** All weights after two steps. */
  const trained = async (outer: layers.Layer): Promise<number[][]> => {
    const net = around(outer);
    net.weights.forEach((weight, i) => weight.write(tf.mul(0.3, seeded(weight.shape as number[], 40 + i))));
    net.compile({ optimizer: tf.train.sgd(0.2), loss: 'meanSquaredError' });
    await net.fit(seeded([2, 3, 4], 1), seeded([2, 3, 4], 2), { epochs: 2, verbose: 0 });
    return Promise.all(net.getWeights().map(async (weight) => Array.from(await weight.data())));
  };
  const expectSame = async (outer: (again: boolean) => layers.Layer, tolerance = 1e-5) => {
    const [kept, computed] = [await trained(outer(false)), await trained(outer(true))];
    expect(computed).toHaveLength(kept.length);
    kept.forEach((values, i) => expectNear(`weight ${i}`, computed[i], values, tolerance));
  };
  const norm = () => layers.layerNormalization();
  const twice = (layer: layers.Layer) => recurrentDepth({ layer, steps: 2, normalization: 'perStep' });

  it('do so again where recurrentDepth or universalTransformer computes again: each step’s normalisations', async () => {
    await expectSame((checkpointing) => twice(recurrentDepth({ layer: normalised(), steps: 2, checkpointing })));
    await expectSame((checkpointing) => twice(universalTransformer({ units: 4, numHeads: 2, steps: 2, checkpointing, recurrence: 'act', adaptive: { ponderWeight: 0 } })));
    // One in the other: the inner step computes again while the outer one does.
    await expectSame((checkpointing) => recurrentDepth({ layer: twice(recurrentDepth({ layer: normalised(), steps: 2, checkpointing })), steps: 2, checkpointing, normalization: 'perStep' }));
  });

  it('do so in an equilibrium: each step’s normalisations', async () => {
    const cell = () => {
      const [z, x] = [input({ shape: [3, 4] }), input({ shape: [3, 4] })];
      const inside = norm().apply(layers.dense({ units: 4 }).apply(z) as SymbolicTensor) as SymbolicTensor;
      return functional({ inputs: [z, x], outputs: layers.add().apply([inside, x]) as SymbolicTensor });
    };
    const exact = fixedPointIteration({ maxIterations: 60, tolerance: 1e-7 });
    await expectSame((again) => twice(deqLayer({ cell: cell(), solver: exact, gradient: again ? implicit() : unrolled({ steps: 40 }) })), 1e-4);
  });

  it('do so inside of a cell: normalised kernels', async () => {
    const cell = (inside: layers.Layer) => {
      const [z, x] = [input({ shape: [3, 4] }), input({ shape: [3, 4] })];
      const next = layers.activation({ activation: 'tanh' }).apply(inside.apply(z) as SymbolicTensor) as SymbolicTensor;
      return functional({ inputs: [z, x], outputs: layers.add().apply([next, x]) as SymbolicTensor });
    };
    const solver = () => fixedPointIteration({ maxIterations: 60 });
    const normalisedBy = (inside: layers.Layer) => deqLayer({ cell: cell(inside), kernelNormalization: weightNormalization(), solver: solver() });
    await expectSame((checkpointing) => normalisedBy(recurrentDepth({ layer: layers.dense({ units: 4, activation: 'tanh' }), steps: 2, checkpointing })));
    await expectSame((checkpoint) => normalisedBy(recursiveConv({ kernelSize: 3, recursions: 3, checkpoint })));
    await expectSame((again) => normalisedBy(deqLayer({ cell: cellOf(), solver: fixedPointIteration({ maxIterations: 60, tolerance: 1e-7 }), gradient: again ? implicit() : unrolled({ steps: 40 }) })), 1e-4);
  });
});

describe('running statistics inside of a universalTransformer that computes again', () => {
  it('are refused, as each batch would count twice', async () => {
    const transition = sequential({ layers: [layers.dense({ units: 4, inputShape: [3, 4] }), layers.batchNormalization()] });
    const net = around(universalTransformer({ units: 4, numHeads: 2, steps: 2, checkpointing: true, transition } as never));
    net.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    await expect(net.fit(seeded([2, 3, 4], 1), seeded([2, 3, 4], 2), { epochs: 1, verbose: 0 })).rejects.toThrow('checkpointing calls each layer twice, which would count each batch twice in the running statistics');
  });
});

describe('disposing of a layer', () => {
  it('frees all that is inside, but not what another model uses', async () => {
    const x = seeded([2, 3, 4], 1);
    const before = tf.memory().numTensors;
    const shared = hashedDense({ units: 4, compression: 2 });
    const nets = [around(recurrentDepth({ layer: shared, steps: 2 })), around(recurrentDepth({ layer: shared, steps: 3 })), around(shared)];
    const kept = await (nets[1].predict(x) as tf.Tensor).data();
    tf.tidy(() => void nets[0].predict(x));
    nets[0].dispose();
    expectNear('the other', await tf.tidy(() => nets[1].predict(x) as tf.Tensor).data(), kept, 0);
    nets[2].dispose();
    expectNear('the other', await tf.tidy(() => nets[1].predict(x) as tf.Tensor).data(), kept, 0);
    nets[1].dispose();
    const others = [around(recurrentDepth({ layer: normalised(), steps: 2 })), around(recurrentDepth({ layer: universalTransformer({ units: 4, numHeads: 2, steps: 2, recurrence: 'act' }), steps: 2 }))];
    for (const net of others) {
      tf.tidy(() => void net.predict(x));
      net.dispose();
    }
    // The predictions that were compared.
    expect(tf.memory().numTensors - before).toBe(3);
  });
});
