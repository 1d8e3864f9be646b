/** Histograms of weights: counted, made coarser, drawn as SVG before and after. */

export interface Bars {
  /** Left edge of the first bin. */
  start: number;
  binWidth: number;
  counts: number[];
}

/** Neighbouring bins joined, `factor` at a time, the empty ones at both ends left out. */
export function coarser({ start, binWidth, counts }: Bars, factor: number): Bars {
  const joined = Array.from({ length: Math.ceil(counts.length / factor) }, (_, i) => counts.slice(i * factor, (i + 1) * factor).reduce((sum, n) => sum + n, 0));
  const first = Math.max(0, joined.findIndex((n) => n > 0));
  const end = joined.reduce((last, n, i) => (n > 0 ? i + 1 : last), 0);
  return { start: start + first * factor * binWidth, binWidth: factor * binWidth, counts: joined.slice(first, end) };
}

/** Values counted in bins of the given kind, as many as they need; with no kind, in about 100. */
export function countValues(values: readonly Float32Array[], like?: Bars): Bars {
  let [low, high] = [Infinity, -Infinity];
  for (const array of values) for (const w of array) if (Number.isFinite(w)) [low, high] = [Math.min(low, w), Math.max(high, w)];
  if (low > high) return { start: 0, binWidth: 1, counts: [0] };
  const binWidth = like?.binWidth ?? ((high - low) / 100 || 1);
  const start = like === undefined ? low : like.start - binWidth * Math.max(0, Math.ceil((like.start - low) / binWidth));
  const counts = new Array<number>(Math.floor((high - start) / binWidth) + 1).fill(0);
  for (const array of values) for (const w of array) if (Number.isFinite(w)) counts[Math.floor((w - start) / binWidth)]++;
  return { start, binWidth, counts };
}

const [WIDTH, HEIGHT] = [480, 150];

/** Bars of both on one axis, heights logarithmic. */
export function drawHistogram(label: string, before: Bars, after: Bars): string {
  const low = Math.min(before.start, after.start);
  const end = ({ start, binWidth, counts }: Bars): number => start + binWidth * counts.length;
  const scale = WIDTH / (Math.max(end(before), end(after)) - low);
  const top = Math.log1p(Math.max(...before.counts, ...after.counts));
  const bars = (kind: string, { start, binWidth, counts }: Bars): string =>
    counts.map((count, i) => {
      const height = (HEIGHT * Math.log1p(count)) / top;
      return count === 0 ? '' : `<rect class="${kind}" x="${((start + i * binWidth - low) * scale).toFixed(2)}" y="${(HEIGHT - height).toFixed(2)}" width="${Math.max(1.5, binWidth * scale * 0.9).toFixed(2)}" height="${height.toFixed(2)}"/>`;
    }).join(''); // prettier-ignore
  const ticks = [low, 0, low + WIDTH / scale].filter((_, i) => i !== 1 || (low < 0 && low + WIDTH / scale > 0));
  const texts = ticks.map((value, i) => `<text x="${((value - low) * scale).toFixed(1)}" y="${HEIGHT + 18}" text-anchor="${i === 0 ? 'start' : i === ticks.length - 1 ? 'end' : 'middle'}">${String(Number(value.toPrecision(2))).replace('-', '−')}</text>`);
  return `<svg role="img" aria-label="${label}" viewBox="0 0 ${WIDTH} ${HEIGHT + 24}"><path class="axis" d="M0 ${HEIGHT + 0.5}H${WIDTH}"/>${bars('before', before)}${bars('after', after)}${texts.join('')}</svg>`;
}
