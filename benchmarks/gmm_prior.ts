/**
 * The whole step of the mixture prior on the kernels of LeNet-300-100 (266 200 weights, 17 components): energy, gradients of the
 * weights and of the mixture, the mixture's Adam step, readback, upload and grid refinement, on weights that move. Against it, interleaved
 * in one process, the same energy composed of tfjs ops and differentiated by the host, and the gradient step of an L2 penalty.
 *
 * `priorVsComposed` = composed / ours, `priorVsL2` = ours / L2, over both phases of training below.
 */

import * as tf from '@tensorflow/tfjs-core';
import { regularizers } from '@tensorflow/tfjs-layers';
import { gmmPrior, type GmmPrior } from '../src/regularizers/gmm_prior.js';
import { interleaved, median, significant } from './interleaved.js';
import type { BenchOptions } from './run.js';

export const backends = ['tensorflow', 'wasm'];

const SHAPES = [[784, 300], [300, 100], [100, 10]];
const EXAMPLES = 60_000;
const TAU = 5e-3;
const RATE = 5e-4;
const ZERO_MIXING = 0.99;
/** Steps in a row whose mean is one measurement of ours and of L2: a refinement of the grid is spread over them. */
const BLOCK = 10;
const BLOCKS = 9;

/** σ at the start of training (the default), and where its hyperpriors pull it: narrow components need the finer grid. */
const PHASES = { early: 0.25, late: 0.02 };

/** Weights as in the middle of training: most near zero, the others over the range of a trained network. */
function weights(): tf.Variable[] {
  return SHAPES.map((shape, i) => tf.tidy(() => {
    const near = tf.randomNormal(shape, 0, 0.02, 'float32', 10 * i + 1);
    const far = tf.randomNormal(shape, 0, 0.15, 'float32', 10 * i + 2);
    const kept = tf.less(tf.randomUniform(shape, 0, 1, 'float32', 10 * i + 3), 0.1);
    return tf.variable(tf.where(kept, far, near));
  }));
}

/** The same energy in tfjs ops: per tensor a [weights, components] broadcast and `logSumExp`. */
function composedPrior(prior: GmmPrior) {
  const mixture = prior.mixture;
  if (mixture === null) throw new Error('bench gmm-prior: the mixture is not initialized.');
  const means = tf.variable(tf.tensor1d(mixture.means.slice(1)));
  const logVariances = tf.variable(tf.tensor1d(mixture.variances.map(Math.log)));
  const logits = tf.variable(tf.tensor1d(mixture.mixing.slice(1).map((pi) => Math.log(pi / mixture.mixing[1]))));
  const shapes = tf.tensor1d([5e3, ...mixture.means.slice(1).map(() => 250)]);
  const rates = tf.tensor1d([2, ...mixture.means.slice(1).map(() => 0.1)]);
  const zero = tf.tensor1d([0]);
  const logZeroMixing = tf.tensor1d([Math.log(ZERO_MIXING)]);
  const adam = tf.train.adam(RATE);

  const energy = (kernels: tf.Variable[]) => {
    const allMeans = tf.concat([zero, means]);
    const logMixing = tf.concat([logZeroMixing, tf.add(tf.logSoftmax(logits), Math.log(1 - ZERO_MIXING))]);
    const precisions = tf.exp(tf.neg(logVariances));
    const constants = tf.sub(logMixing, tf.add(tf.mul(logVariances, 0.5), 0.5 * Math.log(2 * Math.PI)));
    const terms = kernels.map((kernel) => {
      const distances = tf.square(tf.sub(tf.reshape(kernel, [-1, 1]), allMeans));
      return tf.neg(tf.sum(tf.logSumExp(tf.sub(constants, tf.mul(distances, tf.mul(precisions, 0.5))), 1)));
    });
    const hyperpriors = tf.sum(tf.add(tf.mul(tf.sub(shapes, 1), logVariances), tf.mul(rates, precisions)));
    return tf.mul(TAU / EXAMPLES, tf.addN([...terms, hyperpriors])) as tf.Scalar;
  };
  const parameters = [means, logVariances, logits];
  return {
    energy,
    step(kernels: tf.Variable[]): void {
      const { value, grads } = tf.variableGrads(() => energy(kernels), [...kernels, ...parameters]);
      adam.applyGradients(parameters.map(({ name }) => ({ name, tensor: grads[name] })));
      value.dataSync();
      tf.dispose([value, grads]);
    },
  };
}

