import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { renderedDigits } from '../../examples/common/digits.js';
import { runVariant } from '../../examples/deq-mnist/job.js';
import { network } from '../../examples/deq-mnist/network.js';
import { RECORD_FORMAT, summarize, type Run, type RunRecord } from '../../examples/deq-mnist/record.js';
import { headline, renderHtml, renderPictures, table, writeReport } from '../../examples/deq-mnist/report.js';
import { RENDERED_SETTINGS, VARIANTS, type Settings, type VariantName } from '../../examples/deq-mnist/settings.js';

const tiny: Settings = {
  model: { filters: 3, stride: 14, tiedDepth: 3, explicitDepth: 2 },
  solver: { tolerance: 1e-2, maxIterations: 20 },
  training: { epochs: 2, batchSize: 10, learningRate: 0.01 },
  figures: { iterations: 12, depths: [6, 12] },
};
const watch = { check: async () => {}, stop: () => {} };

describe('the networks of the example', () => {
  it('have as many parameters, the explicit one by fewer channels of more cells', () => {
    const [equilibrium, tied, explicit] = VARIANTS.map((variant) => network(RENDERED_SETTINGS, variant, 1));
    expect(tied.model.countParams()).toBe(equilibrium.model.countParams());
    expect(explicit.model.countParams()).toBeGreaterThanOrEqual(equilibrium.model.countParams());
    expect(explicit.model.countParams()).toBeLessThan(1.2 * equilibrium.model.countParams());
    expect(explicit.model.layers.filter((layer) => layer.name.startsWith('model'))).toHaveLength(4);
    expect(() => network({ ...tiny, model: { ...tiny.model, stride: 3 } }, 'tied', 1)).toThrow('deq-mnist: model.stride must divide 28, got 3.');
  });

  it('train, are tested, and have their residuals and memory measured', async () => {
    const data = renderedDigits(60, 20, 20);
    const runs: Record<string, Run> = {};
    for (const variant of VARIANTS) runs[variant] = await runVariant({ data, settings: tiny, watch }, variant, 1);
    const { equilibrium, tied, explicit } = runs;
    for (const run of Object.values(runs)) {
      expect(run.epochs).toHaveLength(2);
      expect(run.epochs[1].loss).toBeLessThan(run.epochs[0].loss);
      expect(run.stepBytes).toBeGreaterThan(0);
    }
    expect(tied.epochs[0].iterations).toBe(3);
    expect([explicit.epochs[0].iterations, explicit.memory, explicit.residuals]).toEqual([null, [], []]);
    expect(equilibrium.residuals.map(({ solver }) => solver)).toEqual(['fixed point', 'Anderson', 'Broyden']);
    for (const { values } of equilibrium.residuals) expect(values.at(-1)!).toBeLessThan(0.5 * values[0]);
    const growth = ({ memory }: Run) => memory[1].bytes / memory[0].bytes;
    expect(growth(tied), 'twelve cells against six').toBeGreaterThan(1.6);
    expect(growth(equilibrium), 'the window is full').toBeLessThan(1.02);
  });
});

function syntheticRun(seed: number, variant: VariantName): Run {
  const place = VARIANTS.indexOf(variant);
  return {
    seed, variant, parameters: 15_000 + place, testError: 1 + place + 0.1 * seed, seconds: 30, stepMilliseconds: 50, stepBytes: (1 + place) * 2 ** 20,
    epochs: [9, 3, 2].map((validation, i) => ({ epoch: i + 1, loss: 1 / (i + 1), validation, iterations: variant === 'explicit' ? null : 8, backwardIterations: variant === 'explicit' ? null : 7 * (1 - place) })),
    residuals: variant === 'equilibrium' ? ['fixed point', 'Anderson', 'Broyden'].map((solver) => ({ solver, values: [1, 0.1, 0] })) : [],
    memory: variant === 'explicit' ? [] : [1, 8].map((depth) => ({ depth, bytes: 2 ** 20 * (variant === 'tied' ? depth : 1) })),
  }; // prettier-ignore
}
const synthetic = (seeds = [1]): RunRecord => ({
  format: RECORD_FORMAT, data: { origin: 'made up <&>', train: 1000, validation: 100, test: 200 }, directory: null, backend: 'test',
  settings: RENDERED_SETTINGS, seeds, runs: seeds.flatMap((seed) => VARIANTS.map((variant) => syntheticRun(seed, variant))),
}); // prettier-ignore

describe('its record and report', () => {
  it('are summed up by medians', () => {
    expect(summarize(synthetic([1, 2, 3])).tied).toEqual({ testError: 2.2, parameters: 15_001, stepMiB: 2, stepMilliseconds: 50, seconds: 30 });
  });

  it('become a page and a picture that load nothing', () => {
    const directory = mkdtempSync(join(tmpdir(), 'tfws-report-'));
    try {
      const files = writeReport(synthetic([1, 2]), directory);
      const html = readFileSync(files.html, 'utf8');
      for (const title of ['Residual', 'Memory', 'Held-out error', 'Test error']) expect(html).toContain(`<b>${title}</b>`);
      expect(html.match(/<svg /g)).toHaveLength(4);
      expect(html).toContain('<td>equilibrium</td><td>1</td><td>15,000</td><td>8.0 + 7.0</td><td>2.00</td><td>1.10</td><td>1.0</td>');
      expect(html).toContain('made up &lt;&amp;&gt;');
      expect(html).not.toMatch(/\b(src|href)=/);
      expect(html).not.toMatch(/NaN|undefined|Infinity/);
      expect(readFileSync(files.png).subarray(1, 4).toString()).toBe('PNG');
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
    for (const words of ['relative residual', 'MiB', 'Anderson', 'weight-tied', '15,002 parameters']) expect(renderPictures(synthetic())).toContain(words);
    expect(headline(synthetic())).toBe('Test error 1.10 % equilibrium, 2.10 % weight-tied, 3.10 % explicit; a step takes 1, 2 and 3 MiB');
    expect(table(synthetic()).map((row) => row.length)).toEqual([9, 9, 9, 9]);
    expect(renderHtml(synthetic())).toContain('One seed.');
  });
});
