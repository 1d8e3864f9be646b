import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model as functionalModel, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { cachedDecoding } from '../../src/layers/cached_decoding.js';
import { deqLayer } from '../../src/layers/deq_layer.js';
import { transformerCell } from '../../src/layers/transformer_cell.js';
import { unrolled } from '../../src/solvers/unrolled.js';
import { multiHeadAttention } from '../../src/layers/multi_head_attention.js';
import { positionEmbedding } from '../../src/layers/position_embedding.js';
import { quickLayerNormalization } from '../../src/layers/quick_layer_normalization.js';
import { sharedAttention } from '../../src/layers/shared_attention.js';
import { universalTransformer } from '../../src/layers/depth/universal_transformer.js';
import { tiedEmbedding } from '../../src/layers/tied_embedding.js';
import { alive, expectNear, seeded } from '../contract/fixtures.js';

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
