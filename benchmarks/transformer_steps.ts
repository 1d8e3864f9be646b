/** Training and decoding steps of Transformers with shared weights, and what they keep for the gradient; see transformers.ts. */
import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model as functionalModel, sequential, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { cachedDecoding } from '../src/layers/cached_decoding.js';
import { recurrentDepth } from '../src/layers/depth/recurrent_depth.js';
import { universalTransformer } from '../src/layers/depth/universal_transformer.js';
import { multiHeadAttention } from '../src/layers/multi_head_attention.js';
import { quickLayerNormalization } from '../src/layers/quick_layer_normalization.js';
import { sharedAttention } from '../src/layers/shared_attention.js';
import { interleaved, significant } from './interleaved.js';

const [BATCH, TIME, WIDTH, HEADS, DEPTH] = [16, 64, 128, 4, 6];
const CHECKPOINTED_STEPS = 12;
const ROUNDS = 15;

/** x ← x + attention(LN(x)), x ← x + dense(relu(dense(LN(x)))) */
function block(): LayersModel {
  const x = input({ shape: [null, WIDTH] });
  const through = (from: SymbolicTensor, ...path: layers.Layer[]) => path.reduce((at, layer) => layer.apply(at) as SymbolicTensor, from);
  const added = (to: SymbolicTensor, change: SymbolicTensor) => layers.add().apply([to, change]) as SymbolicTensor;
  const attended = added(x, through(x, quickLayerNormalization(), multiHeadAttention({ numHeads: HEADS, causal: true })));
  const dense = [layers.dense({ units: 4 * WIDTH, activation: 'relu' }), layers.dense({ units: WIDTH })];
  return functionalModel({ inputs: x, outputs: added(attended, through(attended, quickLayerNormalization(), ...dense)) });
}

const universal = (steps: number) => universalTransformer({ units: WIDTH, numHeads: HEADS, steps, causal: true, positionSignal: 'none', stepSignal: 'none' });
const times = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make);

/** A model of `stack`, one after the other. */
function around(...stack: layers.Layer[]): LayersModel {
  const x = input({ shape: [null, WIDTH] });
  return functionalModel({ inputs: x, outputs: stack.reduce((h, layer) => layer.apply(h) as SymbolicTensor, x) });
}

const PAIRS: Record<string, () => { shared: LayersModel; separate: LayersModel }> = {
  recurrentDepth: () => ({ shared: around(recurrentDepth({ layer: block(), steps: DEPTH })), separate: around(...times(DEPTH, block)) }),
  universalTransformer: () => ({ shared: around(universal(DEPTH)), separate: around(...times(DEPTH, () => universal(1))) }),
  sharedAttention: () => {
    const stack = (policy: number[] | null) => around(sharedAttention({ numLayers: DEPTH, numHeads: HEADS, causal: true, policy, compact: true }));
    return { shared: stack([2, 2, 2]), separate: stack(null) };
  },
};

function compiled(model: LayersModel): LayersModel {
  model.compile({ optimizer: tf.train.adam(1e-5), loss: 'meanSquaredError' });
  return model;
}

/** One step of decoding after TIME positions; the earlier ones are decoded outside of the time, anew in each round. */
function decodingStep(model: LayersModel, prompt: tf.Tensor): { prepare: () => void; step: () => void } {
  const one = tf.keep(tf.slice(prompt, [0, 0, 0], [-1, 1, -1]));
  let decoding = cachedDecoding(model);
  return {
    prepare() {
      decoding.dispose();
      decoding = cachedDecoding(model);
      tf.dispose(decoding.step(prompt));
    },
    step() {
      const y = decoding.step(one) as tf.Tensor;
      y.dataSync();
      y.dispose();
    },
  };
}

/** Most bytes that tensors take at once in the gradient, above what is there before. */
async function peakBytes(model: LayersModel, x: tf.Tensor, y: tf.Tensor): Promise<number> {
  const variables = model.trainableWeights.map((weight) => weight.read() as tf.Variable);
  const before = tf.memory().numBytes;
  const { peakBytes: most } = await tf.profile(() => {
    const { value, grads } = tf.variableGrads(() => tf.mean(tf.square(tf.sub(model.apply(x, { training: true }) as tf.Tensor, y))) as tf.Scalar, variables);
    tf.dispose([value, grads]);
    return tf.scalar(0);
  });
  return most - before;
}

export async function sharedVsSeparate(print: (line: string) => void): Promise<Record<string, unknown>> {
  const [x, y] = [1, 2].map((seed) => tf.randomNormal([BATCH, TIME, WIDTH], 0, 1, 'float32', seed));
  const step = (model: LayersModel) => async () => void (await model.trainOnBatch(x, y));
  const stepVsSeparate: Record<string, number> = {};
  const decodingStepVsSeparate: Record<string, number> = {};
  print(`${'in depth'.padEnd(22)}  step, ms  separate, ms  ratio  decoding, ms  separate, ms  ratio`);
  for (const [name, make] of Object.entries(PAIRS)) {
    const { shared, separate } = make();
    [shared, separate].forEach(compiled);
    const timing = await interleaved({ shared: step(shared), separate: step(separate) }, { rounds: ROUNDS, warmup: 2 });
    const decoders = { shared: decodingStep(shared, x), separate: decodingStep(separate, x) };
    const between = () => Object.values(decoders).forEach(({ prepare }) => prepare());
    const decoding = await interleaved({ shared: decoders.shared.step, separate: decoders.separate.step }, { rounds: ROUNDS, warmup: 2, between });
    stepVsSeparate[name] = significant(timing.ratio('shared', 'separate'));
    decodingStepVsSeparate[name] = significant(decoding.ratio('shared', 'separate'));
    const [a, b] = [timing.milliseconds, decoding.milliseconds];
    print(`${name.padEnd(22)}  ${a.shared.toFixed(1).padStart(8)}  ${a.separate.toFixed(1).padStart(12)}  ${stepVsSeparate[name].toFixed(2).padStart(5)}  ${b.shared.toFixed(2).padStart(12)}  ${b.separate.toFixed(2).padStart(12)}  ${decodingStepVsSeparate[name].toFixed(2).padStart(5)}`);
    [shared, separate].forEach((model) => model.dispose());
  }
  const deep = (checkpointing: boolean) => compiled(sequential({ layers: [recurrentDepth({ layer: block(), steps: CHECKPOINTED_STEPS, checkpointing, inputShape: [TIME, WIDTH] })] }));
  const [plain, kept] = [deep(false), deep(true)];
  const [plainBytes, keptBytes] = [await peakBytes(plain, x, y), await peakBytes(kept, x, y)];
  const timing = await interleaved({ plain: step(plain), kept: step(kept) }, { rounds: 7, warmup: 2 });
  const [checkpointMemoryVsPlain, checkpointStepVsPlain] = [significant(keptBytes / plainBytes), significant(timing.ratio('kept', 'plain'))];
  print(`${CHECKPOINTED_STEPS} steps with checkpoints: ${(keptBytes / 2 ** 20).toFixed(1)} MiB at most, without ${(plainBytes / 2 ** 20).toFixed(1)} MiB (${checkpointMemoryVsPlain}); time ${checkpointStepVsPlain}`);
  tf.dispose([x, y]);
  return { stepVsSeparate, decodingStepVsSeparate, checkpointMemoryVsPlain, checkpointStepVsPlain };
}
