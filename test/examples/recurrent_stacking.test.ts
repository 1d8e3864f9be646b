import * as tf from '@tensorflow/tfjs-core';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { generatedText } from '../../examples/common/text.js';
import { runVariant } from '../../examples/recurrent-stacking/job.js';
import { languageModel } from '../../examples/recurrent-stacking/model.js';
import { RECORD_FORMAT, summarize, type Run, type RunRecord } from '../../examples/recurrent-stacking/record.js';
import { renderHtml, renderPictures, table, writeReport } from '../../examples/recurrent-stacking/report.js';
import { depthOf, GENERATED, labelOf, VARIANTS, type Settings, type VariantName } from '../../examples/recurrent-stacking/settings.js';

const tiny: Settings = {
  model: { width: 4, heads: 2, depth: 6, dropout: 0, length: 5 },
  training: { epochs: 2, patience: 2, batchSize: 8, learningRate: 0.01, tokens: 201 },
  compression: { bits: 4 },
};
const watch = { check: async () => {}, stop: () => {} };

describe('the networks of the example', () => {
  it('have the weights of their distinct layers alone, and see no later token', () => {
    const counts = VARIANTS.map((variant) => {
      const model = languageModel(9, tiny.model, variant, 1);
      const [a, b] = [[1, 2, 3, 4, 5], [1, 2, 3, 4, 0]].map((row) => (model.predict(tf.tensor2d([row], [1, 5], 'int32')) as tf.Tensor).dataSync());
      expect(a.slice(0, 4 * 9), variant).toEqual(b.slice(0, 4 * 9));
      expect(a.slice(4 * 9), variant).not.toEqual(b.slice(4 * 9));
      return model.countParams();
    });
    const layer = counts[2] - counts[1];
    expect(VARIANTS.map((variant) => depthOf(variant, 6).layers)).toEqual([1, 1, 2, 3, 6]);
    expect(counts.map((count) => count - counts[0])).toEqual([0, 0, layer, 2 * layer, 5 * layer]);
    expect(() => depthOf('groups3', 4)).toThrow('recurrent-stacking: model.depth must be a multiple of 6 for groups of layers, got 4.');
    expect(VARIANTS.map((variant) => labelOf(variant, 6))).toEqual(['1 layer', '1 layer 6 times', '2 layers 3 times each', '3 layers 2 times each', '6 layers']);
  });

  it('train, are tested and are compressed', async () => {
    const data = generatedText(1500);
    const short = { ...data, validation: data.validation.slice(0, 101), test: data.test.slice(0, 101) };
    const run = await runVariant({ data: short, settings: tiny, watch }, 'groups2', 1);
    expect(run.epochs).toHaveLength(2);
    expect(run.epochs[1].loss).toBeLessThan(run.epochs[0].loss);
    expect(run.bytes.float32).toBe(4 * run.parameters);
    expect(run.bytes.compressed).toBeLessThan(run.bytes.lossless);
    expect(run.perplexity.test).toBeLessThan(2 * data.vocabulary.length);
    expect(Math.abs(Math.log(run.perplexity.compressed / run.perplexity.test))).toBeLessThan(0.5);
  });
});

function syntheticRun(seed: number, variant: VariantName): Run {
  const i = VARIANTS.indexOf(variant);
  const test = 8 - 0.5 * i + 0.1 * seed;
  const parameters = [1000, 1000, 2000, 3000, 6000][i];
  return {
    seed, variant, parameters, bytes: { float32: 4 * parameters, lossless: 3 * parameters, compressed: parameters }, seconds: 10,
    epochs: [1, 2].map((epoch) => ({ epoch, loss: 2 / epoch, validation: test + 1 / epoch })), perplexity: { validation: test + 0.5, test, compressed: test + 0.25 },
  }; // prettier-ignore
}
const synthetic = (seeds = [1]): RunRecord => ({
  format: RECORD_FORMAT, data: { origin: 'made up <&>', level: 'character', vocabulary: 65, train: 1000, validation: 100, test: 200 },
  directory: null, backend: 'test', settings: GENERATED, seeds, runs: seeds.flatMap((seed) => VARIANTS.map((variant) => syntheticRun(seed, variant))),
}); // prettier-ignore

describe('its record and report', () => {
  it('are summed up by medians over the seeds', () => {
    expect((summarize(synthetic([1, 2, 3])) as Record<string, unknown>)['shared']).toEqual({ parameters: 1000, testPerplexity: 7.7, compressedPerplexity: 7.95, float32Bytes: 4000, losslessBytes: 3000, compressedBytes: 1000 });
    expect(table(synthetic())[2]).toEqual(['1 layer 6 times', '1', '1,000', '8.10', '7.60', '7.85', '4,000', '3,000', '1,000', '10']);
  });

  it('are one page with every figure and table, a picture, and nothing loaded from elsewhere', () => {
    const html = renderHtml(synthetic([1, 2]));
    for (const title of ['Test perplexity by parameters', 'Test perplexity by size of the file', 'Held-out perplexity']) expect(html).toContain(`<b>${title}</b>`);
    expect(html.match(/<svg /g)).toHaveLength(3);
    expect(html).toContain('made up &lt;&amp;&gt;');
    expect(html).toContain('Test perplexity 8.15 with 1 layer, 7.65 with 1 layer 6 times, 6.15 with 6 layers');
    expect(html).not.toMatch(/\b(src|href)=/);
    expect(html).not.toMatch(/NaN|undefined|Infinity/);
    expect(renderPictures(synthetic())).toContain('3 layers 2 times each');
    const directory = mkdtempSync(join(tmpdir(), 'tfws-report-'));
    try {
      const files = writeReport(synthetic(), directory);
      expect(readFileSync(files.html, 'utf8')).toContain('<!doctype html>');
      expect(readFileSync(files.png).subarray(1, 4).toString()).toBe('PNG');
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
