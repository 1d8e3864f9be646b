/** One network and one method: sparsify and tie, retrain with the ties, make it smaller, save, load again, test. */
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { attachRegularizer, compressed, detachRegularizer, growl, growlProximal, removeDeadUnits } from 'tfjs-weight-sharing';
import { countOf, type DataSet } from '../common/images.js';
import type { InterruptWatch } from '../common/interrupt.js';
import { withProgress, type Progress } from '../common/progress.js';
import { errorPercent, type ImageTensors } from '../common/compression/models.js';
import { learningRateAt } from '../common/compression/settings.js';
import { withSeededShuffling } from '../common/compression/train.js';
import { tyingCallbacks } from './clustering.js';
import { newNetwork, PENALISED } from './networks.js';
import type { LayerResult, NetworkResult, Variant } from './record.js';
import { similarityByCluster, sortedNorms } from './rows.js';
import { METHOD_TITLES, type NetworkSettings, type Penalty, type Schedule } from './settings.js';

export interface Bench {
  data: DataSet;
  train: ImageTensors;
  validation: ImageTensors;
  /** Where the models go. */
  out: string;
  watch: InterruptWatch;
}

/** Trains by a schedule; the rate falls from `fallsFrom` on, by default half-way. */
export type Fit = (model: tfl.LayersModel, schedule: Schedule, callbacks: tfl.Callback[], fallsFrom?: number) => Promise<void>;

/** Both stages and all measurements; the test images are read once, by the model that was loaded from the file. */
export async function runVariant(bench: Bench, settings: NetworkSettings, variant: Variant): Promise<NetworkResult> {
  const begun = performance.now();
  const { network, method, seed } = variant;
  const penalty = settings.methods[method]!;
  const model = newNetwork(network, bench.data.train.width, seed);
  const parameters = model.countParams();
  const validationErrors: number[] = [];
  const label = `seed ${seed}, ${network}, ${METHOD_TITLES[method]}`;
  const epochs = settings.training.epochs + settings.retraining.epochs;
  const batches = Math.ceil(countOf(bench.data.train) / settings.batchSize);
  let layers: LayerResult[] = [];
  try {
    await withProgress(label, epochs * batches, 0, async (progress) => {
      const fit = fitter(bench, settings, seed, batches, progress, validationErrors);
      await sparsify(model, variant, settings, penalty, fit);
      layers = await retrainTied(model, variant, settings, fit);
      progress.finish(`validation error ${validationErrors.at(-1)!.toFixed(2)} %`);
    });
    const path = join(bench.out, `${network}-${method}-${seed}.tfws`);
    return {
      ...variant,
      parameters,
      validationErrors,
      layers,
      ...(await saveSmall(model, layers, parameters, path)),
      testError: await errorPercent(await tfl.loadLayersModel(compressed(`file://${path}`)), bench.data.test),
      seconds: Number(((performance.now() - begun) / 1000).toFixed(1)),
    };
  } finally {
    model.dispose();
  }
}

/** Stage one: the penalty on, a proximal step an epoch; then the penalty off again. */
export async function sparsify(model: tfl.LayersModel, { network }: Variant, settings: NetworkSettings, { growl: args, weightDecay }: Penalty, fit: Fit): Promise<void> {
  compile(model, settings.training.learningRate);
  if (args === null && weightDecay === 0) return fit(model, settings.training, []);
  const prior = growl(args ?? { lambda1: 0 });
  attachRegularizer(model, prior, { layers: [...PENALISED[network]] });
  await fit(model, settings.training, [growlProximal({ weightDecay })]);
  detachRegularizer(model, prior);
}

/** Stage two: similar rows tied, momentum fresh. A network without a penalty on its rows is trained on as it is. */
export async function retrainTied(model: tfl.LayersModel, { network, method }: Variant, settings: NetworkSettings, fit: Fit): Promise<LayerResult[]> {
  compile(model, settings.retraining.learningRate);
  const names = PENALISED[network];
  if (settings.methods[method]!.growl === null) {
    await fit(model, settings.retraining, []);
    return names.map((name) => untied(name, model.getLayer(name).getWeights()[0]));
  }
  const before = names.map((name) => tfc.clone(model.getLayer(name).getWeights()[0]));
  const tying = tyingCallbacks(names, settings.clustering);
  await fit(model, settings.retraining, tying);
  const layers = tying.flatMap(({ report }) => report!).map(({ layer, rows, dead, clusters, labels }, i) => ({
    layer, rows, live: rows - dead, distinct: clusters, labels, norms: sortedNorms(before[i]), similarity: similarityByCluster(before[i], labels),
  })); // prettier-ignore
  tfc.dispose(before);
  return layers;
}

function untied(layer: string, kernel: tfc.Tensor): LayerResult {
  const rows = kernel.shape[kernel.rank - 2];
  const labels = Array.from({ length: rows }, (_, row) => row);
  return { layer, rows, live: rows, distinct: rows, labels, norms: sortedNorms(kernel), similarity: similarityByCluster(kernel, labels) };
}

function compile(model: tfl.LayersModel, learningRate: number): void {
  model.compile({ optimizer: tfc.train.momentum(learningRate, 0.9), loss: 'categoricalCrossentropy', metrics: ['accuracy'] });
}

export function fitter(bench: Bench, { batchSize }: Pick<NetworkSettings, 'batchSize'>, seed: number, batches: number, progress: Progress, errors: number[]): Fit {
  return async (model, schedule, callbacks, fallsFrom) => {
    const done = errors.length;
    let epoch = 0;
    const first = new tfl.CustomCallback({
      onEpochBegin: async (index) => {
        epoch = index;
        // Public in JavaScript, protected in the types; there is no setter.
        (model.optimizer as unknown as { learningRate: number }).learningRate = learningRateAt(index, schedule, fallsFrom);
      },
      onBatchEnd: async (batch) => {
        progress.update((done + epoch) * batches + batch + 1);
        await bench.watch.check();
      },
      onEpochEnd: async (_index, logs) => void errors.push(Number((100 * (1 - (logs as { val_acc: number }).val_acc)).toFixed(4))),
    });
    const { train, validation } = bench;
    await withSeededShuffling(1000 * seed + done, () =>
      model.fit(train.xs, train.ys, { epochs: schedule.epochs, batchSize, verbose: 0, validationData: [validation.xs, validation.ys], callbacks: [first, ...callbacks] }),
    );
  };
}

/** Removes dead units, saves, and counts. */
async function saveSmall(model: tfl.LayersModel, layers: readonly LayerResult[], parameters: number, path: string): Promise<Pick<NetworkResult, 'sparsity' | 'paperRatio' | 'fileBytes' | 'ratio'>> {
  mkdirSync(join(path, '..'), { recursive: true });
  const { model: small } = await removeDeadUnits(model);
  await small.save(compressed(`file://${path}`));
  const sizes = layers.map(({ layer, rows, live, distinct }) => {
    const [before, after] = [model, small].map((each) => each.getLayer(layer).getWeights()[0]);
    return { weights: before.size, live: (before.size / rows) * live, distinct: (after.size / after.shape[after.rank - 2]) * distinct };
  });
  const sum = (pick: (size: (typeof sizes)[number]) => number) => sizes.reduce((total, size) => total + pick(size), 0);
  small.dispose();
  const fileBytes = statSync(path).size;
  return { sparsity: 1 - sum((s) => s.live) / sum((s) => s.weights), paperRatio: sum((s) => s.weights) / sum((s) => s.distinct), fileBytes, ratio: (4 * parameters) / fileBytes };
}
