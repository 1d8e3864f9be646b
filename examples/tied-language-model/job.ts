/** One variant with one seed: train, keep the epoch that predicts held-out text best, test once. */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { withProgress } from '../common/progress.js';
import { seededRandom } from '../common/random.js';
import { shuffled, windowsOf, type TextData, type Windows } from '../common/text.js';
import type { InterruptWatch } from '../common/interrupt.js';
import { compile, languageModel, perplexity, setWeights, toTensors, weightsOf, type WindowTensors } from './model.js';
import type { EpochRecord, VariantRecord } from './record.js';
import type { Settings, VariantName } from './settings.js';

/** Words whose neighbours are looked up: some of the commonest have none that mean anything. */
const SHOWN = 12;
const SKIPPED = 40;
const NEAREST = 5;

export interface Job {
  data: TextData;
  settings: Settings;
  watch: InterruptWatch;
}

export async function runVariant({ data, settings, watch }: Job, variant: VariantName, seed: number): Promise<VariantRecord> {
  const begun = performance.now();
  const { length, context } = settings.model;
  const cut = (ids: Int32Array) => windowsOf(ids, length, context);
  const model = languageModel(data.vocabulary.length, settings.model, variant, seed);
  compile(model, settings.training, variant === 'augmented' ? settings.augmented : null);
  const validation = toTensors(cut(data.validation));
  try {
    const { epochs, best } = await train(model, cut(data.train), validation, settings.training, `${variant}, seed ${seed}`, seed, watch);
    setWeights(model, best);
    const test = toTensors(cut(data.test));
    const kept = { validation: await perplexity(model, validation, settings.training.batchSize), test: await perplexity(model, test, settings.training.batchSize) };
    tfc.dispose([test.xs, test.ys]);
    const neighbours = await nearestWords(model, data.vocabulary);
    return { seed, variant, parameters: model.countParams(), epochs, perplexity: kept, neighbours, seconds: (performance.now() - begun) / 1000 };
  } finally {
    tfc.dispose([validation.xs, validation.ys]);
    model.dispose();
  }
}

async function train(
  model: tfl.LayersModel,
  windows: Windows,
  validation: WindowTensors,
  { epochs, patience, batchSize }: Settings['training'],
  label: string,
  seed: number,
  watch: InterruptWatch,
): Promise<{ epochs: EpochRecord[]; best: Float32Array[] }> {
  const done: EpochRecord[] = [];
  let best: { validation: number; epoch: number; weights: Float32Array[] } | null = null;
  const batches = Math.ceil(windows.rows / batchSize);
  const random = seededRandom(seed);
  await withProgress(label, epochs * batches, 0, async (progress) => {
    for (let epoch = 1; epoch <= epochs; epoch++) {
      // The host shuffles by Math.random, which takes no seed.
      const { xs, ys } = toTensors(shuffled(windows, random));
      const onBatchEnd = async (batch: number) => {
        progress.update((epoch - 1) * batches + batch + 1);
        await watch.check();
      };
      const { history } = await model.fit(xs, ys, { batchSize, shuffle: false, verbose: 0, callbacks: { onBatchEnd } }).finally(() => tfc.dispose([xs, ys]));
      const record = { epoch, loss: history.loss[0] as number, validation: await perplexity(model, validation, batchSize) };
      done.push(record);
      if (best === null || record.validation < best.validation) best = { validation: record.validation, epoch, weights: await weightsOf(model) };
      progress.update(epoch * batches, `held-out perplexity ${record.validation.toFixed(2)}`);
      if (epoch - best.epoch >= patience) break;
    }
    progress.finish(`held-out perplexity ${best?.validation.toFixed(2)} after epoch ${best?.epoch}`);
  });
  if (best === null) throw new Error('tied-language-model: no epoch was run: training.epochs must be at least 1.');
  return { epochs: done, best: (best as { weights: Float32Array[] }).weights };
}

/** By the cosine of vectors of the input table. */
async function nearestWords(model: tfl.LayersModel, vocabulary: readonly string[]): Promise<VariantRecord['neighbours']> {
  const first = vocabulary.length > 4 * SKIPPED ? SKIPPED : 0;
  const count = Math.min(SHOWN, vocabulary.length - first);
  const cosines = tfc.tidy(() => {
    const table = model.layers[0].getWeights()[0] as tfc.Tensor2D;
    const unit = tfc.div(table, tfc.norm(table, 2, 1, true)) as tfc.Tensor2D;
    return tfc.matMul(tfc.slice(unit, [first, 0], [count, -1]), unit, false, true);
  });
  const rows = await cosines.array() as number[][];
  cosines.dispose();
  return rows.map((row, i) => {
    const order = row.map((cosine, id) => ({ cosine, id })).filter(({ id }) => id !== first + i).sort((a, b) => b.cosine - a.cosine);
    return { word: vocabulary[first + i], nearest: order.slice(0, NEAREST).map(({ id }) => vocabulary[id]) };
  });
}

