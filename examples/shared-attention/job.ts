/** One variant with one seed: train, keep the epoch that predicts held-out text best, leave out unused projections, test once. */
import * as tfc from '@tensorflow/tfjs-core';
import { attentionSharing, removeUnusedProjections } from 'tfjs-weight-sharing';
import type { InterruptWatch } from '../common/interrupt.js';
import { windowsOf, type TextData } from '../common/text.js';
import { perplexity, setWeights, toTensors, trainText } from '../common/text_model.js';
import { compile, languageModel, stackOf } from './model.js';
import type { Run } from './record.js';
import { LABELS, pairs, type Settings, type VariantName } from './settings.js';

export interface Job {
  data: TextData;
  settings: Settings;
  watch: InterruptWatch;
}

export async function runVariant({ data, settings, watch }: Job, variant: VariantName, seed: number): Promise<Run> {
  const begun = performance.now();
  const { model: shape, training, sharing } = settings;
  const cut = (ids: Int32Array) => windowsOf(ids, shape.length, 1);
  const model = languageModel(data.vocabulary.length, shape, variant === 'pairs' ? pairs(shape.layers) : null, seed);
  compile(model, training);
  const validation = toTensors(cut(data.validation));
  const test = toTensors(cut(data.test));
  const compared = tfc.slice(validation.xs, 0, Math.min(sharing.rows, validation.xs.shape[0]));
  const callback = attentionSharing({ data: compared, threshold: sharing.threshold });
  try {
    const { epochs, best } = await trainText({
      model, windows: cut(data.train), validation, settings: training, rowsPerEpoch: training.rows, label: `${LABELS[variant]}, seed ${seed}`, seed, watch,
      callbacksOf: (epoch) => (variant === 'chosen' && epoch >= sharing.from ? [callback] : []),
      // What was learned while other layers shared is no candidate.
      onEpoch: async () => variant === 'chosen' && callback.records.at(-1)?.unchanged === false,
    }); // prettier-ignore
    setWeights(model, best);
    const policy = [...stackOf(model).policy];
    const { model: small } = await removeUnusedProjections(model);
    const kept = { validation: await perplexity(small, validation, training.batchSize), test: await perplexity(small, test, training.batchSize) };
    const parameters = small.countParams();
    small.dispose();
    const comparisons = callback.records.map(({ policy: blocks, divergence }, i) => ({ epoch: sharing.from + i, policy: blocks, divergence }));
    return { seed, variant, policy, parameters, epochs, comparisons, perplexity: kept, seconds: Number(((performance.now() - begun) / 1000).toFixed(1)) };
  } finally {
    tfc.dispose([validation.xs, validation.ys, test.xs, test.ys, compared]);
    const { optimizer } = model;
    model.dispose();
    optimizer.dispose();
  }
}
