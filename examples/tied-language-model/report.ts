/** The report of a run: one self-contained HTML page and one PNG, rendered from the record alone. */
import { htmlFigures, htmlPage, htmlTable } from '../common/html.js';
import { composePanels, escapeMarkup } from '../common/plots.js';
import { writeReportFiles, type ReportFiles } from '../common/report_files.js';
import { figureRows, LABELS } from './figures.js';
import { runsOf, summarize, type RunRecord, type VariantRecord } from './record.js';
import { VARIANTS } from './settings.js';

/** Writes report.html and report.png into `directory` and returns their paths. */
export const writeReport = (record: RunRecord, directory: string): ReportFiles => writeReportFiles(directory, renderHtml(record), renderPictures(record));

export const renderPictures = (record: RunRecord): string => composePanels(headline(record), figureRows(record));

export function headline(record: RunRecord): string {
  const { untied, tied, augmented, parametersSaved } = summarize(record);
  return `Perplexity ${untied.toFixed(2)} untied, ${tied.toFixed(2)} tied, ${augmented.toFixed(2)} with the augmented loss; ${parametersSaved.toLocaleString('en')} parameters fewer`;
}

export function renderHtml(record: RunRecord): string {
  const { data, settings, seeds, backend } = record;
  const [head, ...rows] = table(record);
  const token = data.level === 'word' ? 'words' : 'characters';
  const body = `<p>${escapeMarkup(data.origin)}: ${data.train} ${token} to train, ${data.validation} held out to choose by, ${data.test} to test, read once at the end;
${data.vocabulary} different ones${data.level === 'word' ? ', rarer words counting as unknown' : ''}. Backend: ${escapeMarkup(backend)}.
${seeds.length === 1 ? 'One seed.' : `${seeds.length} seeds: medians in the headline, curves of the middle one of each variant.`}
All variants have the same width and the same body; the untied one has a table of its own for the output.</p>
${htmlFigures(figureRows(record).flat())}
<h2>Runs</h2>
${htmlTable(head, rows.map((cells) => ({ cells })))}
<h2>Nearest ${token} by the vectors of the table</h2>
${neighbours(record)}
<h2>Settings</h2>
<pre>${escapeMarkup(JSON.stringify(settings, null, 2))}</pre>`;
  return htmlPage(`tied-language-model: ${headline(record)}`, headline(record), body);
}

/** Head and rows, one for each run. */
export function table({ runs }: RunRecord): string[][] {
  return [['variant', 'seed', 'parameters', 'epoch kept', 'held-out perplexity', 'test perplexity', 'seconds'], ...runs.map(runRow)];
}

function runRow({ variant, seed, parameters, epochs, perplexity, seconds }: VariantRecord): string[] {
  const kept = epochs.reduce((best, epoch) => (epoch.validation < best.validation ? epoch : best));
  return [LABELS[variant], `${seed}`, parameters.toLocaleString('en'), `${kept.epoch} of ${epochs.length}`, perplexity.validation.toFixed(2), perplexity.test.toFixed(2), seconds.toFixed(0)];
}

function neighbours(record: RunRecord): string {
  const columns = VARIANTS.map((variant) => runsOf(record, variant)[0]);
  const rows = columns[0].neighbours.map(({ word }, i) => ({ cells: [shown(word), ...columns.map((run) => run.neighbours[i].nearest.map(shown).join('  '))] }));
  return htmlTable([record.data.level, ...columns.map(({ variant }) => LABELS[variant])], rows, { text: true });
}

/** White space would not be seen. */
const shown = (token: string) => (/^\s+$/.test(token) ? JSON.stringify(token) : token);
