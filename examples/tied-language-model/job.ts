/** One variant with one seed: train, keep the epoch that predicts held-out text best, test once. */
import * as tfc from '@tensorflow/tfjs-core';
import type * as tfl from '@tensorflow/tfjs-layers';
import { windowsOf, type TextData } from '../common/text.js';
import type { InterruptWatch } from '../common/interrupt.js';
import { perplexity, setWeights, toTensors, trainText } from '../common/text_model.js';
import { compile, languageModel } from './model.js';
import type { VariantRecord } from './record.js';
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
    const { epochs, best } = await trainText({ model, windows: cut(data.train), validation, settings: settings.training, label: `${variant}, seed ${seed}`, seed, watch });
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

