/** The report of a run: one self-contained HTML page and one PNG, rendered from the record alone. */
import { htmlFigures, htmlPage, htmlTable } from '../common/html.js';
import { composePanels, escapeMarkup } from '../common/plots.js';
import { writeReportFiles, type ReportFiles } from '../common/report_files.js';
import { figureRows } from './figures.js';
import { MIB, summarize, type Run, type RunRecord } from './record.js';
import { LABELS } from './settings.js';

/** Writes report.html and report.png into `directory` and returns their paths. */
export const writeReport = (record: RunRecord, directory: string): ReportFiles => writeReportFiles(directory, renderHtml(record), renderPictures(record));

export const renderPictures = (record: RunRecord): string => composePanels(headline(record), figureRows(record));

export function headline(record: RunRecord): string {
  const { equilibrium, tied, explicit } = summarize(record);
  return `Test error ${equilibrium.testError.toFixed(2)} % equilibrium, ${tied.testError.toFixed(2)} % weight-tied, ${explicit.testError.toFixed(2)} % explicit; a step takes ${equilibrium.stepMiB}, ${tied.stepMiB} and ${explicit.stepMiB} MiB`;
}

const HEAD = ['network', 'seed', 'parameters', 'evaluations', 'held-out error (%)', 'test error (%)', 'step (MiB)', 'step (ms)', 'training (s)'];

function row({ variant, seed, parameters, epochs, testError, stepBytes, stepMilliseconds, seconds }: Run): string[] {
  const { iterations, backwardIterations, validation } = epochs[epochs.length - 1];
  const evaluations = iterations === null ? '' : backwardIterations ? `${iterations.toFixed(1)} + ${backwardIterations.toFixed(1)}` : `${iterations}`;
  return [LABELS[variant], `${seed}`, parameters.toLocaleString('en'), evaluations, validation.toFixed(2), testError.toFixed(2), (stepBytes / MIB).toFixed(1), stepMilliseconds.toFixed(1), seconds.toFixed(0)];
}

export function renderHtml(record: RunRecord): string {
  const { data, settings, seeds, backend, runs } = record;
  const { stride, tiedDepth, explicitDepth } = settings.model;
  const body = `<p>${escapeMarkup(data.origin)}: ${data.train} images to train, ${data.validation} held out to choose by, ${data.test} to test, read once by each network after its last epoch.
Backend: ${escapeMarkup(backend)}. ${seeds.length === 1 ? 'One seed.' : `${seeds.length} seeds: medians in the headline.`}
All networks begin with a convolution of stride ${stride} and end with a dense layer. Between them: the fixed point of a cell of convolutions; the same cell, ${tiedDepth} times; ${explicitDepth} different
cells of fewer channels, so many that it has no fewer parameters. Evaluations: of the cell per batch in the last epoch, and for the equilibrium products with its Jacobian in the backward pass.
A step: loss and all gradients on a batch of ${settings.training.batchSize}, by the trained network.</p>
${htmlFigures(figureRows(record).flat())}
<h2>Runs</h2>
${htmlTable(HEAD, runs.map((run) => ({ cells: row(run) })))}
<h2>Settings</h2>
<pre>${escapeMarkup(JSON.stringify(settings, null, 2))}</pre>`;
  return htmlPage(`deq-mnist: ${headline(record)}`, headline(record), body);
}

/** For a terminal. */
export const table = (record: RunRecord): string[][] => [HEAD, ...record.runs.map(row)];
