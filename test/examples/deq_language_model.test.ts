import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { generatedText } from '../../examples/common/text.js';
import { runVariant } from '../../examples/deq-language-model/job.js';
import { languageModel } from '../../examples/deq-language-model/model.js';
import { RECORD_FORMAT, summarize, type Run, type RunRecord } from '../../examples/deq-language-model/record.js';
import { headline, renderHtml, renderPictures, table, writeReport } from '../../examples/deq-language-model/report.js';
import { GENERATED, VARIANTS, type Settings, type VariantName } from '../../examples/deq-language-model/settings.js';

const tiny: Settings = {
  model: { width: 4, heads: 2, depth: 3, length: 5 },
  solver: { tolerance: 1e-2, maxIterations: 12 },
  stability: { jacobianPenalty: 0.5, normalization: 'none', unrolledEpochs: 1 },
  training: { epochs: 3, patience: 3, batchSize: 8, learningRate: 0.02, rows: 48 },
  figures: { iterations: 10, depths: [6, 12] },
};
const watch = { check: async () => {}, stop: () => {} };

describe('the models of the example', () => {
  it('have the weights of one cell or of several, the same ones for a seed, and see no later token', () => {
    const counts = VARIANTS.map((variant) => {
      // What has not come to its equilibrium depends on all positions: Anderson's weights are those of a whole sequence.
      const solved = { ...tiny, solver: { tolerance: 1e-4, maxIterations: 200 } };
      const [{ model }, again] = [1, 1].map((seed) => languageModel(9, solved, variant, seed));
      const answers = (row: number[]) => (model.predict(tf.tensor2d([row], [1, 5], 'int32')) as tf.Tensor).dataSync();
      const [a, b] = [[1, 2, 3, 4, 5], [1, 2, 3, 4, 0]].map((row) => answers(row));
      expect(Math.max(...a.slice(0, 4 * 9).map((value, i) => Math.abs(value - b[i]))), variant).toBeLessThan(variant === 'equilibrium' ? 0.05 : 1e-5);
      expect(a.slice(4 * 9), variant).not.toEqual(b.slice(4 * 9));
      const kernels = (of: typeof model) => of.layers.filter((layer) => layer.getClassName() === 'DEQLayer').flatMap((layer) => layer.getWeights().flatMap((weight) => [...weight.dataSync()]));
      expect(kernels(again.model), 'seeded').toEqual(kernels(model));
      return model.countParams();
    });
    const [equilibrium, tied, standard] = counts;
    expect(tied).toBe(equilibrium);
    expect((standard - tied) % 2, 'two cells more').toBe(0);
    expect(standard).toBeGreaterThan(tied);
    expect(() => languageModel(9, { ...tiny, stability: { ...tiny.stability, normalization: 'layer' } }, 'tied', 1)).toThrow("stability.normalization must be none, weight or spectral, got 'layer'");
  });

  it.each(VARIANTS)('train and are tested: %s', async (variant) => {
    const data = generatedText(1500);
    const short = { ...data, validation: data.validation.slice(0, 101), test: data.test.slice(0, 101) };
    const run = await runVariant({ data: short, settings: tiny, watch }, variant, 1);
    expect(run.epochs).toHaveLength(3);
    expect(run.epochs[2].loss).toBeLessThan(run.epochs[0].loss);
    expect(run.perplexity.test).toBeLessThan(data.vocabulary.length);
    expect(run.solves.map(({ epoch }) => epoch)).toEqual(variant === 'equilibrium' ? [2, 3] : []);
    for (const { iterations, residual } of run.solves) {
      expect(iterations).toBeGreaterThan(1);
      expect(residual).toBeLessThan(1);
    }
    expect(run.residuals.map(({ values }) => values.length)).toEqual(variant === 'equilibrium' ? [10, 10, 10] : []);
    if (run.memory.length > 0) expect(run.memory[1].bytes / run.memory[0].bytes).toSatisfy((growth: number) => (variant === 'tied' ? growth > 1.5 : growth < 1.05));
  });
});

