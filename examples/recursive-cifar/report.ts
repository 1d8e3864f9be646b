/** The report of a run: one self-contained HTML page and one PNG, rendered from the record alone. */
import { htmlFigures, htmlPage, htmlTable } from '../common/html.js';
import { composePanels, escapeMarkup, type Panel } from '../common/plots.js';
import { writeReportFiles, type ReportFiles } from '../common/report_files.js';
import type { SetName } from './data.js';
import { figuresOf } from './figures.js';
import { similarityHeatMap } from './library.js';
import { findingOf, rowsOf, setsOf, type RunRecord } from './record.js';
import { PART_TITLES, type Part } from './settings.js';
import { labelOf } from './variants.js';

/** Writes report.html and report.png into `directory` and returns their paths. */
export const writeReport = (record: RunRecord, directory: string): ReportFiles => writeReportFiles(directory, renderHtml(record), renderPictures(record));

export function renderPictures(record: RunRecord): string {
  const panels = figuresOf(record);
  const rows: Panel[][] = [];
  for (let i = 0; i < panels.length; i += 2) rows.push(panels.slice(i, i + 2));
  return composePanels('Recursive convolutions and shared kernels on small images', rows);
}

/** What the first part of which something is trained has found. @throws Error where there is none. */
export function headline(record: RunRecord): string {
  for (const part of record.parts) {
    for (const set of setsOf(record)) if (rowsOf(record, part, set).length > 0) return `${record.sets[set]!.origin}: ${sentence(record, part, set)}`;
  }
  throw new Error('recursive-cifar: the record holds no trained network yet. Go on with --resume first.');
}

const percent = (value: number | null) => (value === null ? '–' : `${value.toFixed(2)} %`);

const points = (value: number | null) => (value === null ? 'no pair' : `${value > 0 ? '+' : ''}${value.toFixed(2)} points`);

function sentence(record: RunRecord, part: Part, set: SetName): string {
  const rows = rowsOf(record, part, set);
  const finding = findingOf(rows, part);
  switch (part) {
    case 'lru':
      return `${labelOf(rows[0].spec)} errs on ${percent(finding.first)} of the test images, ${labelOf(rows[rows.length - 1].spec)} on ${percent(finding.last)}`;
    case 'templates':
      return `convolutions of their own kernels err on ${percent(finding.unshared)} of the test images; made of ${rows.flatMap(({ spec, test }) => (spec.part === 'templates' && spec.templates !== null ? [`${spec.templates} template${spec.templates === 1 ? '' : 's'}: ${percent(test)}`] : [])).join(', ')}`;
    case 'dynamic':
      return `the fixed depth that held-out images choose, ${finding.fixedLoops} loops, errs on ${percent(finding.fixed)} of the test images; gates on ${percent(finding.gated)} with ${finding.gatedLoops} loops on average`;
    case 'banks': {
      const lost = Object.entries(finding).flatMap(([key, value]) => (key.startsWith('lost') ? [`1/${key.slice(4)}: ${points(value)}`] : []));
      return `own kernels err on ${percent(finding.own)} of the test images; banks, as held-out images choose, change that at ${lost.join(', ')}. Instead of learned weights the average: ${points(finding.average)}, layer embeddings: ${points(finding.layerEmbedding)}; instead of one bank random groups: ${points(finding.randomGroups)}, learned groups: ${points(finding.learnedGroups)}; distillation: ${points(finding.distilled)}`;
    }
    case 'eigen':
      if (finding.layers === null) return 'too few networks to tell layers, parameters and maps apart';
      return `each doubling changes the test error by (least squares, with standard errors): ${(['layers', 'parameters', 'maps'] as const).map((name) => `${name} ${points(finding[name])} ± ${finding[`${name}Error`]!.toFixed(2)}`).join(', ')}`;
  }
}

export function renderHtml(record: RunRecord): string {
  const { settings, seeds, backend, parts } = record;
  const sets = setsOf(record).map((set) => {
    const { origin, train, heldOut, test } = record.sets[set]!;
    return `${origin}: ${train} images to train, ${heldOut} held out, ${test} to test`;
  });
  const body = `<p>${escapeMarkup(sets.join('. '))}. What is chosen is chosen by held-out images; each network read the test images once, after its last epoch.
With few test images an error is uncertain: by ${(100 * Math.sqrt(0.25 / Math.min(...setsOf(record).map((set) => record.sets[set]!.test)))).toFixed(1)} points (one standard deviation, at 50 %) on the smallest set.
Backend: ${escapeMarkup(backend)}. ${seeds.length === 1 ? 'One seed.' : `${seeds.length} seeds: means.`}</p>
${htmlFigures(figuresOf(record))}
${parts.flatMap((part) => setsOf(record).flatMap((set) => (rowsOf(record, part, set).length === 0 ? [] : [section(record, part, set)]))).join('\n')}
<h2>Settings</h2>
<pre>${escapeMarkup(JSON.stringify(settings, null, 2))}</pre>`;
  return htmlPage(`recursive-cifar: ${headline(record)}`, headline(record), body);
}

const HEAD = ['network', 'parameters', 'loops', 'held-out error (%)', 'test error (%)', 'seconds'];

function cellsOf(record: RunRecord, part: Part, set: SetName): string[][] {
  return rowsOf(record, part, set).map(({ spec, parameters, loops, heldOut, test, least, greatest, seconds }) => [
    labelOf(spec), parameters.toLocaleString('en'), Number.isNaN(loops) ? '' : loops.toFixed(2), heldOut.toFixed(2),
    record.seeds.length === 1 ? test.toFixed(2) : `${test.toFixed(2)} (${least.toFixed(2)} – ${greatest.toFixed(2)})`, seconds.toFixed(0),
  ]); // prettier-ignore
}

function section(record: RunRecord, part: Part, set: SetName): string {
  return `<h2>${escapeMarkup(`${PART_TITLES[part]}, ${record.sets[set]!.origin}`)}</h2>
<p>${escapeMarkup(sentence(record, part, set))}.</p>
${htmlTable(HEAD, cellsOf(record, part, set).map((cells) => ({ cells })))}
${heatMaps(record, part, set)}`; // prettier-ignore
}

/** How alike the layers on each bank of templates became, with the first seed. */
function heatMaps(record: RunRecord, part: Part, set: SetName): string {
  return rowsOf(record, part, set).map((row) => {
    const similarities = record.runs.find(({ variant, seed }) => variant === row.key && seed === record.seeds[0])?.similarities ?? [];
    return similarities.length === 0 ? '' : `<h3>${escapeMarkup(labelOf(row.spec))}: which layers became alike</h3>\n<div class="figures">${similarities.map((each) => `<figure>${similarityHeatMap(each)}</figure>`).join('')}</div>`;
  }).join('\n'); // prettier-ignore
}

/** The sentences and tables for a terminal: parts, each on every set. */
export function summaryRows(record: RunRecord): { sentence: string; table: string[][] }[] {
  return record.parts.flatMap((part) => setsOf(record).flatMap((set) => (rowsOf(record, part, set).length === 0 ? [] : [{ sentence: `${record.sets[set]!.origin}: ${sentence(record, part, set)}`, table: [HEAD, ...cellsOf(record, part, set)] }])));
}
