import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { generatedText } from '../../examples/common/text.js';
import { decodingSpeeds } from '../../examples/shared-attention/decoding.js';
import { runVariant } from '../../examples/shared-attention/job.js';
import { languageModel } from '../../examples/shared-attention/model.js';
import { RECORD_FORMAT, summarize, worse, type Run, type RunRecord } from '../../examples/shared-attention/record.js';
import { headline, renderHtml, renderPictures, table, writeReport } from '../../examples/shared-attention/report.js';
import { GENERATED, pairs, VARIANTS, type Settings, type VariantName } from '../../examples/shared-attention/settings.js';

const tiny: Settings = {
  model: { width: 4, heads: 2, layers: 3, dropout: 0, length: 5 },
  training: { epochs: 3, patience: 3, batchSize: 8, learningRate: 0.01, rows: 24 },
  // Less alike than layers can be: all share.
  sharing: { threshold: 0.2, from: 2, rows: 4 },
  decoding: { batch: 2, prompt: 2, steps: 2, rounds: 1 },
};
const watch = { check: async () => {}, stop: () => {} };
const text = () => {
  const data = generatedText(1500);
  return { ...data, validation: data.validation.slice(0, 101), test: data.test.slice(0, 101) };
};

describe('the models of the example', () => {
  it('lose the projections that they do not use', () => {
    expect([pairs(6), pairs(5)]).toEqual([[2, 2, 2], [2, 2, 1]]);
    const count = (policy: number[] | null, compact: boolean) => languageModel(9, tiny.model, policy, 1, compact).countParams();
    expect(count(null, true)).toBe(count(null, false));
    // Kernels and biases of queries and keys, of the two layers that follow.
    expect(count(null, true) - count([3], true)).toBe(2 * 2 * (4 * 4 + 4));
  });

  it.each(VARIANTS)('train and are tested: %s', async (variant) => {
    const run = await runVariant({ data: text(), settings: tiny, watch }, variant, 1);
    expect(run.policy).toEqual({ unshared: [1, 1, 1], pairs: [2, 1], chosen: [3] }[variant]);
    expect(run.epochs).toHaveLength(3);
    expect(run.epochs[2].loss).toBeLessThan(run.epochs[0].loss);
    expect(run.comparisons.map(({ epoch }) => epoch)).toEqual(variant === 'chosen' ? [2, 3] : []);
    // Epochs before the last change of what is shared are no candidates; the model without unused projections predicts as the one with them.
    const candidates = variant === 'chosen' ? run.epochs.slice(1) : run.epochs;
    expect(run.perplexity.validation).toBeCloseTo(Math.min(...candidates.map(({ validation }) => validation)), 2);
  });

  it('are timed side by side', async () => {
    const { cached, uncached } = await decodingSpeeds(9, tiny, { unshared: [1, 1, 1], pairs: [2, 1], chosen: [3] });
    for (const { tokensPerSecond, faster } of [cached, uncached]) {
      expect(faster.unshared).toBe(1);
      for (const variant of VARIANTS) expect(tokensPerSecond[variant]).toBeGreaterThan(0);
    }
  });
});

const LOSSES = { unshared: 2, pairs: 2.01, chosen: 2.03 };
function syntheticRun(seed: number, variant: VariantName): Run {
  const test = Math.exp(LOSSES[variant]);
  const policy = { unshared: [1, 1, 1, 1, 1, 1], pairs: [2, 2, 2], chosen: [1, 3, 2] }[variant];
  const divergence = (shared: boolean) => policy.map((_, i) => policy.map((__, j) => (i === j ? 0 : shared && i === 1 ? -1 : 0.1 * Math.abs(i - j))));
  return {
    seed, variant, policy, parameters: 1234, seconds: 10,
    epochs: [1, 2].map((epoch) => ({ epoch, loss: 2 / epoch, validation: test + 1 / epoch })),
    comparisons: variant === 'chosen' ? [3, 4].map((epoch) => ({ epoch, policy, divergence: divergence(epoch === 4) })) : [],
    perplexity: { validation: test + 0.5, test },
  }; // prettier-ignore
}
const speed = (chosen: number) => ({ tokensPerSecond: { unshared: 100, pairs: 120, chosen: 100 * chosen }, faster: { unshared: 1, pairs: 1.2, chosen } });
const synthetic = (seeds = [1]): RunRecord => ({
  format: RECORD_FORMAT, data: { origin: 'made up <&>', level: 'character', vocabulary: 65, train: 1000, validation: 100, test: 200 },
  directory: null, backend: 'test', settings: GENERATED, seeds, runs: seeds.flatMap((seed) => VARIANTS.map((variant) => syntheticRun(seed, variant))),
  measured: { cached: speed(1.4), uncached: speed(1.3) },
}); // prettier-ignore

describe('its record and report', () => {
  it('are summed up by losses relative to no sharing', () => {
    expect(worse(synthetic(), 'pairs')).toBeCloseTo(0.5, 6);
    expect((summarize(synthetic([1, 2])) as Record<string, unknown>)['chosen']).toEqual({
      policy: [1, 3, 2], parameters: 1234, testLoss: 2.03, worsePercent: 1.5, cached: { tokensPerSecond: 140, faster: 1.4 }, uncached: { tokensPerSecond: 130, faster: 1.3 },
    }); // prettier-ignore
    expect(headline(synthetic())).toBe('Cached decoding 1.20× in adjacent pairs (+0.50 % test loss), 1.40× chosen by divergence (+1.50 % test loss)');
    expect(table(synthetic())[3].slice(0, 11)).toEqual(['chosen by divergence', '1', '1 3 2', '1,234', '2.0936', '2.0300', '+1.50 %', '140', '1.40×', '130', '1.30×']);
  });

  it('are one page with every figure and table, a picture, and nothing loaded from elsewhere', () => {
    const html = renderHtml(synthetic([1, 2]));
    for (const title of ['Test loss by speed', 'Held-out loss']) expect(html).toContain(`<b>${title}</b>`);
    expect(html).toContain("attention at last</b><br>Jensen–Shannon, nats, after epoch 4; then blocks of 1, 3, 2. Grey: not measured.");
    expect(html.match(/fill="#ddd"/g)?.length).toBeGreaterThan(0);
    expect(html.match(/<svg /g)).toHaveLength(4);
    expect(html).toContain('made up &lt;&amp;&gt;');
    expect(html).not.toMatch(/\b(src|href)=/);
    expect(html).not.toMatch(/NaN|undefined|Infinity/);
    expect(() => renderHtml({ ...synthetic(), measured: undefined })).toThrow('Finish it with --resume first.');
    expect(renderPictures(synthetic())).toContain('chosen by divergence');
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
