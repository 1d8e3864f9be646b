/** The report of a run: one self-contained HTML page and one PNG, rendered from the record alone. */
import { htmlFigures, htmlPage, htmlTable, type TableRow } from '../html.js';
import { composePanels, escapeMarkup } from '../plots.js';
import { writeReportFiles, type ReportFiles } from '../report_files.js';
import { figureRows } from './figures.js';
import { histogramFilm } from './film.js';
import type { RunRecord, SeedRecord } from './record.js';

/** Writes report.html and report.png into `directory` and returns their paths. */
export const writeReport = (record: RunRecord, directory: string): ReportFiles => writeReportFiles(directory, renderHtml(record), renderPictures(record));

/** All pictures as one SVG, of the seed whose ratio is the middle one. */
export function renderPictures(record: RunRecord): string {
  return composePanels(headline(record), figureRows(typicalSeed(record)));
}

export function renderHtml(record: RunRecord): string {
  const { seeds, data, settings } = record;
  const typical = typicalSeed(record);
  const body = `<p>${escapeMarkup(record.network)} on ${escapeMarkup(data.origin)}: ${data.train} images to train, ${data.validation} held out to choose by, ${data.test} to test, read once at the end.
Backend: ${escapeMarkup(record.backend)}. ${seeds.length === 1 ? 'One seed' : `${seeds.length} seeds; medians in the headline, pictures of seed ${typical.seed}`}.
The ratio is 4 bytes × all parameters, biases included, over all bytes of the file.</p>
${histogramFilm(typical)}
${htmlFigures(figureRows(typical).flat())}
<h2>Beside other methods, same file format (seed ${typical.seed})</h2>
${htmlTable(['method', 'chosen on validation images', 'validation error %', 'test error %', 'file bytes', 'ratio'], comparisonRows(typical))}
<h2>Seeds</h2>
${htmlTable(['seed', 'baseline test error %', 'quantised test error %', 'values', 'non-zero %', 'file bytes', 'ratio', 'seconds'], seeds.map(seedRow))}
<h2>Components of seed ${typical.seed}</h2>
<p>${typical.components.before} components at the start, ${typical.components.after} at the end. ${mergeText(typical)}</p>
${htmlTable(['component', 'mean', 'standard deviation', 'mixing proportion', 'weights expected', 'nearest value that remains'], componentRows(typical))}
<h2>Settings</h2>
<pre>${escapeMarkup(settingsText(settings))}</pre>`;
  return htmlPage(`${record.example}: ${headline(record)}`, headline(record), body);
}

export function headline({ summary, data }: RunRecord): string {
  return `${summary.ratio.toFixed(1)}× smaller: ${Math.round(summary.fileBytes)} bytes; test error ${summary.baselineError.toFixed(2)} % → ${summary.quantizedError.toFixed(2)} % (${data.origin})`;
}

/** JSON with a line per setting: lists stay on theirs. */
function settingsText(settings: RunRecord['settings']): string {
  const sections = Object.entries(settings).map(([name, values]) => `${name}\n${Object.entries(values as object).map(([key, value]) => `  ${key}: ${JSON.stringify(value)}`).join('\n')}`);
  return sections.join('\n');
}

/** The seed whose ratio is the middle one. */
export function typicalSeed({ seeds }: RunRecord): SeedRecord {
  return [...seeds].sort((a, b) => a.ratio - b.ratio)[(seeds.length - 1) >> 1];
}

function comparisonRows(seed: SeedRecord): TableRow[] {
  const ours = ['soft weight sharing', `${seed.components.after} values`, fixed(seed.errors.quantized.validation), fixed(seed.errors.quantized.test), `${seed.fileBytes}`, `${seed.ratio.toFixed(1)}×`];
  const plain = ['none (float32)', '', fixed(seed.errors.baseline.validation), fixed(seed.errors.baseline.test), `${4 * seed.parameters}`, '1.0×'];
  const others = seed.comparison.map((c) => [c.method, c.chosen, fixed(c.validationError), fixed(c.testError), `${c.fileBytes}`, `${c.ratio.toFixed(1)}×`]);
  return [plain, ours, ...others].map((cells) => ({ cells, marked: cells === ours }));
}

function seedRow(seed: SeedRecord): TableRow {
  const { errors, components, nonZeroPercent, fileBytes, ratio, seconds } = seed;
  return { cells: [`${seed.seed}`, fixed(errors.baseline.test), fixed(errors.quantized.test), `${components.after}`, fixed(nonZeroPercent), `${fileBytes}`, `${ratio.toFixed(1)}×`, seconds.toFixed(0)] };
}

/** By mean; components that hold no weight are named as such. */
function componentRows({ mixture: { means, variances, mixing }, quantizedValues }: SeedRecord): TableRow[] {
  const weights = quantizedValues.reduce((sum, { count }) => sum + count, 0);
  return means
    .map((mean, component) => ({ component, mean, deviation: Math.sqrt(variances[component]), share: mixing[component] }))
    .sort((a, b) => a.mean - b.mean)
    .map(({ component, mean, deviation, share }) => {
      const nearest = quantizedValues.reduce((best, { value }) => (Math.abs(value - mean) < Math.abs(best - mean) ? value : best), Infinity);
      const expected = share * weights;
      return { cells: [`${component}`, mean.toFixed(4), deviation.toPrecision(3), share.toPrecision(3), expected.toFixed(expected < 10 ? 1 : 0), expected < 0.5 ? 'none: holds no weight' : nearest.toFixed(4)] };
    });
}

function mergeText({ merges }: SeedRecord): string {
  if (merges.length === 0) return 'No pair was near enough to be merged.';
  return `Merged: ${merges.map(({ kept, absorbed, divergence }) => `{${absorbed.join(', ')}} into {${kept.join(', ')}} at ${divergence.toPrecision(2)}`).join(', ')} (symmetric KL divergence).`;
}

function fixed(percent: number): string {
  return percent.toFixed(2);
}
