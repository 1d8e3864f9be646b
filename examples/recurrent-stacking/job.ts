/** One network with one seed: train, keep the epoch that predicts held-out text best, test once, and weigh its files. */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { compressModel, sizeReport } from 'tfjs-weight-sharing';
import type { InterruptWatch } from '../common/interrupt.js';
import { windowsOf, type TextData } from '../common/text.js';
import { perplexity, setWeights, toTensors, trainText } from '../common/text_model.js';
import { compile, languageModel } from './model.js';
import type { Run } from './record.js';
import { labelOf, type Settings, type VariantName } from './settings.js';

export interface Job {
  data: TextData;
  settings: Settings;
  watch: InterruptWatch;
}

export async function runVariant({ data, settings, watch }: Job, variant: VariantName, seed: number): Promise<Run> {
  const begun = performance.now();
  const { batchSize, tokens } = settings.training;
  const cut = (ids: Int32Array) => windowsOf(ids, settings.model.length, 1);
  const model = languageModel(data.vocabulary.length, settings.model, variant, seed);
  compile(model, settings.training);
  const validation = toTensors(cut(data.validation));
  const test = toTensors(cut(data.test));
  try {
    const windows = cut(tokens === 0 ? data.train : data.train.subarray(0, tokens));
    const { epochs, best } = await trainText({ model, windows, validation, settings: settings.training, label: `${labelOf(variant, settings.model.depth)}, seed ${seed}`, seed, watch });
    setWeights(model, best);
    const kept = { validation: await perplexity(model, validation, batchSize), test: await perplexity(model, test, batchSize) };
    const { artifacts, file } = await compressModel(model, settings.compression);
    const parameters = model.countParams();
    const bytes = { float32: 4 * parameters, lossless: (await sizeReport(model)).fileBytes, compressed: file!.length };
    const small = await tfl.loadLayersModel(tfc.io.fromMemory(artifacts));
    const compressed = await perplexity(small, test, batchSize);
    small.dispose();
    return { seed, variant, parameters, bytes, epochs, perplexity: { ...kept, compressed }, seconds: Number(((performance.now() - begun) / 1000).toFixed(1)) };
  } finally {
    tfc.dispose([validation.xs, validation.ys, test.xs, test.ys]);
    const { optimizer } = model;
    model.dispose();
    optimizer.dispose();
  }
}
