/** The report of a run: one self-contained HTML page and one PNG, rendered from the record alone. */
import * as Plot from '@observablehq/plot';
import { htmlFigures, htmlPage, htmlTable } from '../common/html.js';
import { composePanels, epochTicks, escapeMarkup, panel, type Panel } from '../common/plots.js';
import { writeReportFiles, type ReportFiles } from '../common/report_files.js';
import { runsOf, testLoss, worse, type Comparison, type Run, type RunRecord } from './record.js';
import { LABELS, VARIANTS, type VariantName } from './settings.js';

const [WIDTH, HEIGHT] = [560, 340];
const MARGINS = { marginLeft: 60, marginRight: 24, marginBottom: 44, marginTop: 24 };
const COLORS: Record<VariantName, string> = { unshared: '#888888', pairs: '#4c6a92', chosen: '#2a9d5c' };
const color = { type: 'ordinal' as const, domain: [...VARIANTS], range: VARIANTS.map((variant) => COLORS[variant]) };

/** Writes report.html and report.png into `directory` and returns their paths. */
export const writeReport = (record: RunRecord, directory: string): ReportFiles => writeReportFiles(directory, renderHtml(record), renderPictures(record));

export const renderPictures = (record: RunRecord): string => composePanels(headline(record), figureRows(record));

const times = (value: number) => `${value.toFixed(2)}×`;
const signed = (percent: number) => `${percent < 0 ? '−' : '+'}${Math.abs(percent).toFixed(2)} %`;

export function headline(record: RunRecord): string {
  const { cached } = measured(record);
  const of = (variant: VariantName) => `${times(cached.faster[variant])} ${variant === 'pairs' ? 'in adjacent pairs' : 'chosen by divergence'} (${signed(worse(record, variant))} test loss)`;
  return `Cached decoding ${of('pairs')}, ${of('chosen')}`;
}

function measured(record: RunRecord) {
  if (record.measured === undefined) throw new Error('shared-attention: the record lacks the speeds of decoding. Finish it with --resume first.');
  return record.measured;
}

function figureRows(record: RunRecord): Panel[][] {
  const { comparisons } = runsOf(record, 'chosen')[0];
  return [[lossBySpeed(record), learningCurves(record)], [heatMap(comparisons[0], 'at first'), heatMap(comparisons.at(-1)!, 'at last')]];
}

function lossBySpeed(record: RunRecord): Panel {
  const points = VARIANTS.map((variant) => ({ variant, x: measured(record).cached.tokensPerSecond[variant], y: testLoss(record, variant) }));
  return panel('Test loss by speed', `Cached decoding, ${record.settings.decoding.batch} sequences at a time, on ${record.backend}.`, {
    width: WIDTH, height: HEIGHT, ...MARGINS, color, inset: 56,
    x: { label: 'tokens per second', grid: true, nice: true },
    y: { label: 'nats per token', grid: true, nice: true },
    marks: [Plot.dot(points, { x: 'x', y: 'y', fill: 'variant', r: 5 }), Plot.text(points, { x: 'x', y: 'y', text: ({ variant }: { variant: VariantName }) => LABELS[variant], fill: 'variant', fontWeight: 'bold', dy: -13 })],
  }); // prettier-ignore
}

function learningCurves(record: RunRecord): Panel {
  const rows = VARIANTS.flatMap((variant) => runsOf(record, variant)[0].epochs.map(({ epoch, validation }) => ({ epoch, loss: Math.log(validation), variant })));
  return panel('Held-out loss', 'By epoch, first seed.', {
    width: WIDTH, height: HEIGHT, ...MARGINS, color,
    x: { label: 'epoch', ticks: epochTicks(rows), tickFormat: 'd' },
    y: { label: 'nats per token', grid: true },
    marks: [Plot.line(rows, { x: 'epoch', y: 'loss', z: 'variant', stroke: 'variant', strokeWidth: 1.8 }), Plot.dot(rows, { x: 'epoch', y: 'loss', fill: 'variant', r: 3 })],
  }); // prettier-ignore
}

function heatMap({ epoch, divergence, policy }: Comparison, when: string): Panel {
  const cells = divergence.flatMap((row, i) => row.map((value, j) => ({ i: i + 1, j: j + 1, value })));
  const known = cells.filter(({ value }) => value >= 0);
  const darkest = Math.max(...known.map(({ value }) => value)) || 1;
  return panel(`Divergence of layers' attention ${when}`, `Jensen–Shannon, nats, after epoch ${epoch}; then blocks of ${policy.join(', ')}. Grey: not measured.`, {
    width: WIDTH, height: HEIGHT + 40, ...MARGINS, padding: 0.04,
    x: { label: 'layer', tickFormat: 'd' },
    y: { label: 'layer', tickFormat: 'd' },
    color: { type: 'linear', scheme: 'blues', domain: [0, darkest] },
    marks: [
      Plot.cell(cells.filter(({ value }) => value < 0), { x: 'j', y: 'i', fill: '#ddd' }),
      Plot.cell(known, { x: 'j', y: 'i', fill: 'value' }),
      Plot.text(known, { x: 'j', y: 'i', text: ({ value }: { value: number }) => value.toFixed(2), fill: ({ value }: { value: number }) => (value > 0.6 * darkest ? 'white' : '#222') }),
    ],
  }); // prettier-ignore
}

/** Head and rows, one for each run. */
export function table(record: RunRecord): string[][] {
  const { cached, uncached } = measured(record);
  const row = ({ variant, seed, policy, parameters, perplexity, seconds }: Run) => [
    LABELS[variant], `${seed}`, policy.join(' '), parameters.toLocaleString('en'), Math.log(perplexity.validation).toFixed(4), Math.log(perplexity.test).toFixed(4),
    signed(100 * (Math.log(perplexity.test) / testLoss(record, 'unshared') - 1)),
    cached.tokensPerSecond[variant].toFixed(0), times(cached.faster[variant]), uncached.tokensPerSecond[variant].toFixed(0), times(uncached.faster[variant]), seconds.toFixed(0),
  ]; // prettier-ignore
  return [['attention', 'seed', 'blocks', 'parameters', 'held-out loss', 'test loss', 'worse', 'tokens/s, cached', 'faster', 'tokens/s, not cached', 'faster', 'seconds'], ...record.runs.map(row)];
}

export function renderHtml(record: RunRecord): string {
  const { data, settings, backend, seeds } = record;
  const { decoding } = settings;
  const [head, ...rows] = table(record);
  const token = data.level === 'word' ? 'words' : 'characters';
  const body = `<p>${escapeMarkup(data.origin)}: ${data.train} ${token} to train, ${data.validation} held out to choose by, ${data.test} to test, read once by the model without unused projections; ${data.vocabulary} different ones.
Backend: ${escapeMarkup(backend)}. ${seeds.length === 1 ? 'One seed.' : `${seeds.length} seeds; speeds are of the first one's choice.`} Speeds: ${decoding.steps} steps for ${decoding.batch} sequences after ${decoding.prompt} positions, variants in turns, medians of ${decoding.rounds} rounds.</p>
${htmlFigures(figureRows(record).flat())}
<h2>Runs</h2>
${htmlTable(head, rows.map((cells) => ({ cells })))}
<h2>Settings</h2>
<pre>${escapeMarkup(JSON.stringify(settings, null, 2))}</pre>`;
  return htmlPage(`shared-attention: ${headline(record)}`, headline(record), body);
}
