/** The report of a run: one self-contained HTML page and one PNG, rendered from the record alone. */
import * as Plot from '@observablehq/plot';
import { htmlFigures, htmlPage, htmlTable } from '../common/html.js';
import { composePanels, escapeMarkup, panel, type Panel } from '../common/plots.js';
import { writeReportFiles, type ReportFiles } from '../common/report_files.js';
import { mean, meanError, resultsOf, type RunRecord } from './record.js';
import { METHODS, PUBLISHED, type Method } from './settings.js';

const WIDTH = 620;
const HEIGHT = 360;
const LINE_HEIGHT = 13;
const MARGINS = { marginLeft: 56, marginRight: 120, marginBottom: 42, marginTop: 22 };
const COLORS: Record<Method, string> = { element: '#2a9d5c', tile: '#4c6a92', dense: '#d1495b' };

/** Writes report.html and report.png into `directory` and returns their paths. */
export const writeReport = (record: RunRecord, directory: string): ReportFiles => writeReportFiles(directory, renderHtml(record), renderPictures(record));

export const renderPictures = (record: RunRecord): string => composePanels(headline(record), [figures(record)]);

export function headline(record: RunRecord): string {
  const most = Math.max(...record.settings.compressions);
  const [hashed, dense] = (['element', 'dense'] as const).map((method) => meanError(record, method, most).toFixed(2));
  return `At 1/${most} of the weights: test error ${hashed} % hashed, ${dense} % dense of the same size (${record.data.origin})`;
}

function labelOf(method: Method, { settings }: RunRecord): string {
  return { element: 'hashed', tile: `hashed, tile ${settings.tile.join('×')}`, dense: 'dense' }[method];
}

function figures(record: RunRecord): Panel[] {
  return [errorByCompression(record), errorByEpoch(record)];
}

/** A label at the right end of each method's line; where two ends nearly meet, the upper one's label moves up. `top` is the greatest value of the axis, which begins at 0. */
function lineLabels(record: RunRecord, points: { method: Method; x: number; y: number }[], top: number): Plot.Markish[] {
  const ends = METHODS.flatMap((method) => points.filter((point) => point.method === method).sort((a, b) => b.x - a.x).slice(0, 1)).sort((a, b) => a.y - b.y);
  const pixels = (HEIGHT - MARGINS.marginTop - MARGINS.marginBottom) / top;
  let below = -Infinity;
  return ends.map(({ method, x, y }) => {
    const height = Math.max(y * pixels, below + LINE_HEIGHT);
    below = height;
    return Plot.text([{ x, y }], { x: 'x', y: 'y', text: () => labelOf(method, record), fill: COLORS[method], textAnchor: 'start', dx: 8, dy: y * pixels - height });
  });
}

const stroke = ({ method }: { method: Method }) => COLORS[method];

function errorByCompression(record: RunRecord): Panel {
  const { settings, results, data } = record;
  const points = METHODS.flatMap((method) => settings.compressions.map((compression) => ({ method, x: compression, y: meanError(record, method, compression) })));
  const published = data.origin === 'MNIST' ? PUBLISHED : [];
  return panel('Test error', `Mean and single seeds by compression.${published.length > 0 ? ' Crosses: Chen et al. 2015.' : ''}`, {
    width: WIDTH, height: HEIGHT, ...MARGINS,
    x: { label: 'virtual weights per stored one', type: 'log' },
    y: { label: 'error (%)', zero: true, grid: true },
    marks: [
      // The scale's own axis would leave labels out.
      Plot.axisX(settings.compressions, { text: (c: number) => `1/${c}` }),
      Plot.line(points, { x: 'x', y: 'y', z: 'method', stroke, strokeWidth: 1.8 }),
      Plot.dot(results, { x: 'compression', y: 'testError', fill: stroke, r: 2.5, fillOpacity: 0.6 }),
      Plot.dot(published, { x: 'compression', y: 'error', symbol: 'times', stroke: '#222', r: 5, strokeWidth: 2 }),
      ...lineLabels(record, points, Math.max(...results.map(({ testError }) => testError))),
      Plot.ruleY([0]),
    ],
  }); // prettier-ignore
}

function errorByEpoch(record: RunRecord): Panel {
  const most = Math.max(...record.settings.compressions);
  const points = METHODS.flatMap((method) => {
    const curves = resultsOf(record, method, most).map(({ validationErrors }) => validationErrors);
    return (curves[0] ?? []).map((_, epoch) => ({ method, x: epoch + 1, y: mean(curves.map((curve) => curve[epoch])) }));
  });
  const sorted = points.map(({ y }) => y).sort((a, b) => a - b);
  const top = 1.2 * sorted[Math.floor(0.95 * (sorted.length - 1))];
  return panel('Training', `Error on held-out images by epoch at 1/${most}, mean over seeds.`, {
    width: WIDTH, height: HEIGHT, ...MARGINS,
    x: { label: 'epoch' },
    y: { label: 'error (%)', domain: [0, top], grid: true, clamp: true },
    marks: [Plot.line(points, { x: 'x', y: 'y', z: 'method', stroke, strokeWidth: 1.8 }), ...lineLabels(record, points, top), Plot.ruleY([0])],
  }); // prettier-ignore
}

export function renderHtml(record: RunRecord): string {
  const { data, settings, results } = record;
  const seeds = [...new Set(results.map(({ seed }) => seed))];
  const body = `<p>784-${settings.hidden}-10 on ${escapeMarkup(data.origin)}: ${data.train} images to train, ${data.validation} held out, on which the settings were chosen, ${data.test} to test, read once by each network after its last epoch.
Backend: ${escapeMarkup(record.backend)}. Seeds: ${seeds.join(', ')}. The dense network has one hidden layer of as many units as give it at least as many parameters as the hashed one stores, biases included.</p>
${htmlFigures(figures(record))}
<h2>Test error in percent, mean over seeds (least – greatest)</h2>
${htmlTable(['compression', 'stored parameters', ...METHODS.map((method) => labelOf(method, record)), 'dense less hashed', 'published'], settings.compressions.map((c) => ({ cells: row(record, c) })))}
<h2>Settings</h2>
<pre>${escapeMarkup(JSON.stringify(settings, null, 2))}</pre>`;
  return htmlPage(`hashed-mnist: ${headline(record)}`, headline(record), body);
}

function row(record: RunRecord, compression: number): string[] {
  const cell = (method: Method) => {
    const errors = resultsOf(record, method, compression).map(({ testError }) => testError);
    return `${mean(errors).toFixed(2)} (${Math.min(...errors).toFixed(2)} – ${Math.max(...errors).toFixed(2)})`;
  };
  const published = record.data.origin === 'MNIST' ? PUBLISHED.find((row) => row.compression === compression) : undefined;
  const [parameters] = resultsOf(record, 'element', compression).map((result) => result.parameters);
  const advantage = meanError(record, 'dense', compression) - meanError(record, 'element', compression);
  return [`1/${compression}`, String(parameters), ...METHODS.map(cell), advantage.toFixed(2), published?.error.toFixed(2) ?? ''];
}

/** The same table for a terminal. */
export function summaryText(record: RunRecord): string {
  const rows = [['compression', 'parameters', ...METHODS, 'advantage', 'published'], ...record.settings.compressions.map((c) => row(record, c))];
  const widths = rows[0].map((_, j) => Math.max(...rows.map((cells) => cells[j].length)));
  return rows.map((cells) => cells.map((cell, j) => (j === 0 ? cell.padEnd(widths[j]) : cell.padStart(widths[j]))).join('  ')).join('\n');
}
