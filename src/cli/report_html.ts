/**
 * Reports as one self-contained HTML page. The plots are bars and steps written as SVG here: a plotting library would be many times as large as
 * the whole command.
 */
import type { CompressionReport } from '../compress_model/report.js';
import type { SizeReport } from '../compression/size_report.js';
import { formatBytes, formatNumber } from './table.js';

/** How the values of one weight lie, before and after; counts in bins of equal width. */
export interface Histogram {
  name: string;
  low: number;
  high: number;
  before: number[];
  after: number[] | null;
}

const BINS = 120;

/** `after` are the values of the same weight after compression. */
export function histogram(name: string, before: Float32Array, after: Float32Array | null): Histogram {
  let [low, high] = [Infinity, -Infinity];
  for (const w of before) [low, high] = [Math.min(low, w), Math.max(high, w)];
  const width = (high - low) / BINS || 1;
  const count = (values: Float32Array): number[] => {
    const counts = new Array<number>(BINS).fill(0);
    for (const w of values) counts[Math.max(0, Math.min(BINS - 1, Math.floor((w - low) / width)))]++;
    return counts;
  };
  return { name, low, high, before: count(before), after: after === null ? null : count(after) };
}

const escape = (text: string): string => text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c] as string);

const STYLE = `body{font:15px/1.5 system-ui,sans-serif;color:#222;background:#fff;max-width:1100px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}.wide{overflow-x:auto}svg{max-width:100%;height:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:.2rem .8rem .2rem 0;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}
th:first-child,td:first-child{text-align:left}.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,320px),1fr));gap:1rem}
figure{margin:0}figcaption{font-size:.85rem;overflow-wrap:anywhere}.before{fill:#b9c6d8}.after{fill:#c2410c}`;

function page(title: string, body: string): string {
  return `<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n<title>${escape(title)}</title>\n<style>${STYLE}</style>\n<h1>${escape(title)}</h1>\n${body}\n</html>\n`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = (tag: string, row: readonly string[]): string => row.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join('');
  return `<div class="wide"><table><thead><tr>${cells('th', head)}</tr></thead><tbody>\n${rows.map((row) => `<tr>${cells('td', row)}</tr>`).join('\n')}\n</tbody></table></div>`;
}

/** Horizontal bars, one or two for each label; widths in proportion to the largest value. */
function bars(label: string, items: readonly { name: string; before?: number; after: number }[], format: (value: number) => string): string {
  const most = Math.max(...items.map(({ before = 0, after }) => Math.max(before, after)), Number.MIN_VALUE);
  const row = 26;
  const rows = items.map(({ name, before, after }, i) => {
    const y = i * row;
    const width = (value: number): string => ((460 * value) / most).toFixed(1);
    return (
      `<text x="296" y="${y + 16}" text-anchor="end">${escape(name.length > 42 ? `…${name.slice(-41)}` : name)}</text>` +
      (before === undefined ? '' : `<rect class="before" x="304" y="${y + 2}" width="${width(before)}" height="20"/>`) +
      `<rect class="after" x="304" y="${y + (before === undefined ? 4 : 8)}" width="${width(after)}" height="${before === undefined ? 16 : 8}"/>` +
      `<text x="${(312 + (460 * Math.max(before ?? 0, after)) / most).toFixed(1)}" y="${y + 16}">${escape(format(after))}</text>`
    );
  });
  const height = items.length * row + 4;
  return `<svg role="img" aria-label="${escape(label)}" viewBox="0 0 900 ${height}" width="900" height="${height}" font-size="12" fill="#222" font-family="system-ui,sans-serif">${rows.join('')}</svg>`;
}

