/** The report of a run: one self-contained HTML page and one PNG, rendered from the record alone. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { composePanels, escapeMarkup, toPng } from '../common/plots.js';
import { figureRows, LABELS } from './figures.js';
import { runsOf, summarize, type RunRecord, type VariantRecord } from './record.js';
import { VARIANTS } from './settings.js';

export interface ReportFiles {
  html: string;
  png: string;
}

/** Writes report.html and report.png into `directory` and returns their paths. */
export function writeReport(record: RunRecord, directory: string): ReportFiles {
  mkdirSync(directory, { recursive: true });
  const files = { html: join(directory, 'report.html'), png: join(directory, 'report.png') };
  writeFileSync(files.html, renderHtml(record));
  writeFileSync(files.png, toPng(renderPictures(record)));
  return files;
}

export const renderPictures = (record: RunRecord): string => composePanels(headline(record), figureRows(record));

export function headline(record: RunRecord): string {
  const { untied, tied, augmented, parametersSaved } = summarize(record);
  return `Perplexity ${untied.toFixed(2)} untied, ${tied.toFixed(2)} tied, ${augmented.toFixed(2)} with the augmented loss; ${parametersSaved.toLocaleString('en')} parameters fewer`;
}

export function renderHtml(record: RunRecord): string {
  const { data, settings, seeds, backend } = record;
  const figures = figureRows(record)
    .flat()
    .map(({ title, subtitle, svg }) => `<figure><figcaption><b>${escapeMarkup(title)}</b><br>${escapeMarkup(subtitle)}</figcaption>${svg}</figure>`)
    .join('\n');
  const token = data.level === 'word' ? 'words' : 'characters';
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>tied-language-model: ${escapeMarkup(headline(record))}</title>
<style>
  body { font: 15px/1.5 "DejaVu Sans", system-ui, sans-serif; color: #222; background: white; margin: 2rem auto; max-width: 1300px; padding: 0 1rem; }
  h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
  .figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 600px), 1fr)); gap: 1.5rem; }
  figure { margin: 0; } figcaption { font-size: .85rem; color: #555; } figcaption b { font-size: 1rem; color: #222; }
  figure svg { max-width: 100%; height: auto; }
  table { border-collapse: collapse; font-variant-numeric: tabular-nums; } th, td { padding: .25rem .9rem .25rem 0; text-align: right; border-bottom: 1px solid #ddd; }
  th:first-child, td:first-child, .text td, .text th { text-align: left; }
  pre { font-size: .8rem; overflow-x: auto; background: #f6f6f6; padding: 1rem; }
</style>
<h1>${escapeMarkup(headline(record))}</h1>
<p>${escapeMarkup(data.origin)}: ${data.train} ${token} to train, ${data.validation} held out to choose by, ${data.test} to test, read once at the end;
${data.vocabulary} different ones${data.level === 'word' ? ', rarer words counting as unknown' : ''}. Backend: ${escapeMarkup(backend)}.
${seeds.length === 1 ? 'One seed.' : `${seeds.length} seeds: medians in the headline, curves of the middle one of each variant.`}
All variants have the same width and the same body; the untied one has a table of its own for the output.</p>
<div class="figures">
${figures}
</div>
<h2>Runs</h2>
${table('', ['variant', 'seed', 'parameters', 'epoch kept', 'held-out perplexity', 'test perplexity', 'seconds'], record.runs.map(runRow))}
<h2>Nearest ${token} by the vectors of the table</h2>
${neighbours(record)}
<h2>Settings</h2>
<pre>${escapeMarkup(JSON.stringify(settings, null, 2))}</pre>
</html>
`;
}

function runRow({ variant, seed, parameters, epochs, perplexity, seconds }: VariantRecord): string[] {
  const kept = epochs.reduce((best, epoch) => (epoch.validation < best.validation ? epoch : best));
  return [LABELS[variant], `${seed}`, parameters.toLocaleString('en'), `${kept.epoch} of ${epochs.length}`, perplexity.validation.toFixed(2), perplexity.test.toFixed(2), seconds.toFixed(0)];
}

function neighbours(record: RunRecord): string {
  const columns = VARIANTS.map((variant) => runsOf(record, variant)[0]);
  const rows = columns[0].neighbours.map(({ word }, i) => [shown(word), ...columns.map((run) => run.neighbours[i].nearest.map(shown).join('  '))]);
  return table('text', [record.data.level, ...columns.map(({ variant }) => LABELS[variant])], rows);
}

/** White space would not be seen. */
const shown = (token: string) => (/^\s+$/.test(token) ? JSON.stringify(token) : token);

function table(className: string, head: string[], rows: string[][]): string {
  const cells = (tag: string, row: string[]) => row.map((cell) => `<${tag}>${escapeMarkup(cell)}</${tag}>`).join('');
  return `<table class="${className}"><tr>${cells('th', head)}</tr>\n${rows.map((row) => `<tr>${cells('td', row)}</tr>`).join('\n')}</table>`;
}
