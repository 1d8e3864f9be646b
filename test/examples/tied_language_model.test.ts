import * as tf from '@tensorflow/tfjs-core';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { generatedText, windowsOf } from '../../examples/common/text.js';
import { perplexity, toTensors } from '../../examples/common/text_model.js';
import { runVariant } from '../../examples/tied-language-model/job.js';
import { compile, languageModel } from '../../examples/tied-language-model/model.js';
import { parsedRecord } from '../../examples/common/variant_runs.js';
import { RECORD_FORMAT, summarize, type RunRecord, type VariantRecord } from '../../examples/tied-language-model/record.js';
import { renderHtml, renderPictures, writeReport } from '../../examples/tied-language-model/report.js';
import { settingsFor, VARIANTS, type Settings, type VariantName } from '../../examples/tied-language-model/settings.js';

const tiny: Settings = {
  model: { width: 4, hidden: 6, context: 2, length: 5, dropout: 0 },
  training: { epochs: 3, patience: 2, batchSize: 8, learningRate: 0.01 },
  augmented: { temperature: 20, gamma: 0.5 },
};
const text = () => {
  const data = generatedText(1500);
  return { ...data, train: data.train.slice(0, 301), validation: data.validation.slice(0, 101), test: data.test.slice(0, 101) };
};
const watch = { check: async () => {}, stop: () => {} };

describe('the models of the example', () => {
  it('differ by one table, and predict from the context alone', async () => {
    const vocabulary = 9;
    const [untied, tied] = (['untied', 'tied'] as const).map((variant) => languageModel(vocabulary, tiny.model, variant, 1));
    expect(untied.countParams() - tied.countParams()).toBe(vocabulary * tiny.model.width);
    for (const model of [untied, tied]) {
      expect(model.outputs[0].shape).toEqual([null, 5, vocabulary]);
      const [a, b] = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 0]].map((row) => (model.predict(tf.tensor2d([row], [1, 6], 'int32')) as tf.Tensor).dataSync());
      expect(a.slice(0, 4 * vocabulary), 'a later token changes nothing before it').toEqual(b.slice(0, 4 * vocabulary));
      expect(a.slice(4 * vocabulary)).not.toEqual(b.slice(4 * vocabulary));
    }
  });

  it('have the number of tokens as perplexity where they know nothing', async () => {
    const model = languageModel(9, tiny.model, 'tied', 1);
    model.setWeights(model.getWeights().map((weight) => tf.zerosLike(weight)));
    compile(model, tiny.training, null);
    const windows = toTensors(windowsOf(Int32Array.from({ length: 31 }, (_, i) => i % 9), 5, 2));
    expect(await perplexity(model, windows, 4)).toBeCloseTo(9, 4);
  });

  it.each(VARIANTS)('train and are tested: %s', async (variant) => {
    const data = text();
    const run = await runVariant({ data, settings: tiny, watch }, variant, 1);
    expect(run.epochs).toHaveLength(3);
    expect(run.epochs[2].loss).toBeLessThan(run.epochs[0].loss);
    expect(run.perplexity.test).toBeLessThan(data.vocabulary.length);
    expect(run.perplexity.validation).toBeCloseTo(Math.min(...run.epochs.map((epoch) => epoch.validation)), 3);
    expect(run.neighbours[0].nearest).toHaveLength(5);
  });
});

const PERPLEXITIES = { untied: 300, tied: 280.5, augmented: 271 };
function syntheticRun(seed: number, variant: VariantName): VariantRecord {
  const best = PERPLEXITIES[variant] + seed;
  return {
    seed, variant, parameters: variant === 'untied' ? 2000 : 1200,
    epochs: [1.6, 1.1, 1, 1.05].map((factor, i) => ({ epoch: i + 1, loss: 6 - 0.2 * i, validation: factor * best })),
    perplexity: { validation: best, test: best - 10 }, neighbours: [{ word: '<unk>', nearest: ['\n', 'b', 'c', 'd', 'e'] }], seconds: 100 + seed,
  }; // prettier-ignore
}
const synthetic = (seeds = [1]): RunRecord => ({
  format: RECORD_FORMAT,
  data: { origin: 'made up <&>', level: 'word', vocabulary: 100, train: 1000, validation: 100, test: 200 },
  directory: null, backend: 'test', settings: settingsFor('word', true), seeds, runs: seeds.flatMap((seed) => VARIANTS.map((variant) => syntheticRun(seed, variant))),
}); // prettier-ignore

describe('its record', () => {
  it('is summed up by medians over the seeds', () => {
    expect(summarize(synthetic([1, 2, 3]))).toEqual({
      level: 'word', vocabulary: 100, width: settingsFor('word', true).model.width, untied: 292, tied: 272.5, augmented: 263, improvement: 19.5, parametersSaved: 800, seconds: 306,
    }); // prettier-ignore
  });

  it('survives JSON, and other files are refused by name', () => {
    expect(parsedRecord<RunRecord>('tied-language-model', RECORD_FORMAT, JSON.stringify(synthetic()), 'a')).toEqual(synthetic());
    expect(() => parsedRecord<RunRecord>('tied-language-model', RECORD_FORMAT, '{', 'a.json')).toThrow('a.json: not JSON');
    expect(() => parsedRecord<RunRecord>('tied-language-model', RECORD_FORMAT, '{"format":"x"}', 'b.json')).toThrow("b.json: expected a record with format 'tfjs-weight-sharing/tied-language-model/1', got 'x'.");
  });
});

describe('its report', () => {
  it('is one page with every figure and table, and nothing loaded from elsewhere', () => {
    const html = renderHtml(synthetic([1, 2]));
    for (const title of ['Held-out perplexity', 'Test perplexity', 'Training loss', 'Parameters']) expect(html).toContain(`<b>${title}</b>`);
    expect(html.match(/<svg /g)).toHaveLength(4);
    expect(html).toContain('<td>tied, augmented loss</td><td>1</td><td>1,200</td><td>3 of 4</td><td>272.00</td><td>262.00</td>');
    expect(html).toContain('made up &lt;&amp;&gt;');
    expect(html).toContain('<td>&lt;unk&gt;</td><td>&quot;\\n&quot;  b  c  d  e</td>');
    expect(html).not.toMatch(/\b(src|href)=/);
    expect(html).not.toMatch(/NaN|undefined|Infinity/);
  });

  it('draws labels and axes, and writes both files', () => {
    const svg = renderPictures(synthetic());
    for (const words of ['perplexity', 'epoch', 'nats', 'tied, augmented loss', '2,000']) expect(svg).toContain(words);
    const directory = mkdtempSync(join(tmpdir(), 'tfws-report-'));
    try {
      const { html, png } = writeReport(synthetic(), directory);
      expect(readFileSync(html, 'utf8')).toContain('<!doctype html>');
      expect(readFileSync(png).subarray(1, 4).toString()).toBe('PNG');
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