function steps({ name, low, high, before, after }: Histogram): string {
  const top = Math.log1p(Math.max(...before, ...(after ?? [0])));
  const draw = (counts: number[], kind: string, inset: number): string =>
    counts.map((count, i) => (count === 0 ? '' : `<rect class="${kind}" x="${(i * 2.5 + inset).toFixed(1)}" y="${(100 - (100 * Math.log1p(count)) / top).toFixed(1)}" width="${2.5 - 2 * inset}" height="${((100 * Math.log1p(count)) / top).toFixed(1)}"/>`)).join('');
  return (
    `<figure><figcaption>${escape(name)}</figcaption><svg role="img" aria-label="Histogram of ${escape(name)}" viewBox="0 0 300 116" width="300" height="116" font-size="10" font-family="system-ui,sans-serif">` +
    `${draw(before, 'before', 0)}${after === null ? '' : draw(after, 'after', 0.5)}<text x="0" y="112">${formatNumber(low)}</text><text x="300" y="112" text-anchor="end">${formatNumber(high)}</text></svg></figure>`
  );
}

const figures = (histograms: readonly Histogram[]): string =>
  histograms.length === 0 ? '' : `<h2>Values of the largest weights</h2>\n<p>Grey before, red after; counts on a logarithmic scale.</p>\n<div class="figures">${histograms.map(steps).join('\n')}</div>`;

/** What `compress` did. */
export function compressionPage(name: string, report: CompressionReport, histograms: readonly Histogram[]): string {
  const { weights } = report;
  const matrices = weights.filter(({ treatment }) => treatment === 'codebook');
  const size = report.gzipBytes === null ? formatBytes(report.bytes) : `${formatBytes(report.bytes)} (${formatBytes(report.gzipBytes)} after gzip)`;
  return page(`${name}, compressed`, [
    `<p>${report.parameters.toLocaleString('en')} parameters, ${formatBytes(report.float32Bytes)} as float32, now ${size}: ratio ${report.ratio.toFixed(2)}. Relative error of the weights ${formatNumber(report.relativeError)}; no weight moved by more than ${formatNumber(report.maxDeviation)}. Method ${report.method}, bytes shared out by ${report.sensitivity === 'outputs' ? 'measured outputs' : 'relative errors of weights (a proxy)'}.</p>`,
    ...report.warnings.map((warning) => `<p><b>Note:</b> ${escape(warning)}</p>`),
    `<h2>Bytes</h2>\n<p>Grey before, red after (estimated by tensor).</p>`,
    bars('Bytes by weight', weights.map(({ name, bytesBefore, bytesEstimate }) => ({ name, before: bytesBefore, after: bytesEstimate })), formatBytes),
    `<h2>Relative error of each weight</h2>`,
    bars('Relative error by weight', matrices.map(({ name, relativeError }) => ({ name, after: relativeError })), formatNumber),
    figures(histograms),
    `<h2>Weights</h2>`,
    table(['weight', 'shape', 'treatment', 'values', 'before', 'after', 'relative error', 'max |Δ|'], weights.map((w) => [w.name, `[${w.shape.join(', ')}]`, w.reason === undefined ? w.treatment : `${w.treatment}: ${w.reason}`, w.values > 0 ? String(w.values) : '', formatBytes(w.bytesBefore), formatBytes(w.bytesEstimate), formatNumber(w.relativeError), formatNumber(w.maxDeviation)])),
  ].join('\n')); // prettier-ignore
}

/** Where the bytes of a file are. */
export function sizePage(name: string, report: SizeReport, histograms: readonly Histogram[]): string {
  return page(`${name}: sizes`, [
    `<p>${report.parameters.toLocaleString('en')} parameters in ${formatBytes(report.fileBytes)}: ${report.bitsPerWeight.toFixed(2)} bits a weight, ratio ${report.ratio.toFixed(2)}. Topology ${formatBytes(report.topologyBytes)}, codebooks ${formatBytes(report.codebookBytes)}, indices and values ${formatBytes(report.indexBytes)}.</p>`,
    `<h2>Bytes</h2>`,
    bars('Bytes by weight', report.weights.map(({ name, totalBytes }) => ({ name, after: totalBytes })), formatBytes),
    figures(histograms),
    `<h2>Weights</h2>`,
    table(['weight', 'shape', 'encoding', 'distinct', 'bits/weight', 'bytes'], report.weights.map((w) => [w.name, `[${w.shape.join(', ')}]`, w.encoding, String(w.distinct), w.bitsPerWeight.toFixed(2), formatBytes(w.totalBytes)])),
  ].join('\n')); // prettier-ignore
}
