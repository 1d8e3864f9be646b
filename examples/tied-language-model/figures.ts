/** The pictures of the report, from the record alone. */
import * as Plot from '@observablehq/plot';
import { panel, type Panel } from '../common/plots.js';
import { median } from '../common/variant_runs.js';
import { runsOf, type RunRecord } from './record.js';
import { VARIANTS, type VariantName } from './settings.js';

const WIDTH = 620;
const HEIGHT = 320;
const MARGINS = { marginLeft: 66, marginRight: 24, marginBottom: 42, marginTop: 22 };
const COLORS: Record<VariantName, string> = { untied: '#888888', tied: '#4c6a92', augmented: '#2a9d5c' };
export const LABELS: Record<VariantName, string> = { untied: 'untied', tied: 'tied', augmented: 'tied, augmented loss' };

export const figureRows = (record: RunRecord): Panel[][] => [[learningCurves(record), testPerplexities(record)], [trainingLosses(record), parameters(record)]];

const color = { type: 'ordinal' as const, domain: [...VARIANTS], range: VARIANTS.map((variant) => COLORS[variant]) };

/** One row per epoch, of the seed whose result is the middle one. */
function epochs(record: RunRecord) {
  return VARIANTS.flatMap((variant) => {
    const runs = [...runsOf(record, variant)].sort((a, b) => a.perplexity.test - b.perplexity.test);
    const run = runs[(runs.length - 1) >> 1];
    return run.epochs.map((epoch) => ({ ...epoch, variant, kept: epoch.validation === Math.min(...run.epochs.map((e) => e.validation)) }));
  });
}

function learningCurves(record: RunRecord): Panel {
  const rows = epochs(record);
  // The first epochs would flatten the rest.
  const best = Math.min(...rows.map((row) => row.validation));
  const top = Math.min(Math.max(...rows.map((row) => row.validation)), 2 * best);
  return panel('Held-out perplexity', 'By epoch; the dot marks the epoch that was kept. Above the frame where the line leaves it.', {
    width: WIDTH, height: HEIGHT, ...MARGINS, color,
    x: { label: 'epoch', ticks: Math.min(12, Math.max(...rows.map((row) => row.epoch))), tickFormat: 'd' },
    y: { label: 'perplexity', domain: [0.97 * best, top], grid: true },
    marks: [
      Plot.line(rows, { x: 'epoch', y: 'validation', z: 'variant', stroke: 'variant', strokeWidth: 1.8, clip: true }),
      Plot.dot(rows.filter((row) => row.kept), { x: 'epoch', y: 'validation', fill: 'variant', r: 4.5 }),
      ...endLabels(rows.filter((row) => row.kept).map((row) => ({ x: row.epoch, y: row.validation, variant: row.variant }))),
    ],
  });
}

function trainingLosses(record: RunRecord): Panel {
  const rows = epochs(record).filter(({ variant }) => variant !== 'augmented');
  return panel('Training loss', 'Cross-entropy per token by epoch, with dropout. The augmented loss is another quantity and is left out.', {
    width: WIDTH, height: HEIGHT, ...MARGINS, color,
    x: { label: 'epoch', ticks: Math.min(12, Math.max(...rows.map((row) => row.epoch))), tickFormat: 'd' },
    y: { label: 'nats', grid: true },
    marks: [
      Plot.line(rows, { x: 'epoch', y: 'loss', z: 'variant', stroke: 'variant', strokeWidth: 1.8 }),
      ...endLabels(VARIANTS.filter((variant) => variant !== 'augmented').map((variant) => lastOf(rows.filter((row) => row.variant === variant)))),
    ],
  });
}

const lastOf = (rows: { epoch: number; loss: number; variant: VariantName }[]) => {
  const { epoch, loss, variant } = rows[rows.length - 1];
  return { x: epoch, y: loss, variant };
};

/** Plot's legends are HTML, which an SVG cannot hold: the lines are labelled themselves. */
const endLabels = (points: { x: number; y: number; variant: VariantName }[]) => [
  Plot.text(points, {
    x: 'x', y: 'y', text: (point: (typeof points)[number]) => LABELS[point.variant], fill: 'variant', fontWeight: 'bold',
    textAnchor: 'end', dx: -6, dy: -12, stroke: 'white', strokeWidth: 4,
  }),
];

function bars(title: string, subtitle: string, rows: { variant: VariantName; value: number; label: string }[], unit: string): Panel {
  const named = rows.map((row) => ({ ...row, name: LABELS[row.variant] }));
  return panel(title, subtitle, {
    width: WIDTH, height: 220, ...MARGINS, marginLeft: 150, marginRight: 150, color,
    x: { label: unit, grid: true, nice: true },
    y: { label: null, domain: named.map(({ name }) => name) },
    marks: [
      Plot.barX(named, { x: 'value', y: 'name', fill: 'variant', insetTop: 6, insetBottom: 6 }),
      Plot.text(named, { x: 'value', y: 'name', text: 'label', textAnchor: 'start', dx: 5 }),
      Plot.ruleX([0]),
    ],
  });
}

function testPerplexities(record: RunRecord): Panel {
  const rows = VARIANTS.map((variant) => {
    const value = median(runsOf(record, variant).map(({ perplexity }) => perplexity.test));
    return { variant, value, label: value.toFixed(2) };
  });
  const of = record.seeds.length === 1 ? 'One seed' : `Medians of ${record.seeds.length} seeds`;
  return bars('Test perplexity', `${of}; the test text was read once, at the end. Less is better.`, rows, 'perplexity');
}

function parameters(record: RunRecord): Panel {
  const rows = VARIANTS.map((variant) => {
    const value = runsOf(record, variant)[0].parameters;
    return { variant, value, label: value.toLocaleString('en') };
  });
  return bars('Parameters', `All trainable numbers; a tied model has ${record.data.vocabulary} × ${record.settings.model.width} fewer.`, rows, 'parameters');
}
