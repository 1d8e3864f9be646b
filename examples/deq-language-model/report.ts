/** The report of a run: one self-contained HTML page and one PNG, rendered from the record alone. */
import * as Plot from '@observablehq/plot';
import { memoryPanel, residualPanel } from '../common/deq_figures.js';
import { htmlFigures, htmlPage, htmlTable } from '../common/html.js';
import { composePanels, epochTicks, escapeMarkup, panel, type Panel } from '../common/plots.js';
import { writeReportFiles, type ReportFiles } from '../common/report_files.js';
import { medianOf, MIB, runsOf, type Run, type RunRecord } from './record.js';
import { LABELS, VARIANTS, type VariantName } from './settings.js';

const SIZE = { width: 620, height: 320, marginLeft: 66, marginRight: 120, marginBottom: 42, marginTop: 22 };
const COLORS: Record<VariantName, string> = { equilibrium: '#2a9d5c', tied: '#4c6a92', standard: '#d1495b' };
const color = { type: 'ordinal' as const, domain: [...VARIANTS], range: VARIANTS.map((variant) => COLORS[variant]) };

/** Writes report.html and report.png into `directory` and returns their paths. */
export const writeReport = (record: RunRecord, directory: string): ReportFiles => writeReportFiles(directory, renderHtml(record), renderPictures(record));

export const renderPictures = (record: RunRecord): string => composePanels(headline(record), figureRows(record));

export function headline(record: RunRecord): string {
  const of = (variant: VariantName) => `${medianOf(record, variant, (run) => run.perplexity.test).toFixed(2)} ${LABELS[variant]} (${medianOf(record, variant, (run) => run.stepBytes / MIB).toFixed(1)} MiB a step)`;
  return `Test perplexity ${VARIANTS.map(of).join(', ')}`;
}

function figureRows(record: RunRecord): Panel[][] {
  const { settings } = record;
  const batch = `${settings.training.batchSize} rows of ${settings.model.length} tokens`;
  const residuals = residualPanel(runsOf(record, 'equilibrium')[0].residuals, settings.solver.tolerance, 'a held-out batch');
  const memory = memoryPanel((['equilibrium', 'tied'] as const).map((variant) => ({ label: LABELS[variant], color: COLORS[variant], memory: runsOf(record, variant)[0].memory })), batch);
  return [[residuals, memory], [learningCurves(record), solvesByEpoch(record)]];
}

function learningCurves(record: RunRecord): Panel {
  const rows = VARIANTS.flatMap((variant) => runsOf(record, variant)[0].epochs.map((epoch) => ({ ...epoch, variant, label: LABELS[variant] })));
  const ends = VARIANTS.map((variant) => rows.filter((row) => row.variant === variant).at(-1)!);
  return panel('Held-out perplexity', 'By epoch, first seed. The equilibrium begins as the weight-tied network.', {
    ...SIZE, color,
    x: { label: 'epoch', ticks: epochTicks(rows), tickFormat: 'd' },
    y: { label: 'perplexity', grid: true },
    marks: [
      Plot.line(rows, { x: 'epoch', y: 'validation', z: 'variant', stroke: 'variant', strokeWidth: 1.8 }),
      Plot.text(ends, { x: 'epoch', y: 'validation', text: 'label', fill: 'variant', textAnchor: 'start', fontWeight: 'bold', dx: 8 }),
    ],
  }); // prettier-ignore
}

function solvesByEpoch(record: RunRecord): Panel {
  const { solves } = runsOf(record, 'equilibrium')[0];
  const rows = solves.flatMap(({ epoch, iterations, backwardIterations }) => [{ epoch, what: 'forward', count: iterations }, { epoch, what: 'backward', count: backwardIterations }]);
  return panel('Iterations', 'Of the solves forward and backward by epoch, mean over the batches, first seed.', {
    ...SIZE,
    color: { type: 'ordinal', domain: ['forward', 'backward'], range: ['#2a9d5c', '#4c6a92'] },
    x: { label: 'epoch', ticks: epochTicks(rows), tickFormat: 'd' },
    y: { label: 'iterations', grid: true, zero: true },
    marks: [
      Plot.line(rows, { x: 'epoch', y: 'count', z: 'what', stroke: 'what', strokeWidth: 1.8 }),
      Plot.dot(rows, { x: 'epoch', y: 'count', fill: 'what', r: 3 }),
      Plot.text(rows.slice(-2), { x: 'epoch', y: 'count', text: 'what', fill: 'what', textAnchor: 'start', fontWeight: 'bold', dx: 8 }),
    ],
  }); // prettier-ignore
}

/** Head and rows, one for each run. */
export function table(record: RunRecord): string[][] {
  const row = ({ variant, seed, parameters, perplexity, solves, stepBytes, stepMilliseconds, seconds }: Run) => {
    const last = solves.at(-1);
    return [
      LABELS[variant], `${seed}`, parameters.toLocaleString('en'), perplexity.validation.toFixed(2), perplexity.test.toFixed(2), last ? `${last.iterations.toFixed(1)} + ${last.backwardIterations.toFixed(1)}` : '',
      last ? last.residual.toExponential(1) : '', last ? `${(100 * last.unconverged).toFixed(1)} %` : '', (stepBytes / MIB).toFixed(1), stepMilliseconds.toFixed(0), seconds.toFixed(0),
    ]; // prettier-ignore
  };
  return [['network', 'seed', 'parameters', 'held out', 'test', 'iterations', 'residual', 'unconverged', 'step (MiB)', 'step (ms)', 'training (s)'], ...record.runs.map(row)];
}

export function renderHtml(record: RunRecord): string {
  const { data, settings, backend, seeds } = record;
  const { depth } = settings.model;
  const [head, ...rows] = table(record);
  const token = data.level === 'word' ? 'words' : 'characters';
  const body = `<p>${escapeMarkup(data.origin)}: ${data.train} ${token} to train, ${data.validation} held out to choose by, ${data.test} to test, read once; ${data.vocabulary} different ones. Backend: ${escapeMarkup(backend)}.
${seeds.length === 1 ? 'One seed.' : `${seeds.length} seeds: medians in the headline.`} The equilibrium of a Transformer cell; the same cell ${depth} times; ${depth} different cells, one after the other. Iterations (forward + backward), relative residual and the share of
samples that did not come below the tolerance of ${settings.solver.tolerance} are means over the training batches of the last epoch. A step: loss and all gradients on ${settings.training.batchSize} rows of ${settings.model.length} ${token}, by the trained network.</p>
${htmlFigures(figureRows(record).flat())}
<h2>Runs</h2>
${htmlTable(head, rows.map((cells) => ({ cells })))}
<h2>Settings</h2>
<pre>${escapeMarkup(JSON.stringify(settings, null, 2))}</pre>`;
  return htmlPage(`deq-language-model: ${headline(record)}`, headline(record), body);
}
