/** The report of a run: one self-contained HTML page and one PNG, rendered from the record alone. */
import { htmlFigures, htmlPage, htmlTable } from '../common/html.js';
import { composePanels, escapeMarkup } from '../common/plots.js';
import { writeReportFiles, type ReportFiles } from '../common/report_files.js';
import { figureRows } from './figures.js';
import { accuracyOf, ponderOf, runsOf, type RunRecord } from './record.js';
import { LABELS, MODELS } from './settings.js';

/** Writes report.html and report.png into `directory` and returns their paths. */
export const writeReport = (record: RunRecord, directory: string): ReportFiles => writeReportFiles(directory, renderHtml(record), renderPictures(record));

export const renderPictures = (record: RunRecord): string => composePanels('Copy, reverse and addition on sequences longer than those trained on', figureRows(record));

const percent = (share: number) => (100 * share).toFixed(1);

export function headline(record: RunRecord): string {
  const { tasks, test } = record.settings.data;
  const right = tasks.map((task) => `${task} ${MODELS.map((model) => percent(accuracyOf(record, task, model, 'test').character)).join(' / ')}`);
  return `Symbols right at lengths ${test.join(', ')} in percent, ${['LSTM', 'Transformer', 'universal', 'with ACT'].join(' / ')}: ${right.join('; ')}`;
}

/** Head and rows: accuracies in percent, sequences and symbols. */
export function table(record: RunRecord): string[][] {
  const { tasks } = record.settings.data;
  const head = ['task', 'model', 'parameters', 'trained: sequences', 'symbols', 'held out: sequences', 'symbols', 'test: sequences', 'symbols'];
  const rows = tasks.flatMap((task) => MODELS.map((model) => {
    const cells = (['trained', 'heldOut', 'test'] as const).flatMap((set) => {
      const { sequence, character } = accuracyOf(record, task, model, set);
      return [percent(sequence), percent(character)];
    });
    return [task, LABELS[model], runsOf(record, task, model)[0].parameters.toLocaleString('en'), ...cells];
  })); // prettier-ignore
  return [head, ...rows];
}

/** Head and rows: mean steps of the model with ACT. */
function ponderTable(record: RunRecord): string[][] {
  const rows = record.settings.data.tasks.flatMap((task) => (['trained', 'test'] as const).map((set) => {
    const { question, answer, carry, unhalted } = ponderOf(record, task, set);
    return [task, set === 'trained' ? 'trained on' : 'test', question.toFixed(2), answer.toFixed(2), carry?.with.toFixed(2) ?? '', carry?.without.toFixed(2) ?? '', percent(unhalted)];
  })); // prettier-ignore
  return [['task', 'lengths', 'question', 'answer', 'digits with a carry in', 'others', 'not halted, %'], ...rows];
}

export function renderHtml(record: RunRecord): string {
  const { settings, seeds, backend } = record;
  const { trainLength, heldOut, test } = settings.data;
  const markup = ([head, ...rows]: string[][]) => htmlTable(head, rows.map((cells) => ({ cells })), { text: false });
  const body = `<p>Copy, reverse and addition of integers (last digit first), generated: trained on questions of up to ${trainLength} symbols, settings chosen at the lengths ${heldOut.join(', ')}, tested once at
${test.join(', ')}. Backend: ${escapeMarkup(backend)}. ${seeds.length === 1 ? 'One seed.' : `${seeds.length} seeds: medians in tables, means in the first figure.`}
A symbol is predicted after the right ones before it; the end of the answer counts as a symbol. All Transformers get sinusoidal positions that begin anywhere in training. Each model
reads the question and goes on with the answer; the Transformer has ${settings.model.depth} layers like the Universal Transformer's one.</p>
${htmlFigures(figureRows(record).flat())}
<h2>Accuracy in percent, mean over lengths</h2>
${markup(table(record))}
<h2>Mean steps with ACT, at most ${settings.adaptive.steps}</h2>
${markup(ponderTable(record))}
<h2>Settings</h2>
<pre>${escapeMarkup(JSON.stringify(settings, null, 2))}</pre>`;
  return htmlPage(`universal-transformer: ${headline(record)}`, headline(record), body);
}
