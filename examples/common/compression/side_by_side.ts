/** Several runs on one page: what they reached, which settings they differ in, and their pictures in columns. */
import { join } from 'node:path';
import { writeFileSync } from 'node:fs';
import { htmlPage, htmlTable } from '../html.js';
import { escapeMarkup } from '../plots.js';
import { bytesByLayer, errorPerEpoch, ratioPerEpoch, responsibilityPanel, weightsAfter } from './figures.js';
import type { RunRecord } from './record.js';
import { typicalSeed } from './report.js';

/** A run with the name that the page gives it. */
export interface NamedRun {
  name: string;
  record: RunRecord;
}

export function writeSideBySide(runs: readonly NamedRun[], directory: string): string {
  const path = join(directory, 'side-by-side.html');
  writeFileSync(path, renderSideBySide(runs));
  return path;
}

export function renderSideBySide(runs: readonly NamedRun[]): string {
  const rows = runs.map(({ name, record: { network, data, seeds, summary: s } }) => ({
    cells: [name, network, data.origin, `${seeds.length}`, s.baselineError.toFixed(2), s.quantizedError.toFixed(2), `${s.components}`, s.nonZeroPercent.toFixed(2), `${Math.round(s.fileBytes)}`, `${s.ratio.toFixed(1)}×`],
  })); // prettier-ignore
  const differences = differingSettings(runs);
  const kinds = [weightsAfter, responsibilityPanel, errorPerEpoch, ratioPerEpoch, bytesByLayer];
  const pictures = kinds.map((draw) => {
    const panels = runs.map(({ name, record }) => ({ name, ...draw(typicalSeed(record)) }));
    const cells = panels.map(({ name, subtitle, svg }) => `<figure><figcaption><b>${escapeMarkup(name)}</b><br>${escapeMarkup(subtitle)}</figcaption>${svg}</figure>`);
    return `<h2>${escapeMarkup(panels[0].title)}</h2>\n<div class="figures" style="grid-template-columns: repeat(${runs.length}, 1fr)">\n${cells.join('\n')}\n</div>`;
  });
  const body = `<p>Medians over the seeds of each run; pictures of the seed whose ratio is the middle one. Scales differ from run to run.</p>
${htmlTable(['run', 'network', 'data', 'seeds', 'test error before %', 'after %', 'values', 'non-zero %', 'file bytes', 'ratio'], rows)}
<h2>Settings that differ</h2>
${differences.length === 0 ? '<p>None.</p>' : htmlTable(['setting', ...runs.map(({ name }) => name)], differences.map((cells) => ({ cells })))}
${pictures.join('\n')}`;
  return htmlPage(`${runs.length} runs side by side`, `${runs.length} runs side by side`, body);
}

/** Rows of name and value in each run. */
export function differingSettings(runs: readonly NamedRun[]): string[][] {
  const flat = runs.map(({ record }) =>
    new Map(Object.entries(record.settings).flatMap(([section, values]) => Object.entries(values as object).map(([name, value]) => [`${section}.${name}`, JSON.stringify(value)] as const))),
  ); // prettier-ignore
  const names = [...new Set(flat.flatMap((settings) => [...settings.keys()]))];
  return names.map((name) => [name, ...flat.map((settings) => settings.get(name) ?? 'none')]).filter(([, ...values]) => new Set(values).size > 1);
}
