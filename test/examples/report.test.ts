import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { mixtureCurve, responsibilities } from '../../examples/common/compression/figures.js';
import { expectedCounts, frames } from '../../examples/common/compression/film.js';
import { histogram, parseRecord, summarize } from '../../examples/common/compression/record.js';
import { renderHtml, renderPictures, writeReport } from '../../examples/common/compression/report.js';
import { differingSettings, renderSideBySide } from '../../examples/common/compression/side_by_side.js';
import { median } from '../../examples/common/variant_runs.js';
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
    const titles = ['Weights before', 'Weights after', 'Means', 'Standard deviations', 'Error', 'Ratio', 'Bytes by layer', 'Responsibilities', 'Beside other methods', 'Weights over training'];
    for (const title of titles) expect(html).toContain(`<b>${title}</b>`);
    expect(html.match(/<figure>/g)).toHaveLength(9);
    expect(html.match(/<figure class="film"/g)).toHaveLength(1);
    expect(html.match(/<svg /g)).toHaveLength(10);
    expect(html).toContain('3 seeds; medians in the headline, pictures of seed 2');
    expect(html).toContain('<td>pruning + k-means</td><td>95 % pruned, 8 values</td><td>2.00</td><td>2.01</td><td>14000</td><td>76.2×</td>');
    expect(html).toContain('Merged: {4, 7} into {3} at 0.21');
    expect(html).toContain('\n  zeroMixing: 0.99\n');
    expect(html).not.toMatch(/\b(src|href)=/);
    expect(html).not.toMatch(/NaN|undefined|Infinity/);
  });

  it('leaves the comparison out where none was made', () => {
    const record = syntheticRecord();
    record.seeds[0].comparison = [];
    const html = renderHtml(record);
    expect(html).not.toContain('<b>Beside other methods</b>');
    expect(html).not.toMatch(/NaN|undefined|Infinity/);
  });

  it('names the value that a component became, and those that hold nothing', () => {
    const record = syntheticRecord();
    record.seeds[0].mixture.means.push(1.3);
    record.seeds[0].mixture.variances.push(0.04);
    record.seeds[0].mixture.mixing.push(1e-9);
    const html = renderHtml(record);
    expect(html).toContain('<td>0</td><td>0.0000</td><td>0.00400</td><td>0.950</td>');
    expect(html).toMatch(/<td>9<\/td><td>1\.3000<\/td><td>0\.200<\/td><td>1\.00e-9<\/td><td>0\.0<\/td><td>none: holds no weight<\/td>/);
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

describe('the film of the weights', () => {
  it('has a frame for each epoch, whose mixture expects as many weights as there are', () => {
    const seed = syntheticSeed(1);
    const all = frames(seed);
    expect(all.map(({ epoch }) => epoch)).toEqual(seed.retraining.map(({ epoch }) => epoch));
    for (const { counts, expected } of [all[0], all[30], all[59]]) {
      const total = counts.reduce((sum, n) => sum + n, 0);
      expect(expected.reduce((sum, n) => sum + n, 0) / total).toBeCloseTo(1, 2);
    }
    expect(all[59].note).toMatch(/^held-out error \d\.\d\d %, 9 components, estimated ratio \d+×$/);
  });

  it('gives each bin the share of the mixture between its edges, narrow components included', () => {
    const half = { mixture: { means: [0.5], variances: [1e-8], mixing: [1] }, histogram: { start: 0, binWidth: 0.5, counts: [3, 5] } };
    const [below, above] = expectedCounts(half);
    expect([below, above]).toEqual([expect.closeTo(4, 5), expect.closeTo(4, 5)]);
  });
});

describe('responsibilities', () => {
  it('sum to 1, also where every density underflows, and follow Bayes where none does', () => {
    const mixture = { means: [0, 1], variances: [0.01, 0.01], mixing: [0.9, 0.1] };
    expect(responsibilities(mixture, 0.5, [0, 1])).toEqual([expect.closeTo(0.9, 12), expect.closeTo(0.1, 12)]);
    expect(responsibilities(mixture, 40, [0, 1])).toEqual([0, 1]);
  });
});

describe('several runs side by side', () => {
  it('show what each reached, the settings that differ, and each picture of each run', () => {
    const [first, second] = [syntheticRecord(), syntheticRecord(3)];
    second.settings = { ...second.settings, retraining: { ...second.settings.retraining, tau: 0.5 } };
    const runs = [{ name: 'a<b', record: first }, { name: 'second', record: second }]; // prettier-ignore
    expect(differingSettings(runs)).toEqual([['retraining.tau', '0.02', '0.5']]);
    const html = renderSideBySide(runs);
    expect(html).toContain('<td>a&lt;b</td><td>LeNet-300-100</td><td>made up for a test &lt;&amp;&gt;</td><td>1</td>');
    expect(html.match(/<svg /g)).toHaveLength(10);
    expect(html).not.toMatch(/NaN|undefined|Infinity/);
  });
});
