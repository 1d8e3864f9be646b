/**
 * Correlated inputs with a known truth (the paper's point): each hidden factor is seen through several noisy copies of a column, beside
 * columns that mean nothing. Rows of the first kernel that are tied are the groups found; they are scored against the truth.
 */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { growl, growlProximal, rowTying, type GrOWLArgs, type TiedLayer } from 'tfjs-weight-sharing';
import type { InterruptWatch } from '../common/interrupt.js';
import { seededRandom, type Random } from '../common/random.js';
import { withSeededShuffling } from '../common/compression/train.js';
import { similarityByCluster } from './rows.js';
import type { CorrelatedSettings } from './settings.js';

export type CorrelatedMethod = 'groupLasso' | 'growl';

export interface CorrelatedTrial {
  penalty: GrOWLArgs;
  validationLoss: number;
  adjustedRandIndex: number;
  /** By the least held-out loss of its method. */
  chosen: boolean;
}

export interface CorrelatedResult {
  method: CorrelatedMethod;
  seed: number;
  trials: CorrelatedTrial[];
  /** The candidate with the least held-out loss after both stages. */
  chosen: GrOWLArgs;
  validationLoss: number;
  testLoss: number;
  /** Of the groups found among all columns, against the truth: 1 is equal, 0 what chance gives. A dead or untied column is a group of its own. */
  adjustedRandIndex: number;
  /** Copies that are alive, of all copies; meaningless columns that are alive, of all of those. */
  copiesAlive: number;
  noiseAlive: number;
  /** Share of the pairs of copies of one factor that are tied. */
  pairsTied: number;
  /** Share of the tied pairs that are copies of one factor. */
  pairsRight: number;
  /** Cluster of each column, −1 for dead ones, and which factor it is a copy of, −1 for none. */
  labels: number[];
  truth: number[];
  /** Similarity of the rows of all copies, in the order of the truth. */
  similarity: number[][];
}

interface Samples {
  xs: tfc.Tensor2D;
  ys: tfc.Tensor2D;
}

interface Problem {
  train: Samples;
  validation: Samples;
  test: Samples;
  truth: number[];
}

/** Factors z ~ N(0, 1); columns z + noise, or noise alone; targets by a random network of z. */
export function correlatedProblem({ factors, copies, noiseColumns, noise, samples }: CorrelatedSettings, seed: number): Problem {
  const random = seededRandom(seed);
  const truth = [...Array.from({ length: factors * copies }, (_, column) => Math.floor(column / copies)), ...Array<number>(noiseColumns).fill(-1)];
  const outputs = 4;
  const teacher = [matrix(random, factors, 16, 1), matrix(random, 16, outputs, 0.5)];
  const draw = (count: number): Samples => {
    const z = matrix(random, count, factors, 1);
    const columns = Float32Array.from({ length: count * truth.length }, (_, i) => {
      const factor = truth[i % truth.length];
      return factor < 0 ? random.normal() : z[Math.floor(i / truth.length) * factors + factor] + noise * random.normal();
    });
    return tfc.tidy(() => ({
      xs: tfc.tensor2d(columns, [count, truth.length]),
      ys: tfc.matMul(tfc.tanh(tfc.matMul(tfc.tensor2d(z, [count, factors]), tfc.tensor2d(teacher[0], [factors, 16]))), tfc.tensor2d(teacher[1], [16, outputs])) as tfc.Tensor2D,
    }));
  };
  return { train: draw(samples), validation: draw(samples), test: draw(samples), truth };
}

const matrix = (random: Random, rows: number, columns: number, scale: number): Float32Array => Float32Array.from({ length: rows * columns }, () => scale * random.normal());

