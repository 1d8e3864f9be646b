/** The same small training on every backend, against the same training written out in float64. */
import * as tf from '@tensorflow/tfjs-core';
import { layers, sequential } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { klMergeQuantization } from '../src/callbacks/kl_merge_quantization.js';
import { directStatistics } from '../src/kernels/mixture_energy/mixture.js';
import { attachRegularizer } from '../src/regularizers/attach.js';
import { gmmPrior } from '../src/regularizers/gmm_prior.js';
import { adamStep, initialAdamState, initialParameters, parameterGradients, toMixture } from '../src/regularizers/mixture_parameters.js';
import { relativeError, seededUniform } from './helpers.js';

const [ROWS, INPUTS, HIDDEN, OUTPUTS] = [16, 6, 5, 3];
const STEPS = 25;
/** Of Adam. The host's default for ε is 1e-7, but 1e-4 on webgl: whoever compares backends has to say it. */
const [RATE, BETA1, BETA2, EPSILON] = [0.02, 0.9, 0.999, 1e-6];
/** Float32 all the way: the errors of some 25 steps through tanh and Adam's quotient. */
const TOLERANCE = 2e-5;

const random = seededUniform(11);
const uniform = (length: number) => Float32Array.from({ length }, () => 2 * random() - 1);
const X = uniform(ROWS * INPUTS);
const Y = uniform(ROWS * OUTPUTS);
const START = [INPUTS * HIDDEN, HIDDEN, HIDDEN * OUTPUTS, OUTPUTS].map((length) => uniform(length));

const TRAINING_EXAMPLES = 40;
const PRIOR = { trainingExamples: TRAINING_EXAMPLES, components: 4, tau: 0.3, zeroMixing: 0.7, initialStd: 0.2, hyperprior: 'none' as const, learningRates: { means: 0.01, logVariances: 0.02, mixingLogits: 0.03 } };

/** The network tanh(x·A + a)·B + b and the gradients of its mean squared error, in float64. */
function lossAndGradients(weights: number[][]): { loss: number; gradients: number[][] } {
  const [a, aBias, b, bBias] = weights;
  const gradients = weights.map((weight) => new Array<number>(weight.length).fill(0));
  let loss = 0;
  for (let row = 0; row < ROWS; row++) {
    const hidden = aBias.map((bias, h) => {
      let sum = bias;
      for (let i = 0; i < INPUTS; i++) sum += X[row * INPUTS + i] * a[i * HIDDEN + h];
      return Math.tanh(sum);
    });
    const ofHidden = new Array<number>(HIDDEN).fill(0);
    for (let o = 0; o < OUTPUTS; o++) {
      const error = hidden.reduce((sum, value, h) => sum + value * b[h * OUTPUTS + o], bBias[o]) - Y[row * OUTPUTS + o];
      loss += error ** 2 / (ROWS * OUTPUTS);
      const slope = (2 * error) / (ROWS * OUTPUTS);
      gradients[3][o] += slope;
      hidden.forEach((value, h) => {
        gradients[2][h * OUTPUTS + o] += slope * value;
        ofHidden[h] += slope * b[h * OUTPUTS + o];
      });
    }
    ofHidden.forEach((slope, h) => {
      const inner = slope * (1 - hidden[h] ** 2);
      gradients[1][h] += inner;
      for (let i = 0; i < INPUTS; i++) gradients[0][i * HIDDEN + h] += inner * X[row * INPUTS + i];
    });
  }
  return { loss, gradients };
}

