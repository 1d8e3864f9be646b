import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { isOf, readRecord, RECORD_FORMAT, summarize, variants, writeRecord, type RunRecord } from '../../examples/hashed-mnist/record.js';
import { headline, renderHtml, renderPictures, summaryText, writeReport } from '../../examples/hashed-mnist/report.js';
import { dropoutOf, learningRateAt, MNIST_SETTINGS } from '../../examples/hashed-mnist/settings.js';
import { denseUnits, storedParameters } from '../../examples/hashed-mnist/sizes.js';

/** Errors grow with compression and by 3 points for dense networks; made up. */
function syntheticRecord(origin = 'MNIST'): RunRecord {
  const settings = { ...MNIST_SETTINGS, compressions: [8, 64] };
  const results = variants(settings, [1, 2]).map((variant) => ({
    ...variant,
    parameters: storedParameters(784, 1000, variant.compression),
    validationErrors: [9, 6, 5],
    testError: Math.log2(variant.compression) / 2 + { element: 0, tile: 0.25, dense: 3 }[variant.method] + 0.1 * (variant.seed - 1),
    seconds: 10,
  }));
  return { format: RECORD_FORMAT, data: { origin, train: 55000, validation: 5000, test: 10000 }, backend: 'made up', settings, results };
}

describe('the sizes of the networks', () => {
  it('count stored weights and all biases, and a dense network has at least as many', () => {
    expect(storedParameters(784, 1000, 64)).toBe(12250 + 1000 + 156 + 10);
    expect(denseUnits(784, 13416)).toBe(17);
    for (const compression of [2, 3.7, 8, 64]) {
      const stored = storedParameters(784, 1000, compression);
      const units = denseUnits(784, stored);
      expect(795 * units + 10).toBeGreaterThanOrEqual(stored);
      expect(795 * (units - 1) + 10).toBeLessThan(stored);
    }
  });
});

describe('the settings', () => {
  it('give each network its dropout, and a rate that falls along half a cosine', () => {
    for (const compression of [2, 5, 64, 1000]) {
      for (const method of ['element', 'tile', 'dense'] as const) {
        const { inputs, hidden } = dropoutOf(MNIST_SETTINGS, method, compression);
        expect(inputs >= 0 && inputs < 1 && hidden >= 0 && hidden < 1).toBe(true);
      }
      expect(dropoutOf(MNIST_SETTINGS, 'tile', compression)).toEqual(dropoutOf(MNIST_SETTINGS, 'element', compression));
    }
    expect([0, 2, 4].map((epoch) => learningRateAt(epoch, { epochs: 4, learningRate: 1 }))).toEqual([1, expect.closeTo(0.5), expect.closeTo(0)]);
  });
});

describe('the record', () => {
  const folder = mkdtempSync(join(tmpdir(), 'hashed-mnist-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  it('plans a whole curve for one seed before the next', () => {
    const planned = variants({ ...MNIST_SETTINGS, compressions: [8, 64] }, [1, 2]);
    expect(planned.length).toBe(12);
    expect(planned[0]).toEqual({ method: 'element', compression: 8, seed: 1 });
    expect(planned[5]).toEqual({ method: 'dense', compression: 64, seed: 1 });
    expect(planned.filter((variant) => isOf(variant, planned[7])).length).toBe(1);
  });

  it('comes back from its file, unbounded compressions too, and another file is refused by name', () => {
    const path = join(folder, 'record.json');
    const record = syntheticRecord();
    writeRecord(record, path);
    expect(readRecord(path)).toEqual(record);
    expect(() => readRecord(join(folder, 'none.json'))).toThrow(/there is no .*none\.json/);
    writeRecord({ ...record, format: 'else' as never }, path);
    expect(() => readRecord(path)).toThrow("expected a record with format 'tfjs-weight-sharing/hashed-mnist/1', got 'else'");
  });

  it('is summed up by means over the seeds', () => {
    expect(summarize(syntheticRecord())).toEqual({
      element: { 8: 1.55, 64: 3.05 }, tile: { 8: 1.8, 64: 3.3 }, dense: { 8: 4.55, 64: 6.05 }, advantage: { 8: 3, 64: 3 }, seeds: 2,
    }); // prettier-ignore
  });

  it('becomes a page and a picture that load nothing and name the published errors for MNIST only', () => {
    const files = writeReport(syntheticRecord(), folder);
    const html = readFileSync(files.html, 'utf8');
    expect(html).toContain('<td>1/64</td><td>13416</td><td>3.05 (3.00 – 3.10)</td><td>3.30 (3.25 – 3.35)</td><td>6.05 (6.00 – 6.10)</td><td>3.00</td><td>2.79</td>');
    expect(html).not.toMatch(/\b(src|href)=/);
    expect(html).not.toMatch(/NaN|undefined/);
    expect(readFileSync(files.png).subarray(1, 4).toString()).toBe('PNG');
    const drawn = renderPictures(syntheticRecord('made up <&>'));
    for (const text of ['error (%)', '1/64', 'hashed, tile', 'dense']) expect(drawn).toContain(text);
    expect(drawn).not.toContain('Chen');
    expect(renderHtml(syntheticRecord('made up <&>'))).toContain('made up &lt;&amp;&gt;');
    expect(headline(syntheticRecord())).toBe('At 1/64 of the weights: test error 3.05 % hashed, 6.05 % dense of the same size (MNIST)');
    expect(summaryText(syntheticRecord()).split('\n').length).toBe(3);
  });
});
