/** Histogram and mixture epoch by epoch, with a slider: markup and a script that a report carries in itself. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { escapeMarkup } from '../plots.js';
import type { RetrainingEpoch, SeedRecord } from './record.js';

/** What runs in the page: plain JavaScript, taken in as it stands. */
const PLAYER = fileURLToPath(new URL('./film_player.js', import.meta.url));

const WIDTH = 900;
const HEIGHT = 340;
const MARGIN = { left: 66, right: 18, top: 14, bottom: 42 };
/** Where the logarithmic count axis begins: a little below one weight. */
const BASE = 0.8;

/** One epoch as the script draws it. */
export interface Frame {
  epoch: number;
  counts: number[];
  /** Expected weights per bin, at the bins' centres. */
  expected: number[];
  note: string;
}

export function frames({ retraining }: SeedRecord): Frame[] {
  return retraining.map((record) => ({
    epoch: record.epoch,
    counts: record.histogram.counts,
    expected: expectedCounts(record),
    note: `held-out error ${record.validationError.toFixed(2)} %, ${record.components} components, estimated ratio ${record.ratioEstimate.toFixed(0)}×`,
  }));
}

/** Weights that the mixture expects in each bin: the share of each component between its edges. */
export function expectedCounts({ mixture: { means, variances, mixing }, histogram: { start, binWidth, counts } }: Pick<RetrainingEpoch, 'mixture' | 'histogram'>): number[] {
  const total = counts.reduce((sum, n) => sum + n, 0);
  return counts.map((_, i) => {
    const low = start + i * binWidth;
    const share = means.reduce((sum, mean, j) => {
      const deviation = Math.sqrt(variances[j]);
      return sum + mixing[j] * (cumulative((low + binWidth - mean) / deviation) - cumulative((low - mean) / deviation));
    }, 0);
    return Number((total * share).toPrecision(4));
  });
}

export function histogramFilm(seed: SeedRecord): string {
  const all = frames(seed);
  if (all.length === 0) return '';
  const { start, binWidth, counts } = seed.retraining[0].histogram;
  const top = 2 * Math.max(...all.flatMap((frame) => frame.counts));
  const x = (value: number) => MARGIN.left + ((value - start) / (binWidth * counts.length)) * (WIDTH - MARGIN.left - MARGIN.right);
  const y = (count: number) => HEIGHT - MARGIN.bottom - (Math.log(Math.max(BASE, count) / BASE) / Math.log(top / BASE)) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const last = all.length - 1;
  const data = { base: BASE, top, width: WIDTH, height: HEIGHT, margin: MARGIN, frames: all };
  return `<figure class="film" style="margin-bottom: 1.5rem">
<figcaption><b>Weights over training</b><br>Kernels by epoch of retraining (bars) and what the mixture expects (red). Number of weights per bin, log scale; what lies outside counts in the outermost bins.</figcaption>
<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="DejaVu Sans, sans-serif" font-size="12">
${axes(x, y, start, start + binWidth * counts.length, top)}
<path class="bars" fill="#a9bcd6" d="${barPath(all[last].counts, start, binWidth, x, y)}"/>
<path class="mixture" fill="none" stroke="#d1495b" stroke-width="1.4" d="${linePath(all[last].expected, start, binWidth, x, y)}"/>
</svg>
<div><button type="button">play</button> <input type="range" min="0" max="${last}" value="${last}" aria-label="epoch of retraining" style="width: 32rem; max-width: 60%"> <output>epoch ${all[last].epoch}: ${escapeMarkup(all[last].note)}</output></div>
<script type="application/json">${JSON.stringify(data).replace(/</g, '\\u003c')}</script>
<script>${readFileSync(PLAYER, 'utf8')}</script>
</figure>`;
}

type Scale = (value: number) => number;

function axes(x: Scale, y: Scale, low: number, high: number, top: number): string {
  const parts: string[] = [];
  for (let count = 1; count <= top; count *= 10) {
    parts.push(`<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${y(count).toFixed(1)}" y2="${y(count).toFixed(1)}" stroke="#e5e5e5"/>`);
    parts.push(`<text x="${MARGIN.left - 6}" y="${(y(count) + 4).toFixed(1)}" text-anchor="end">${count.toLocaleString('en')}</text>`);
  }
  const step = 10 ** Math.floor(Math.log10((high - low) / 4));
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) {
    const shown = Number(value.toPrecision(6));
    parts.push(`<line x1="${x(value).toFixed(1)}" x2="${x(value).toFixed(1)}" y1="${HEIGHT - MARGIN.bottom}" y2="${HEIGHT - MARGIN.bottom + 5}" stroke="#222"/>`);
    parts.push(`<text x="${x(value).toFixed(1)}" y="${HEIGHT - MARGIN.bottom + 18}" text-anchor="middle">${Math.abs(shown) < 1e-9 ? 0 : shown}</text>`);
  }
  parts.push(`<text x="${WIDTH - MARGIN.right}" y="${HEIGHT - 6}" text-anchor="end">weight →</text>`);
  return parts.join('');
}

function barPath(counts: readonly number[], start: number, binWidth: number, x: Scale, y: Scale): string {
  const bars = counts.map((n, i) => `H${x(start + i * binWidth).toFixed(1)}V${y(n).toFixed(1)}`).join('');
  return `M${x(start).toFixed(1)},${y(0).toFixed(1)}${bars}H${x(start + counts.length * binWidth).toFixed(1)}V${y(0).toFixed(1)}Z`;
}

function linePath(expected: readonly number[], start: number, binWidth: number, x: Scale, y: Scale): string {
  return expected.map((n, i) => `${i === 0 ? 'M' : 'L'}${x(start + (i + 0.5) * binWidth).toFixed(1)},${y(n).toFixed(1)}`).join('');
}

/** Normal distribution function (Abramowitz & Stegun 7.1.26, error below 1e-7): enough for a picture. */
function cumulative(z: number): number {
  const t = 1 / (1 + 0.3275911 * (Math.abs(z) / Math.SQRT2));
  const tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))) * Math.exp((-z * z) / 2);
  return z >= 0 ? 1 - tail / 2 : tail / 2;
}
