/** The report of a sweep: held-out error against ratio with the Pareto curve, and all trials in a table. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as Plot from '@observablehq/plot';
import { htmlPage, htmlTable } from '../common/html.js';
import { composePanels, panel, toPng, type Panel } from '../common/plots.js';
import { paretoFront, type FailedTrial, type TrialResult } from './trials.js';

export interface SweepRecord {
  example: string;
  network: string;
  origin: string;
  backend: string;
  vary: string[];
  /** At least one. */
  results: TrialResult[];
  failures: FailedTrial[];
}

export function writeSweepReport(record: SweepRecord, directory: string): { html: string; png: string } {
  const files = { html: join(directory, 'report.html'), png: join(directory, 'report.png') };
  writeFileSync(join(directory, 'sweep.json'), JSON.stringify(record));
  writeFileSync(files.html, renderSweep(record));
  writeFileSync(files.png, toPng(composePanels(headline(record), [[paretoPanel(record)]])));
  return files;
}

export function renderSweep(record: SweepRecord): string {
  const { svg } = paretoPanel(record);
  const front = new Set(paretoFront(record.results));
  const rows = [...record.results]
    .sort((a, b) => a.ratio - b.ratio)
    .map((r) => ({
      marked: front.has(r),
      cells: [...r.varied.map(valueOf), `${r.seed}`, r.baselineError.toFixed(2), r.retrainedError.toFixed(2), r.quantizedError.toFixed(2),
        `${r.fileBytes}`, `${r.ratio.toFixed(1)}×`, `${r.values}`, r.nonZeroPercent.toFixed(2), r.seconds.toFixed(0)],
    })); // prettier-ignore
  const head = [...record.vary.map(nameOf), 'seed', 'error before %', 'retrained %', 'quantised %', 'file bytes', 'ratio', 'values', 'non-zero %', 'seconds'];
  const body = `<p>Errors on held-out training images; the test images were not read. Green: no other trial is both smaller and better.</p>
<figure>${svg}</figure>
<h2>Trials</h2>
${htmlTable(head, rows)}${failureTable(record)}`;
  return htmlPage(`compression-sweep: ${headline(record)}`, headline(record), body);
}

function failureTable({ vary, failures }: SweepRecord): string {
  if (failures.length === 0) return '';
  const rows = failures.map(({ varied, seed, reason }) => ({ cells: [...varied.map(valueOf), `${seed}`, reason] }));
  return `\n<h2>Trials that failed</h2>\n${htmlTable([...vary.map(nameOf), 'seed', 'reason'], rows, { text: true })}`;
}

function headline({ network, origin, backend, results }: SweepRecord): string {
  return `${network} on ${origin}, ${backend}: ${results.length} trials`;
}

/** A colour per value of the first setting that varies. */
function paretoPanel(record: SweepRecord): Panel {
  const front = paretoFront(record.results);
  const points = record.results.map((r) => ({ ...r, group: r.varied.length > 0 ? valueOf(r.varied[0]) : 'all' }));
  const errors = points.map((p) => p.quantizedError);
  const baseline = median(points.map((p) => p.baselineError));
  // A trial that failed to converge would flatten all others: it is drawn at the edge.
  const top = Math.max(baseline, Math.min(Math.max(...errors), 3 * median(errors))) * 1.1;
  const low = Math.min(baseline, ...errors) * 0.9;
  const widest = Math.max(...points.map((p) => p.ratio));
  const groups = [...new Set(points.map((p) => p.group))];
  return panel('Error against ratio', `Line: Pareto curve. Colours: ${record.vary.length > 0 ? nameOf(record.vary[0]) : 'none'}. Dashed: before compression (${baseline.toFixed(2)} %).`, {
    width: 900, height: 480, marginLeft: 60, marginRight: 120, marginBottom: 42,
    x: { label: 'ratio (×)', domain: [0, 1.05 * widest], grid: true },
    y: { label: 'held-out error (%)', domain: [low, top], grid: true, clamp: true },
    color: { type: 'ordinal', domain: groups, scheme: 'viridis' },
    marks: [
      Plot.ruleY([baseline], { stroke: '#888', strokeDasharray: '4 3' }),
      Plot.line(front, { x: 'ratio', y: 'quantizedError', stroke: '#2a9d5c', strokeWidth: 2 }),
      Plot.dot(points, { x: 'ratio', y: 'quantizedError', fill: 'group', r: 5 }),
      Plot.dot(groups.map((group, i) => ({ group, i })), { x: 1.07 * widest, y: (d: { i: number }) => top - ((top - low) * (d.i + 0.5)) / 16, fill: 'group', r: 5, clip: false }),
      Plot.text(groups.map((group, i) => ({ group, i })), { x: 1.07 * widest, y: (d: { i: number }) => top - ((top - low) * (d.i + 0.5)) / 16, text: 'group', textAnchor: 'start', dx: 9 }),
    ],
  }); // prettier-ignore
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[(sorted.length - 1) >> 1];
}

const nameOf = (axis: string) => axis.slice(axis.indexOf('.') + 1, axis.indexOf('='));
const valueOf = (assignment: string) => assignment.slice(assignment.indexOf('=') + 1);