/** Trains every candidate, keeps the one with the least held-out loss, scores it and reads the test samples once. */
export async function runCorrelated(settings: CorrelatedSettings, method: CorrelatedMethod, seed: number, watch: InterruptWatch): Promise<CorrelatedResult> {
  const problem = correlatedProblem(settings, seed);
  const { truth } = problem;
  const trials: CorrelatedTrial[] = [];
  let best: { candidate: GrOWLArgs; validationLoss: number; testLoss: number; report: TiedLayer; similarity: number[][] } | null = null;
  for (const candidate of settings.candidates[method]) {
    await watch.check();
    const trained = await train(problem, settings, candidate, seed);
    const { validationLoss, report } = trained;
    trials.push({ penalty: candidate, validationLoss, adjustedRandIndex: adjustedRandIndex(singletons(report.labels), singletons(truth)), chosen: false });
    if (best === null || trained.validationLoss < best.validationLoss) best = { candidate, ...trained };
  }
  for (const trial of trials) trial.chosen = trial.penalty === best!.candidate;
  const { candidate, validationLoss, testLoss, report, similarity } = best!;
  for (const { xs, ys } of [problem.train, problem.validation, problem.test]) tfc.dispose([xs, ys]);
  const alive = (of: (factor: number) => boolean) => mean(report.labels.filter((_, i) => of(truth[i])).map((label) => (label < 0 ? 0 : 1)));
  return {
    method, seed, trials, chosen: candidate, validationLoss, testLoss,
    adjustedRandIndex: adjustedRandIndex(singletons(report.labels), singletons(truth)),
    copiesAlive: alive((factor) => factor >= 0),
    noiseAlive: alive((factor) => factor < 0),
    ...pairScores(report.labels, truth),
    labels: report.labels, truth, similarity,
  }; // prettier-ignore
}

async function train(problem: Problem, { epochs, retrainEpochs, learningRate, preference, batchSize }: CorrelatedSettings, penalty: GrOWLArgs, seed: number) {
  const { train: { xs, ys }, validation, test, truth } = problem; // prettier-ignore
  const initializer = (index: number) => tfl.initializers.glorotUniform({ seed: 10 * seed + index });
  const model = tfl.sequential({
    layers: [
      tfl.layers.dense({ units: 32, activation: 'tanh', name: 'first', inputShape: [truth.length], kernelInitializer: initializer(0), kernelRegularizer: growl(penalty) }),
      tfl.layers.dense({ units: ys.shape[1], kernelInitializer: initializer(1) }),
    ],
  });
  const stage = async (count: number, callback: tfl.Callback) => {
    model.compile({ optimizer: tfc.train.momentum(learningRate, 0.9), loss: 'meanSquaredError' });
    await withSeededShuffling(seed, () => model.fit(xs, ys, { epochs: count, batchSize, verbose: 0, callbacks: [callback] }));
  };
  await stage(epochs, growlProximal({ minLiveRows: 1 }));
  const kernel = tfc.clone(model.getLayer('first').getWeights()[0]);
  const tying = rowTying({ layers: ['first'], preference, maxClusterRatio: 1 });
  await stage(retrainEpochs, tying);
  const losses = [validation, test].map((samples) => tfc.tidy(() => (tfc.losses.meanSquaredError(samples.ys, model.predict(samples.xs) as tfc.Tensor) as tfc.Scalar).dataSync()[0]));
  const similarity = similarityByCluster(kernel, truth);
  kernel.dispose();
  model.dispose();
  return { validationLoss: losses[0], testLoss: losses[1], report: tying.report![0], similarity };
}

/** −1 is no group: each of those becomes one of its own. */
const singletons = (labels: readonly number[]): number[] => labels.map((label, i) => (label < 0 ? -1 - i : label));

const mean = (values: readonly number[]): number => (values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length);

/** Agreement of two partitions: 1 for equal ones, 0 on average for independent ones (Hubert & Arabie 1985). */
export function adjustedRandIndex(a: readonly number[], b: readonly number[]): number {
  const pairs = (n: number) => (n * (n - 1)) / 2;
  const counts = (labels: readonly (number | string)[]) => {
    const map = new Map<number | string, number>();
    for (const label of labels) map.set(label, (map.get(label) ?? 0) + 1);
    return [...map.values()].reduce((sum, n) => sum + pairs(n), 0);
  };
  const [together, inA, inB] = [counts(a.map((label, i) => `${label} ${b[i]}`)), counts(a), counts(b)];
  const expected = (inA * inB) / pairs(a.length);
  const most = (inA + inB) / 2;
  return most === expected ? 1 : (together - expected) / (most - expected);
}

function pairScores(labels: readonly number[], truth: readonly number[]): { pairsTied: number; pairsRight: number } {
  let [tied, copies, both] = [0, 0, 0];
  for (let i = 0; i < labels.length; i++) {
    for (let j = 0; j < i; j++) {
      const together = labels[i] >= 0 && labels[i] === labels[j];
      const same = truth[i] >= 0 && truth[i] === truth[j];
      tied += together ? 1 : 0;
      copies += same ? 1 : 0;
      both += together && same ? 1 : 0;
    }
  }
  return { pairsTied: copies === 0 ? 0 : both / copies, pairsRight: tied === 0 ? 0 : both / tied };
}
