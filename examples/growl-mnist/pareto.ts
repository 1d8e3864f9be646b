/** LeNet-300-100 once more: GrOWL, then a mixture prior on what is left, then quantisation, against each alone. */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { attachRegularizer, compressed, factorTiedRows, gmmPrior, klMergeQuantization, removeDeadUnits } from 'tfjs-weight-sharing';
import { countOf } from '../common/images.js';
import { withProgress } from '../common/progress.js';
import { errorPercent } from '../common/compression/models.js';
import { newNetwork, type NetworkName } from './networks.js';
import type { Method, NetworkSettings, ParetoSettings, Penalty } from './settings.js';
import { fitter, retrainTied, sparsify, type Bench, type Fit } from './train.js';

/** `growl`: GrOWL + L2 and no more; `prior`: the mixture on the plain network; `both`: the mixture on what GrOWL leaves. */
export type ParetoFamily = 'growl' | 'prior' | 'both';

export interface ParetoPoint {
  family: ParetoFamily;
  /** Factor on the penalty of the settings, 0 without. */
  strength: number;
  /** Of the prior, 0 without. */
  tau: number;
  seed: number;
  validationError: number;
  testError: number;
  fileBytes: number;
  ratio: number;
  seconds: number;
}

export type ParetoVariant = Pick<ParetoPoint, 'family' | 'strength' | 'tau' | 'seed'>;

const NETWORK: NetworkName = 'lenet';

/** In this order: a model of both begins where that of GrOWL alone ended. */
export const paretoVariants = ({ strengths, taus }: ParetoSettings, seed: number): ParetoVariant[] => [
  ...strengths.map((strength) => ({ family: 'growl' as const, strength, tau: 0, seed })),
  ...taus.map((tau) => ({ family: 'prior' as const, strength: 0, tau, seed })),
  ...strengths.flatMap((strength) => taus.map((tau) => ({ family: 'both' as const, strength, tau, seed }))),
];

export async function runPareto(bench: Bench, lenet: NetworkSettings, pareto: ParetoSettings, variant: ParetoVariant): Promise<ParetoPoint> {
  const begun = performance.now();
  const { strength, tau, seed } = variant;
  const start = join(bench.out, 'pareto', `growl-${strength}-${seed}.tfws`);
  const path = tau === 0 ? start : join(bench.out, 'pareto', `growl-${strength}-prior-${tau}-${seed}.tfws`);
  mkdirSync(join(path, '..'), { recursive: true });
  if (tau === 0 || !existsSync(start)) await trainStart(bench, lenet, strength, seed, start);
  if (tau > 0) {
    const { model } = await factorTiedRows(await tfl.loadLayersModel(compressed(`file://${start}`)));
    await quantise(bench, model, lenet, pareto, variant);
    await model.save(compressed(`file://${path}`));
    model.dispose();
  }
  const loaded = await tfl.loadLayersModel(compressed(`file://${path}`));
  const fileBytes = statSync(path).size;
  const [validationError, testError] = [await errorPercent(loaded, bench.data.validation), await errorPercent(loaded, bench.data.test)];
  loaded.dispose();
  const parameters = newNetwork(NETWORK, bench.data.train.width, seed).countParams();
  return { ...variant, validationError, testError, fileBytes, ratio: (4 * parameters) / fileBytes, seconds: Number(((performance.now() - begun) / 1000).toFixed(1)) };
}

/** Both stages of GrOWL, or ordinary training. */
async function trainStart(bench: Bench, lenet: NetworkSettings, strength: number, seed: number, path: string): Promise<void> {
  const method: Method = strength > 0 ? 'growlL2' : 'plain';
  const variant = { network: NETWORK, method, seed };
  const model = newNetwork(NETWORK, bench.data.train.width, seed);
  await followed(bench, lenet, seed, lenet.training.epochs + (strength > 0 ? lenet.retraining.epochs : 0), `Pareto plot, ${method}${strength > 0 ? ` × ${strength}` : ''}`, async (fit) => {
    await sparsify(model, variant, lenet, scaled(lenet.methods[method]!, strength), fit);
    if (strength > 0) await retrainTied(model, variant, lenet, fit);
  });
  const { model: small } = await removeDeadUnits(model);
  await small.save(compressed(`file://${path}`));
  model.dispose();
  small.dispose();
}

/** The prior on all kernels that train (the memberships of tied rows do not), merged and quantised in parts. */
async function quantise(bench: Bench, model: tfl.LayersModel, lenet: NetworkSettings, { retraining, prior: args, tiedZeroMixing }: ParetoSettings, { strength, tau, seed }: ParetoVariant): Promise<void> {
  const prior = gmmPrior({ ...args, ...(strength > 0 && { zeroMixing: tiedZeroMixing }), trainingExamples: countOf(bench.data.train), tau });
  const layers = model.layers.filter((layer) => layer.trainableWeights.length > 0).map(({ name }) => name);
  attachRegularizer(model, prior, { layers, biases: true });
  model.compile({ optimizer: tfc.train.adam(retraining.learningRate), loss: 'categoricalCrossentropy', metrics: ['accuracy'] });
  const quantization = klMergeQuantization({ prior, incremental: retraining.incremental, verbose: false });
  await followed(bench, lenet, seed, retraining.epochs, `Pareto plot, prior τ ${tau}${strength > 0 ? ` after GrOWL × ${strength}` : ''}`, (fit) => fit(model, retraining, [quantization], retraining.incremental[0][0]));
}

async function followed(bench: Bench, { batchSize }: NetworkSettings, seed: number, epochs: number, label: string, work: (fit: Fit) => Promise<void>): Promise<void> {
  const batches = Math.ceil(countOf(bench.data.train) / batchSize);
  const errors: number[] = [];
  await withProgress(label, epochs * batches, 0, async (progress) => {
    await work(fitter(bench, { batchSize }, seed, batches, progress, errors));
    progress.finish(`validation error ${errors.at(-1)!.toFixed(2)} %`);
  });
}

function scaled({ growl: args, weightDecay }: Penalty, strength: number): Penalty {
  if (args === null) return { growl: args, weightDecay };
  const times = (value?: number) => (value === undefined ? undefined : strength * value);
  return { growl: { ...args, lambda1: times(args.lambda1), lambda2: times(args.lambda2) }, weightDecay };
}