/** `STEPS` steps of Adam in float64, on the loss alone or with the prior over both kernels. */
function reference(withPrior: boolean) {
  const weights = START.map((weight) => Array.from(weight));
  const moments = weights.map((weight) => weight.map(() => [0, 0]));
  const parameters = initialParameters(PRIOR.components, [-1, 1], PRIOR.initialStd, PRIOR.zeroMixing);
  const state = initialAdamState(PRIOR.components);
  const scale = PRIOR.tau / TRAINING_EXAMPLES;
  const losses: number[] = [];
  for (let step = 1; step <= STEPS; step++) {
    const { loss, gradients } = lossAndGradients(weights);
    losses.push(loss);
    if (withPrior) {
      const kernels = [0, 2].flatMap((k) => weights[k]);
      const slopes = new Float64Array(kernels.length);
      const statistics = directStatistics(kernels, toMixture(parameters), slopes);
      losses[step - 1] += scale * statistics.energy;
      let at = 0;
      for (const k of [0, 2]) gradients[k] = gradients[k].map((gradient) => gradient + scale * slopes[at++]);
      const hyperpriors = { kind: 'none' as const, zero: { shape: 1, rate: 1 }, others: { shape: 1, rate: 1 }, beta: [1, 1] as [number, number] };
      adamStep(parameters, parameterGradients(parameters, statistics, hyperpriors, false), state, PRIOR.learningRates, { epsilon: 1e-8 / scale });
    }
    weights.forEach((weight, k) => weight.forEach((_, i) => {
      const moment = moments[k][i];
      moment[0] = BETA1 * moment[0] + (1 - BETA1) * gradients[k][i];
      moment[1] = BETA2 * moment[1] + (1 - BETA2) * gradients[k][i] ** 2;
      weight[i] -= (RATE * moment[0]) / (1 - BETA1 ** step) / (Math.sqrt(moment[1] / (1 - BETA2 ** step)) + EPSILON);
    }));
  }
  return { weights, losses, mixture: toMixture(parameters) };
}

/** The same with the host on this backend. */
async function train(withPrior: boolean) {
  const model = sequential({ layers: [layers.dense({ units: HIDDEN, inputShape: [INPUTS], activation: 'tanh' }), layers.dense({ units: OUTPUTS })] });
  model.setWeights(model.getWeights().map((weight, k) => tf.tensor(START[k], weight.shape)));
  const prior = gmmPrior(PRIOR);
  prior.initialize([-1, 1]);
  if (withPrior) attachRegularizer(model, prior);
  model.compile({ optimizer: tf.train.adam(RATE, BETA1, BETA2, EPSILON), loss: 'meanSquaredError' });
  const [x, y] = [tf.tensor2d(X, [ROWS, INPUTS]), tf.tensor2d(Y, [ROWS, OUTPUTS])];
  const callbacks = withPrior ? [klMergeQuantization({ prior, quantizeAtEnd: false, verbose: false })] : [];
  const { history } = await model.fit(x, y, { epochs: STEPS, batchSize: ROWS, shuffle: false, verbose: 0, callbacks });
  const weights = await Promise.all(model.getWeights().map((weight) => weight.data()));
  tf.dispose([x, y]);
  model.dispose();
  return { weights, losses: history['loss'] as number[], mixture: prior.mixture! };
}

describe('training is the same on every backend', () => {
  it('for dense layers with Adam: weights and losses of every step equal those in float64', async () => {
    const expected = reference(false);
    const actual = await train(false);
    expect(expected.losses[STEPS - 1]).toBeLessThan(0.5 * expected.losses[0]);
    expect(relativeError(actual.losses, expected.losses)).toBeLessThan(TOLERANCE);
    expected.weights.forEach((weight, k) => expect(relativeError(actual.weights[k], weight)).toBeLessThan(TOLERANCE));
  });

  it('for the mixture prior: weights, losses and mixture equal those in float64', async () => {
    const expected = reference(true);
    const actual = await train(true);
    expect(relativeError(actual.losses, expected.losses)).toBeLessThan(TOLERANCE);
    expected.weights.forEach((weight, k) => expect(relativeError(actual.weights[k], weight)).toBeLessThan(TOLERANCE));
    for (const key of ['means', 'variances', 'mixing'] as const) expect(relativeError(actual.mixture[key], expected.mixture[key])).toBeLessThan(TOLERANCE);
    // The mixture moved: its parameters are not those of the start.
    expect(Math.max(...Array.from(expected.mixture.variances))).not.toBeCloseTo(PRIOR.initialStd ** 2, 3);
  });
});
