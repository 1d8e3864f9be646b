import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model as functionalModel, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { cachedDecoding } from '../../src/layers/cached_decoding.js';
import { deqLayer } from '../../src/layers/deq_layer.js';
import { recurrentDepth } from '../../src/layers/depth/recurrent_depth.js';
import { groupNormalization } from '../../src/layers/group_normalization.js';
import { transformerCell } from '../../src/layers/transformer_cell.js';
import { unrolled } from '../../src/solvers/unrolled.js';
import { multiHeadAttention } from '../../src/layers/multi_head_attention.js';
import { positionEmbedding } from '../../src/layers/position_embedding.js';
import { quickLayerNormalization } from '../../src/layers/quick_layer_normalization.js';
import { sharedAttention } from '../../src/layers/shared_attention.js';
import { universalTransformer } from '../../src/layers/depth/universal_transformer.js';
import { tiedEmbedding } from '../../src/layers/tied_embedding.js';
import { alive, expectNear, seeded } from '../contract/fixtures.js';
import { missingKernelsForThisTest } from '../stock_kernels.js';

/** Steps of 2, 1 and 2 positions of five. */
const STEPS = [[0, 2], [2, 1], [3, 2]];

async function expectSteps(model: LayersModel, x: tf.Tensor, memory: tf.Tensor[] = []): Promise<void> {
  const whole = model.apply([x, ...memory].length === 1 ? x : [x, ...memory]) as tf.Tensor;
  const decoding = cachedDecoding(model);
  const parts = STEPS.map(([from, length]) => {
    const step = tf.slice(x, [0, from], [x.shape[0], length]);
    return decoding.step(memory.length === 0 ? step : [step, ...memory]) as tf.Tensor;
  });
  expect(decoding.position).toBe(5);
  expectNear('step by step', await tf.concat(parts, 1).data(), await whole.data(), 1e-5);
  decoding.dispose();
}

const ids = () => tf.tensor2d([[3, 1, 4, 1, 5], [2, 6, 5, 3, 5]]);
const embedded = (maskZero = false) => {
  const tokens = input({ shape: [null] });
  return { tokens, x: positionEmbedding().apply(tiedEmbedding({ inputDim: 7, outputDim: 6, maskZero }).apply(tokens)) as SymbolicTensor };
};

