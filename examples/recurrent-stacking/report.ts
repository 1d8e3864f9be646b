/** The report of a run: one self-contained HTML page and one PNG, rendered from the record alone. */
import * as Plot from '@observablehq/plot';
import { htmlFigures, htmlPage, htmlTable } from '../common/html.js';
import { composePanels, epochTicks, escapeMarkup, panel, type Panel } from '../common/plots.js';
import { writeReportFiles, type ReportFiles } from '../common/report_files.js';
import { medianOf, runsOf, type Run, type RunRecord } from './record.js';
import { labelOf, VARIANTS, type VariantName } from './settings.js';

const [WIDTH, HEIGHT] = [560, 330];
const MARGINS = { marginLeft: 60, marginRight: 40, marginBottom: 44, marginTop: 24 };
const COLORS: Record<VariantName, string> = { one: '#888888', shared: '#2a9d5c', groups2: '#4c6a92', groups3: '#8a5fa8', distinct: '#d1495b' };
const color = { type: 'ordinal' as const, domain: [...VARIANTS], range: VARIANTS.map((variant) => COLORS[variant]) };

/** Writes report.html and report.png into `directory` and returns their paths. */
export const writeReport = (record: RunRecord, directory: string): ReportFiles => writeReportFiles(directory, renderHtml(record), renderPictures(record));

export const renderPictures = (record: RunRecord): string => composePanels(headline(record), figureRows(record));

export function headline(record: RunRecord): string {
  const { depth } = record.settings.model;
  const of = (variant: VariantName) => `${medianOf(record, variant, (run) => run.perplexity.test).toFixed(2)} with ${labelOf(variant, depth)}`;
  return `Test perplexity ${(['one', 'shared', 'distinct'] as const).map(of).join(', ')}`;
}

const figureRows = (record: RunRecord): Panel[][] => [[against(record, 'parameters'), against(record, 'bytes')], [learningCurves(record)]];

function against(record: RunRecord, what: 'parameters' | 'bytes'): Panel {
  const bytes = what === 'bytes';
  const points = VARIANTS.map((variant) => ({
    variant, label: labelOf(variant, record.settings.model.depth),
    x: medianOf(record, variant, bytes ? (run) => run.bytes.compressed / 1024 : (run) => run.parameters / 1000),
    y: medianOf(record, variant, bytes ? (run) => run.perplexity.compressed : (run) => run.perplexity.test),
  })); // prettier-ignore
  const subtitle = bytes ? `Compressed to ${record.settings.compression.bits} bits a weight without training, our file with everything in it.` : 'As trained.';
  return panel(bytes ? 'Test perplexity by size of the file' : 'Test perplexity by parameters', subtitle, {
    width: WIDTH, height: HEIGHT, ...MARGINS, color, inset: 52,
    x: { label: bytes ? 'KiB' : 'thousand parameters', grid: true, nice: true },
    y: { label: 'perplexity', grid: true, nice: true },
    marks: [
      Plot.dot(points, { x: 'x', y: 'y', fill: 'variant', r: 5 }),
      Plot.text(points, { x: 'x', y: 'y', text: 'label', fill: 'variant', fontWeight: 'bold', dy: -13 }),
    ],
  }); // prettier-ignore
}

function learningCurves(record: RunRecord): Panel {
  const rows = VARIANTS.flatMap((variant) => runsOf(record, variant)[0].epochs.map((epoch) => ({ ...epoch, variant })));
  return panel('Held-out perplexity', 'By epoch, first seed.', {
    width: WIDTH, height: HEIGHT, ...MARGINS, color,
    x: { label: 'epoch', ticks: epochTicks(rows), tickFormat: 'd' },
    y: { label: 'perplexity', grid: true },
    marks: [Plot.line(rows, { x: 'epoch', y: 'validation', z: 'variant', stroke: 'variant', strokeWidth: 1.8 }), Plot.dot(rows, { x: 'epoch', y: 'validation', fill: 'variant', r: 3 })],
  }); // prettier-ignore
}

/** Head and rows, one for each run. */
export function table(record: RunRecord): string[][] {
  const count = (value: number) => value.toLocaleString('en');
  const row = ({ variant, seed, parameters, bytes, perplexity, seconds }: Run) => [
    labelOf(variant, record.settings.model.depth), `${seed}`, count(parameters), perplexity.validation.toFixed(2), perplexity.test.toFixed(2), perplexity.compressed.toFixed(2),
    count(bytes.float32), count(bytes.lossless), count(bytes.compressed), seconds.toFixed(0),
  ]; // prettier-ignore
  const { bits } = record.settings.compression;
  return [['layers', 'seed', 'parameters', 'held out', 'test', `test, ${bits} bits`, 'bytes, float32', 'bytes, .tfws', `bytes, ${bits} bits`, 'seconds'], ...record.runs.map(row)];
}

export function renderHtml(record: RunRecord): string {
  const { data, settings, backend, seeds } = record;
  const [head, ...rows] = table(record);
  const token = data.level === 'word' ? 'words' : 'characters';
  const body = `<p>${escapeMarkup(data.origin)}: ${settings.training.tokens || data.train} ${token} to train, ${data.validation} held out to choose by, ${data.test} to test; ${data.vocabulary} different ones. Backend: ${escapeMarkup(backend)}.
${seeds.length === 1 ? 'One seed.' : `${seeds.length} seeds: medians in the headline and by size.`} All deep networks take the same time: ${settings.model.depth} layers in depth, some of them with the same weights.</p>
${htmlFigures(figureRows(record).flat())}
<h2>Runs</h2>
${htmlTable(head, rows.map((cells) => ({ cells })))}
<h2>Settings</h2>
<pre>${escapeMarkup(JSON.stringify(settings, null, 2))}</pre>`;
  return htmlPage(`recurrent-stacking: ${headline(record)}`, headline(record), body);
}
