import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { mixtureCurve } from '../../examples/common/compression/figures.js';
import { histogram, median, parseRecord, summarize } from '../../examples/common/compression/record.js';
import { renderHtml, renderPictures, writeReport } from '../../examples/common/compression/report.js';
import { syntheticRecord, syntheticSeed } from './synthetic_record.js';

describe('the record', () => {
  it('counts values into equal bins, the outermost taking what lies outside', () => {
    expect(histogram([-5, 0, 0.49, 0.5, 1, 1.99, 2, 7], 0, 2, 4)).toEqual({ start: 0, binWidth: 0.5, counts: [3, 1, 1, 3] });
  });

  it('takes medians over the seeds, of an even number the mean of the middle two', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(() => median([])).toThrow('median: no values.');
    expect(summarize([1, 2, 3].map(syntheticSeed))).toEqual({
      baselineError: 1.87,
      quantizedError: 1.92,
      ratio: Number(((4 * 266610) / 10222).toFixed(2)),
      fileBytes: 10222,
      components: 9,
      nonZeroPercent: 5,
      seconds: 202,
    });
  });

  it('survives JSON and refuses other files by name', () => {
    const record = syntheticRecord();
    expect(parseRecord(JSON.stringify(record), 'a')).toEqual(record);
    expect(() => parseRecord('{', 'a.json')).toThrow('a.json: not JSON');
    expect(() => parseRecord('{"format":"x"}', 'b.json')).toThrow("b.json: expected a record with format 'tfjs-weight-sharing/compression/1', got 'x'.");
  });
});

describe('the report', () => {
  it('is one HTML page with every figure and table, and nothing loaded from elsewhere', () => {
    const html = renderHtml(syntheticRecord(3));
    const titles = ['Weights before', 'Weights after', 'Means', 'Standard deviations', 'Error', 'Ratio', 'Bytes by layer', 'Beside other methods'];
    for (const title of titles) expect(html).toContain(`<b>${title}</b>`);
    expect(html.match(/<figure>/g)).toHaveLength(8);
    expect(html.match(/<svg /g)).toHaveLength(8);
    expect(html).toContain('3 seeds; medians in the headline, pictures of seed 2');
    expect(html).toContain('<td>pruning + k-means</td><td>95 % pruned, 8 values</td><td>2.00</td><td>2.01</td><td>14000</td><td>76.2×</td>');
    expect(html).toContain('Merged: {4, 7} into {3} at 0.21');
    expect(html).toContain('&quot;zeroMixing&quot;: ');
    expect(html).not.toMatch(/\b(src|href)=/);
    expect(html).not.toMatch(/NaN|undefined|Infinity/);
  });

  it('escapes what comes from outside', () => {
    expect(renderHtml(syntheticRecord())).toContain('made up for a test &lt;&amp;&gt;');
  });

  it('draws axes, units and the values that remain', () => {
    const svg = renderPictures(syntheticRecord());
    for (const text of ['100,000', 'error (%)', 'ratio (×)', 'standard deviation', 'dense_1/kernel', '6900 bytes (0.23)', 'quantised 1.95 %']) expect(svg).toContain(text);
    expect(svg).not.toMatch(/NaN|undefined/);
  });

  it('is written as HTML and as a PNG with text in it', () => {
    const directory = mkdtempSync(join(tmpdir(), 'tfws-report-'));
    try {
      const { html, png } = writeReport(syntheticRecord(), directory);
      expect(readFileSync(html, 'utf8').startsWith('<!doctype html>')).toBe(true);
      const bytes = readFileSync(png);
      expect([...bytes.subarray(0, 8)]).toEqual([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
      expect(bytes.readUInt32BE(16)).toBeGreaterThan(1500);
      // Without a font resvg leaves all text out, and the file shrinks to about half.
      expect(bytes.length).toBeGreaterThan(150_000);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it('scales the mixture to expected weights per bin, narrow components included', () => {
    const curve = mixtureCurve({ means: [0, 0.5], variances: [1e-8, 0.01], mixing: [0.5, 0.5] }, 100, [-1, 1]);
    const peak = Math.max(...curve.map((p) => p.y));
    expect(peak).toBeCloseTo((100 * 0.5) / Math.sqrt(2 * Math.PI * 1e-8), 0);
    const area = curve.slice(1).reduce((sum, p, i) => sum + ((p.y + curve[i].y) / 2) * (p.x - curve[i].x), 0);
    expect(area).toBeCloseTo(100, 0);
  });
});