describe('cachedDecoding', () => {
  it('gives step by step what one pass gives', async () => {
    const { tokens, x } = embedded();
    const attention = multiHeadAttention({ numHeads: 2, causal: true });
    const y = quickLayerNormalization().apply(layers.add().apply([x, attention.apply(x) as SymbolicTensor])) as SymbolicTensor;
    // The same layer a second time has keys of its own.
    await expectSteps(functionalModel({ inputs: tokens, outputs: attention.apply(y) as SymbolicTensor }), ids());
  });

  it('also where padding is masked, at every step', async () => {
    const { tokens, x } = embedded(true);
    await expectSteps(functionalModel({ inputs: tokens, outputs: multiHeadAttention({ numHeads: 2, causal: true }).apply(x) as SymbolicTensor }), tf.tensor2d([[0, 0, 4, 1, 5], [2, 6, 5, 3, 5]]));
  });

  it('also through layers that share maps, and over a memory', async () => {
    const { tokens, x } = embedded();
    const [memory, mask] = [input({ shape: [3, 4] }), input({ shape: [3] })];
    const stack = sharedAttention({ numLayers: 3, numHeads: 2, units: 5, causal: true, policy: [2, 1], memoryPolicy: [1, 2] });
    const model = functionalModel({ inputs: [tokens, memory, mask], outputs: stack.apply([x, memory, mask]) as SymbolicTensor });
    await expectSteps(model, ids(), [seeded([2, 3, 4], 1), tf.tensor2d([[1, 1, 0], [1, 1, 1]])]);
  });

  it('also through a Universal Transformer, at each of its steps, whatever its recurrence', async () => {
    const { tokens, x } = embedded();
    const deep = { units: 6, numHeads: 2, hiddenUnits: 5, steps: 3, causal: true } as const;
    const halting = universalTransformer({ ...deep, recurrence: 'act', adaptive: { haltingBias: 0 } });
    const model = functionalModel({ inputs: tokens, outputs: universalTransformer({ ...deep, recurrence: 'skip', positionSignal: 'learned', maxLength: 5 }).apply(halting.apply(x)) as SymbolicTensor });
    // Positions halt after different numbers of steps.
    halting.setWeights(halting.getWeights().map((weight) => (weight.shape.join() === '6,1' ? tf.tensor2d([3, -3, 2, -2, 1, -1], [6, 1]) : weight)));
    await expectSteps(model, ids());
    const depths = new Set((await halting.report()).updates.flat());
    expect(depths.size).toBeGreaterThan(0);
    expect(() => cachedDecoding(model).step(tf.tensor2d([[1, 2, 3, 4, 5, 6]]))).toThrow('the sequence is 6 long, but there are 5 learned positions');

    const decoder = universalTransformer({ ...deep, decoder: true });
    const [memory, mask] = [input({ shape: [3, 4] }), input({ shape: [3] })];
    const translating = functionalModel({ inputs: [tokens, memory, mask], outputs: decoder.apply([x, memory, mask]) as SymbolicTensor });
    await expectSteps(translating, ids(), [seeded([2, 3, 4], 1), tf.tensor2d([[1, 1, 0], [1, 1, 1]])]);
  });

  it('also where keys are another tensor than queries, made of the same sequence', async () => {
    const { tokens, x } = embedded();
    const queries = layers.dense({ units: 6 }).apply(x) as SymbolicTensor;
    await expectSteps(functionalModel({ inputs: tokens, outputs: multiHeadAttention({ numHeads: 2, causal: true }).apply([queries, x]) as SymbolicTensor }), ids());
    const ahead = functionalModel({ inputs: tokens, outputs: multiHeadAttention({ numHeads: 2, name: 'ahead' }).apply([queries, x]) as SymbolicTensor });
    expect(() => cachedDecoding(ahead)).toThrow("cachedDecoding: the layer 'ahead' (MultiHeadAttention) looks at all positions of the sequence; step by step a position cannot look at later ones. Use causal: true.");
    const stack = recurrentDepth({ layer: multiHeadAttention({ numHeads: 2, name: 'nested' }), steps: 2 });
    expect(() => cachedDecoding(functionalModel({ inputs: tokens, outputs: stack.apply([queries, x]) as SymbolicTensor }))).toThrow("the layer 'nested' (MultiHeadAttention) looks at all positions");
  });

  it('also with the encoder inside of the model', async () => {
    missingKernelsForThisTest();
    const { tokens, x } = embedded();
    const source = input({ shape: [3, 6] });
    const placed = positionEmbedding().apply(source) as SymbolicTensor;
    const encoded = recurrentDepth({ layer: multiHeadAttention({ numHeads: 2 }), steps: 2 }).apply(layers.conv1d({ filters: 6, kernelSize: 2, padding: 'same' }).apply(placed)) as SymbolicTensor;
    const decoded = multiHeadAttention({ numHeads: 2 }).apply([multiHeadAttention({ numHeads: 3, causal: true }).apply(x) as SymbolicTensor, encoded]) as SymbolicTensor;
    await expectSteps(functionalModel({ inputs: [tokens, source], outputs: decoded }), ids(), [seeded([2, 3, 6], 1)]);
    const inner = functionalModel({ inputs: [tokens, source], outputs: decoded });
    const [t, s] = [input({ shape: [null] }), input({ shape: [3, 6] })];
    await expectSteps(functionalModel({ inputs: [t, s], outputs: inner.apply([t, s]) as SymbolicTensor }), ids(), [seeded([2, 3, 6], 1)]);
    const positions = positionEmbedding({ name: 'positions' });
    const both = multiHeadAttention({ numHeads: 2 }).apply([positions.apply(layers.dense({ units: 6 }).apply(x)) as SymbolicTensor, positions.apply(source) as SymbolicTensor]) as SymbolicTensor;
    expect(() => cachedDecoding(functionalModel({ inputs: [tokens, source], outputs: both }))).toThrow("the layer 'positions' (PositionEmbedding) is applied to the sequence that grows and to what does not grow.");
  });

  it('also of inputs that grow together', async () => {
    const { tokens, x } = embedded();
    const other = input({ shape: [null, 6] });
    const placed = positionEmbedding().apply(other) as SymbolicTensor;
    const model = functionalModel({ inputs: [tokens, other], outputs: multiHeadAttention({ numHeads: 2, causal: true }).apply(layers.add().apply([x, placed])) as SymbolicTensor });
    const [all, more] = [ids(), seeded([2, 5, 6], 1)];
    const decoding = cachedDecoding(model);
    const parts = STEPS.map(([from, length]) => decoding.step([tf.slice(all, [0, from], [2, length]), tf.slice(more, [0, from, 0], [2, length, 6])]) as tf.Tensor);
    expectNear('step by step', await tf.concat(parts, 1).data(), await (model.apply([all, more]) as tf.Tensor).data(), 1e-5);
    decoding.dispose();
  });

  it('leaves what is inside of single positions alone', async () => {
    const sequence = input({ shape: [null, 3, 4] });
    const within = (layer: layers.Layer) => layers.timeDistributed({ layer }).apply(sequence) as SymbolicTensor;
    for (const layer of [multiHeadAttention({ numHeads: 2 }), positionEmbedding()]) {
      const model = functionalModel({ inputs: sequence, outputs: within(layer) });
      const x = seeded([2, 4, 3, 4], 1);
      const decoding = cachedDecoding(model);
      const parts = [[0, 1], [1, 3]].map(([from, length]) => decoding.step(tf.slice(x, [0, from, 0, 0], [2, length, 3, 4])) as tf.Tensor);
      expectNear(layer.getClassName(), await tf.concat(parts, 1).data(), await (model.apply(x) as tf.Tensor).data(), 1e-5);
      decoding.dispose();
    }
  });

  it('takes a memory and its mask in the order that was selected', async () => {
    const { tokens, x } = embedded();
    const [memory, mask] = [input({ shape: [3, 4] }), input({ shape: [3] })];
    const model = functionalModel({ inputs: [tokens, memory, mask], outputs: multiHeadAttention({ numHeads: 2, maskInput: true }).apply([multiHeadAttention({ numHeads: 2, causal: true }).apply(x) as SymbolicTensor, memory, mask]) as SymbolicTensor });
    const given = [seeded([2, 3, 4], 1), tf.tensor2d([[1, 1, 0], [0, 1, 1]])];
    const turned = given.map((tensor) => tf.gather(tensor, [1, 0]));
    const whole = model.apply([tf.tensor2d([[2, 6, 4], [3, 1, 5]]), ...turned]) as tf.Tensor;
    for (const steps of [1, 2]) {
      const decoding = cachedDecoding(model);
      for (let i = 0; i < steps; i++) decoding.step([tf.slice(tf.tensor2d([[3, 1], [2, 6]]), [0, steps === 1 ? 0 : i], [2, 2 / steps]), ...given]);
      decoding.select([1, 0]);
      expectNear(`after ${steps}`, await (decoding.step([tf.tensor2d([[4], [5]]), ...turned]) as tf.Tensor).data(), await tf.slice(whole, [0, 2, 0], [2, 1, 6]).data(), 1e-5);
      decoding.dispose();
    }
  });

  it('goes on with the sequences that were selected', async () => {
    const { tokens, x } = embedded();
    const model = functionalModel({ inputs: tokens, outputs: multiHeadAttention({ numHeads: 2, causal: true }).apply(x) as SymbolicTensor });
    const decoding = cachedDecoding(model);
    decoding.step(tf.tensor2d([[3, 1], [2, 6]]));
    decoding.select([1, 1]);
    const after = decoding.step(tf.tensor2d([[4], [5]])) as tf.Tensor;
    const whole = model.apply(tf.tensor2d([[2, 6, 4], [2, 6, 5]])) as tf.Tensor;
    expectNear('last position', await after.data(), await tf.slice(whole, [0, 2, 0], [2, 1, 6]).data(), 1e-5);
    decoding.dispose();
  });

  it('frees all that it kept, and its steps leave their outputs only', () => {
    const { tokens, x } = embedded();
    const model = functionalModel({ inputs: tokens, outputs: multiHeadAttention({ numHeads: 2, causal: true }).apply(x) as SymbolicTensor });
    const run = () => {
      const decoding = cachedDecoding(model);
      for (let i = 0; i < 3; i++) tf.tidy(() => void decoding.step(tf.tensor2d([[3]])));
      decoding.dispose();
    };
    run();
    const before = alive();
    run();
    expect(alive()).toEqual(before);
  });

  it('says what cannot be decoded so', () => {
    const { tokens, x } = embedded();
    const model = functionalModel({ inputs: tokens, outputs: multiHeadAttention({ numHeads: 2, name: 'looks_ahead' }).apply(x) as SymbolicTensor });
    expect(() => cachedDecoding(model).step(tf.tensor2d([[1]]))).toThrow("MultiHeadAttention 'looks_ahead': step by step a position cannot look at later ones. Use causal: true for cached decoding.");
    const equilibrium = deqLayer({ cell: transformerCell({ units: 6, numHeads: 2, causal: true }), name: 'solved' });
    const solved = embedded();
    const solving = functionalModel({ inputs: solved.tokens, outputs: equilibrium.apply(solved.x) as SymbolicTensor });
    expect(() => cachedDecoding(solving)).toThrow("cachedDecoding: the equilibrium layer 'solved' solves for all positions at once");
    equilibrium.configure({ gradient: unrolled({ steps: 2 }) });
    expect(() => cachedDecoding(solving)).not.toThrow();
    const recurrent = embedded();
    const lstm = functionalModel({ inputs: recurrent.tokens, outputs: layers.lstm({ units: 3, returnSequences: true, name: 'memory', recurrentInitializer: 'glorotUniform' }).apply(recurrent.x) as SymbolicTensor });
    expect(() => cachedDecoding(lstm)).toThrow("cachedDecoding: the layer 'memory' (LSTM) mixes positions, and step by step would see the last one alone. Decode with the whole sequence.");
    const normalising = embedded();
    const grouped = functionalModel({ inputs: normalising.tokens, outputs: groupNormalization({ groups: 2, name: 'grouped' }).apply(normalising.x) as SymbolicTensor });
    expect(() => cachedDecoding(grouped)).toThrow("the layer 'grouped' (GroupNormalization) mixes positions");
    expect(() => cachedDecoding({} as LayersModel)).toThrow('cachedDecoding: expected a tf.LayersModel');
    expect(() => cachedDecoding(model).step(tf.tensor1d([1]))).toThrow('cachedDecoding: expected the next positions [batch, positions, …], got a tensor of shape [1].');
  });

  it('refuses another number of sequences than before, unless they were selected', () => {
    const { tokens, x } = embedded();
    const decoding = cachedDecoding(functionalModel({ inputs: tokens, outputs: multiHeadAttention({ numHeads: 2, causal: true }).apply(x) as SymbolicTensor }));
    const step = (batch: number) => tf.tidy(() => void decoding.step(tf.ones([batch, 1])));
    expect(() => decoding.select([0])).toThrow('cachedDecoding: select takes indices of the 0 sequences, from 0, got 0.');
    step(2);
    expect(() => step(3)).toThrow('cachedDecoding: expected the next positions of 2 sequences, got 3. select(…) leaves some out or repeats them; dispose() begins anew.');
    expect(() => decoding.step(tf.zeros([2, 1, 1, 1]))).toThrow();
    expect(() => step(2)).toThrow('cachedDecoding: the step before failed, and its positions are kept in part. dispose() begins anew.');
    decoding.dispose();
    // A first step that fails leaves nothing behind.
    expect(() => decoding.step(tf.zeros([3, 1, 1, 1]))).toThrow();
    step(2);
    expect(() => decoding.select([0, 2])).toThrow('select takes indices of the 2 sequences, from 0, got 2.');
    decoding.select([1, 0, 1]);
    step(3);
    expect(decoding.position).toBe(2);
    decoding.dispose();
    step(1);
    expect(decoding.position).toBe(1);
    decoding.dispose();
  });
});