/** Refuses to compare two things that do not compute the same: energy and weight gradients, relative to the largest. */
function checkAgreement(ours: () => tf.Scalar, theirs: () => tf.Scalar, kernels: tf.Variable[]): void {
  const [a, b] = [ours, theirs].map((energy) => tf.variableGrads(energy, kernels));
  const worst = (x: tf.Tensor, y: tf.Tensor) => tf.tidy(() => tf.div(tf.max(tf.abs(tf.sub(x, y))), tf.max(tf.abs(y))).dataSync()[0]);
  const errors = [worst(a.value, b.value), ...kernels.map(({ name }) => worst(a.grads[name], b.grads[name]))];
  tf.dispose([a, b]);
  // The composed side is float32 throughout: its sum of 266 200 terms is the coarser one.
  if (!(Math.max(...errors) < 1e-3)) throw new Error(`bench gmm-prior: ours and composed differ by ${errors.map((e) => e.toExponential(1)).join(', ')}.`);
}

async function measure(initialStd: number) {
  const kernels = weights();
  const prior = gmmPrior({ trainingExamples: EXAMPLES, tau: TAU, zeroMixing: ZERO_MIXING, initialStd, learningRates: { means: RATE, logVariances: RATE, mixingLogits: RATE } });
  const all = tf.concat(kernels.map((kernel) => tf.reshape(kernel, [-1])));
  prior.initialize([tf.min(all).dataSync()[0], tf.max(all).dataSync()[0]]);
  all.dispose();
  const composed = composedPrior(prior);
  const ours = () => tf.addN(kernels.map((kernel) => prior.apply(kernel))) as tf.Scalar;
  checkAgreement(ours, () => composed.energy(kernels), kernels);
  await prior.step();

  const l2 = regularizers.l2({ l2: 1e-4 });
  // What the optimizer would do to the weights: each step sees others. It is not part of any variant's time.
  let moved = 0;
  const nudges = kernels.map((kernel) => tf.randomNormal(kernel.shape, 0, 2e-4, 'float32', 99));
  const move = () => {
    const sign = moved++ % 7 < 4 ? 1 : -1;
    kernels.forEach((kernel, i) => tf.tidy(() => kernel.assign(tf.add(kernel, tf.mul(nudges[i], sign)))));
  };
  const gradientStep = (energy: () => tf.Scalar) => {
    const { value, grads } = tf.variableGrads(energy, kernels);
    value.dataSync();
    tf.dispose([value, grads]);
  };
  return interleaved(
    {
      ours: async () => {
        gradientStep(ours);
        await prior.step();
      },
      composed: () => composed.step(kernels),
      l2: () => gradientStep(() => tf.addN(kernels.map((kernel) => l2.apply(kernel))) as tf.Scalar),
    },
    { rounds: BLOCKS, warmup: 1, repeats: { ours: BLOCK, l2: BLOCK }, between: move },
  );
}

export async function run({ backend, print }: BenchOptions): Promise<Record<string, unknown>> {
  print(`${backend}: milliseconds a step   ours  composed    L2   composed / ours   ours / L2`);
  const phases: Record<string, { priorVsComposed: number; priorVsL2: number }> = {};
  const ratios = { composed: [] as number[], l2: [] as number[] };
  for (const [phase, initialStd] of Object.entries(PHASES)) {
    const timing = await measure(initialStd);
    const { ours, composed, l2 } = timing.milliseconds;
    ratios.composed.push(...timing.ratios('composed', 'ours'));
    ratios.l2.push(...timing.ratios('ours', 'l2'));
    phases[phase] = { priorVsComposed: significant(timing.ratio('composed', 'ours')), priorVsL2: significant(timing.ratio('ours', 'l2')) };
    print(`${phase.padEnd(6)} σ ${String(initialStd).padEnd(16)} ${ours.toFixed(2).padStart(8)} ${composed.toFixed(1).padStart(9)} ${l2.toFixed(2).padStart(5)} ${String(phases[phase].priorVsComposed).padStart(17)} ${String(phases[phase].priorVsL2).padStart(11)}`);
  }
  return { priorVsComposed: significant(median(ratios.composed)), priorVsL2: significant(median(ratios.l2)), ...phases };
}
