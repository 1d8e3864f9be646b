/** The plot of each part. */
import * as Plot from '@observablehq/plot';
import { panel, type Panel } from '../common/plots.js';
import type { SetName } from './data.js';
import { rowsOf, setsOf, type Row, type RunRecord } from './record.js';
import { PART_TITLES, type Part } from './settings.js';
import { bankLabel, labelOf } from './variants.js';

const SIZE = { width: 620, height: 380, marginLeft: 56, marginRight: 130, marginBottom: 44 };
const Y = { label: 'test error (%)', grid: true };
const COLOR = { scheme: 'Observable10' as const };

/** One for each set; of parts that have been trained. */
export function figuresOf(record: RunRecord): Panel[] {
  return record.parts.flatMap((part) => setsOf(record).flatMap((set) => {
    const rows = rowsOf(record, part, set);
    return rows.length === 0 ? [] : [figure(record, part, set, rows)];
  })); // prettier-ignore
}

function figure(record: RunRecord, part: Part, set: SetName, rows: Row[]): Panel {
  const subtitle = `${record.sets[set]!.origin}; ${record.seeds.length === 1 ? 'one seed' : `mean and range of ${record.seeds.length} seeds`}`;
  return panel(PART_TITLES[part], subtitle, { ...SIZE, ...plotOf(record, part, rows) });
}

function plotOf(record: RunRecord, part: Part, rows: Row[]): Plot.PlotOptions {
  switch (part) {
    case 'lru': {
      const points = rows.map((row) => ({ ...row, x: (row.spec as { recursions: number }).recursions, label: `${row.parameters.toLocaleString('en')} parameters` }));
      return { x: { type: 'log', label: 'recursions', ticks: record.settings.lru.recursions, tickFormat: String }, y: Y, marks: [Plot.line(points, { x: 'x', y: 'test', stroke: '#4c6a92' }), ...dots(points, '#4c6a92')] };
    }
    case 'templates': {
      const points = rows.map((row) => ({ ...row, x: row.parameters, label: labelOf(row.spec) }));
      return { x: { label: 'parameters', tickFormat: 's' }, y: Y, marks: dots(points, '#2a9d5c') };
    }
    case 'dynamic': {
      const points = rows.map((row) => ({ ...row, x: row.loops, label: labelOf(row.spec) }));
      const gated = ({ spec }: Row) => spec.part === 'dynamic' && spec.cost !== null;
      const fixed = points.filter((point) => !gated(point));
      return { x: { label: 'loops on average' }, y: Y, marks: [Plot.line(fixed, { x: 'x', y: 'test', stroke: '#4c6a92' }), ...dots(fixed, '#4c6a92'), ...dots(points.filter(gated), '#d1495b', 'left')] };
    }
    case 'banks': {
      const own = rows.filter(({ spec }) => spec.part === 'banks' && spec.bank === null);
      const points = rows.flatMap((row) => (row.spec.part === 'banks' && row.spec.bank !== null ? [{ ...row, budget: row.spec.bank.budget, label: bankLabel(row.spec.bank, row.spec.distilled) }] : []));
      const line = { x: 'budget', y: 'test', z: 'label', stroke: 'label' };
      return {
        marginRight: 240, color: COLOR, x: { type: 'log', label: 'weights for each number of the banks', ticks: record.settings.banks.budgets, tickFormat: (budget: number) => `1/${budget}` }, y: Y,
        marks: [
          Plot.ruleY(own, { y: 'test', stroke: '#222', strokeDasharray: '4 3' }), Plot.line(points, line), Plot.dot(points, { x: 'budget', y: 'test', fill: 'label', r: 4 }), ...lineNames(points),
          Plot.text(own, { y: 'test', text: () => 'own kernels', frameAnchor: 'left', dy: -8, textAnchor: 'start' }),
        ],
      }; // prettier-ignore
    }
    case 'eigen': {
      const points = rows.flatMap((row) => (row.spec.part === 'eigen' ? [{ ...row, ...row.spec, maps: `${row.spec.maps} maps` }] : []));
      // One layer begins both lines.
      const lines = (tied: boolean) => points.filter((point) => point.tied === tied || point.layers === 1);
      return {
        color: COLOR, insetLeft: 70, x: { type: 'log', label: 'parameters; layers beside the dots; solid: tied, dashed: untied', tickFormat: 's' }, y: Y,
        marks: [
          Plot.line(lines(true), { x: 'parameters', y: 'test', stroke: 'maps', z: 'maps' }), Plot.line(lines(false), { x: 'parameters', y: 'test', stroke: 'maps', z: 'maps', strokeDasharray: '4 3' }),
          Plot.dot(points, { x: 'parameters', y: 'test', fill: 'maps', r: 4 }), Plot.text(points, { x: 'parameters', y: 'test', text: (point: { layers: number }) => `${point.layers}`, dx: 8, textAnchor: 'start' }),
          Plot.text(points, Plot.selectFirst({ x: 'parameters', y: 'test', z: 'maps', text: 'maps', fill: 'maps', dx: -8, textAnchor: 'end' })),
        ],
      }; // prettier-ignore
    }
  }
}

/** The lines' names at their right ends, from top to bottom in the order of the lines, as far apart as letters are high. */
function lineNames(points: { budget: number; test: number; label: string }[]): Plot.Markish[] {
  const most = Math.max(...points.map(({ budget }) => budget));
  const ends = points.filter(({ budget }) => budget === most).sort((a, b) => b.test - a.test);
  return ends.map((end, i) => Plot.text([end], { text: 'label', fill: 'label', frameAnchor: 'right', dx: 12, dy: 15 * (i - (ends.length - 1) / 2), textAnchor: 'start' }));
}

/** Means with their labels, and the range over seeds as a line. */
function dots(points: (Row & { x: number; label: string })[], fill: string, side: 'left' | 'right' = 'right'): Plot.Markish[] {
  const beside = side === 'right' ? ({ dx: 8, textAnchor: 'start' } as const) : ({ dx: -8, textAnchor: 'end' } as const);
  return [Plot.ruleX(points, { x: 'x', y1: 'least', y2: 'greatest', stroke: fill, strokeOpacity: 0.5 }), Plot.dot(points, { x: 'x', y: 'test', fill, r: 4.5 }), Plot.text(points, { x: 'x', y: 'test', text: 'label', ...beside })];
}