function syntheticRun(seed: number, variant: VariantName): Run {
  const i = VARIANTS.indexOf(variant);
  const solved = variant === 'equilibrium';
  return {
    seed, variant, parameters: [1000, 1000, 3000][i], seconds: 10, stepMilliseconds: 20 + i, stepBytes: (1 + i) * 2 ** 20,
    epochs: [1, 2, 3].map((epoch) => ({ epoch, loss: 2 / epoch, validation: 6 - i + 1 / epoch })), perplexity: { validation: 6 - i, test: 6.5 - i + 0.1 * seed },
    solves: solved ? [2, 3].map((epoch) => ({ epoch, iterations: 9, backwardIterations: 8, residual: 0.008, unconverged: 0.25 })) : [],
    residuals: solved ? ['fixed point', 'Anderson', 'Broyden'].map((solver) => ({ solver, values: [1, 0.1, 0] })) : [],
    memory: variant === 'standard' ? [] : [1, 8].map((depth) => ({ depth, bytes: 2 ** 20 * (variant === 'tied' ? depth : 1) })),
  }; // prettier-ignore
}
const synthetic = (seeds = [1]): RunRecord => ({
  format: RECORD_FORMAT, data: { origin: 'made up <&>', level: 'character', vocabulary: 65, train: 1000, validation: 100, test: 200 },
  directory: null, backend: 'test', settings: GENERATED, seeds, runs: seeds.flatMap((seed) => VARIANTS.map((variant) => syntheticRun(seed, variant))),
}); // prettier-ignore

describe('its record and report', () => {
  it('are summed up by medians', () => {
    expect(summarize(synthetic([1, 2, 3]))).toEqual({
      equilibrium: { parameters: 1000, testPerplexity: 6.7, stepMiB: 1, stepMilliseconds: 20, seconds: 10 },
      tied: { parameters: 1000, testPerplexity: 5.7, stepMiB: 2, stepMilliseconds: 21, seconds: 10 },
      standard: { parameters: 3000, testPerplexity: 4.7, stepMiB: 3, stepMilliseconds: 22, seconds: 10 },
      residual: 0.008, seeds: 3,
    }); // prettier-ignore
  });

  it('become a page and a picture that load nothing', () => {
    const directory = mkdtempSync(join(tmpdir(), 'tfws-report-'));
    try {
      const files = writeReport(synthetic([1, 2]), directory);
      const html = readFileSync(files.html, 'utf8');
      for (const title of ['Residual', 'Memory', 'Held-out perplexity', 'Iterations']) expect(html).toContain(`<b>${title}</b>`);
      expect(html.match(/<svg /g)).toHaveLength(4);
      expect(html).toContain('<td>equilibrium</td><td>1</td><td>1,000</td><td>6.00</td><td>6.60</td><td>9.0 + 8.0</td><td>8.0e-3</td><td>25.0 %</td><td>1.0</td>');
      expect(html).toContain('made up &lt;&amp;&gt;');
      expect(html).not.toMatch(/\b(src|href)=/);
      expect(html).not.toMatch(/NaN|undefined|Infinity/);
      expect(readFileSync(files.png).subarray(1, 4).toString()).toBe('PNG');
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
    for (const words of ['relative residual', 'MiB', 'Broyden', 'weight-tied', 'backward']) expect(renderPictures(synthetic())).toContain(words);
    expect(headline(synthetic())).toBe('Test perplexity 6.60 equilibrium (1.0 MiB a step), 5.60 weight-tied (2.0 MiB a step), 4.60 standard (3.0 MiB a step)');
    expect(table(synthetic()).map((row) => row.length)).toEqual([11, 11, 11, 11]);
    expect(renderHtml(synthetic())).toContain('One seed.');
  });
});
