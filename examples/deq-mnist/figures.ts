/** The pictures of the report, from the record alone. */
import * as Plot from '@observablehq/plot';
import { panel, type Panel } from '../common/plots.js';
import { median } from '../common/variant_runs.js';
import { MIB, runsOf, type RunRecord } from './record.js';
import { LABELS, VARIANTS, type VariantName } from './settings.js';

const WIDTH = 620;
const HEIGHT = 320;
const MARGINS = { marginLeft: 66, marginRight: 120, marginBottom: 42, marginTop: 22 };
const COLORS: Record<VariantName, string> = { equilibrium: '#2a9d5c', tied: '#4c6a92', explicit: '#d1495b' };
const SOLVER_COLORS = ['#d1495b', '#2a9d5c', '#4c6a92'];

export const figureRows = (record: RunRecord): Panel[][] => [[residuals(record), memory(record)], [learningCurves(record), testErrors(record)]];

/** Plot's legends are HTML, which an SVG cannot hold: a label stands at the right end of each line. */
const endLabels = (points: { x: number; y: number; label: string; color: string }[]) =>
  Plot.text(points, { x: 'x', y: 'y', text: 'label', fill: 'color', textAnchor: 'start', fontWeight: 'bold', dx: 8 });

function residuals(record: RunRecord): Panel {
  const [run] = runsOf(record, 'equilibrium');
  const lines = run.residuals.map(({ solver, values }, i) => ({ solver, color: SOLVER_COLORS[i], points: values.map((value, k) => ({ x: k + 1, y: Math.max(value, 1e-9) })) }));
  return panel('Residual', `‖f(z) − z‖ / ‖f(z)‖ by iteration, mean over a batch of held-out images, seed ${run.seed}. Dashed: the tolerance of training.`, {
    width: WIDTH, height: HEIGHT, ...MARGINS,
    x: { label: 'evaluations of the cell' },
    y: { label: 'relative residual', type: 'log', grid: true, tickFormat: '~e', ticks: 6 },
    marks: [
      Plot.ruleY([record.settings.solver.tolerance], { strokeDasharray: '4 4', stroke: '#888' }),
      ...lines.map(({ points, color }) => Plot.line(points, { x: 'x', y: 'y', stroke: color, strokeWidth: 1.8 })),
      endLabels(lines.map(({ solver, color, points }) => ({ ...points[points.length - 1], label: solver, color }))),
    ],
  }); // prettier-ignore
}

function memory(record: RunRecord): Panel {
  const lines = (['equilibrium', 'tied'] as const).map((variant) => ({ variant, points: runsOf(record, variant)[0].memory.map(({ depth, bytes }) => ({ x: depth, y: bytes / MIB })) }));
  return panel('Memory', `Peak of a training step on ${record.settings.training.batchSize} images by evaluations of the cell.`, {
    width: WIDTH, height: HEIGHT, ...MARGINS,
    x: { label: 'evaluations of the cell' },
    y: { label: 'MiB', zero: true, grid: true },
    marks: [
      ...lines.flatMap(({ variant, points }) => [Plot.line(points, { x: 'x', y: 'y', stroke: COLORS[variant], strokeWidth: 1.8 }), Plot.dot(points, { x: 'x', y: 'y', fill: COLORS[variant], r: 3.5 })]),
      endLabels(lines.map(({ variant, points }) => ({ ...points[points.length - 1], label: LABELS[variant], color: COLORS[variant] }))),
      Plot.ruleY([0]),
    ],
  }); // prettier-ignore
}

/** Of the seed whose test error is the middle one. */
function learningCurves(record: RunRecord): Panel {
  const lines = VARIANTS.map((variant) => {
    const runs = [...runsOf(record, variant)].sort((a, b) => a.testError - b.testError);
    return { variant, points: runs[(runs.length - 1) >> 1].epochs.map(({ epoch, validation }) => ({ x: epoch, y: validation })) };
  });
  // The first epochs would flatten the rest.
  const [worst, best] = [Math.max, Math.min].map((of) => of(...lines.flatMap(({ points }) => points.map(({ y }) => y))));
  return panel('Held-out error', 'By epoch. Above the frame where the line leaves it.', {
    width: WIDTH, height: HEIGHT, ...MARGINS,
    x: { label: 'epoch', ticks: Math.min(12, record.settings.training.epochs), tickFormat: 'd' },
    y: { label: 'error (%)', domain: [0, Math.min(worst, 5 * best) || 1], grid: true },
    marks: [
      ...lines.map(({ variant, points }) => Plot.line(points, { x: 'x', y: 'y', stroke: COLORS[variant], strokeWidth: 1.8, clip: true })),
      endLabels(lines.map(({ variant, points }) => ({ ...points[points.length - 1], label: LABELS[variant], color: COLORS[variant] }))),
      Plot.ruleY([0]),
    ],
  }); // prettier-ignore
}

function testErrors(record: RunRecord): Panel {
  const rows = VARIANTS.map((variant) => {
    const runs = runsOf(record, variant);
    const value = median(runs.map(({ testError }) => testError));
    return { name: LABELS[variant], color: COLORS[variant], value, label: `${value.toFixed(2)} %, ${runs[0].parameters.toLocaleString('en')} parameters` };
  });
  return panel('Test error', `${record.seeds.length === 1 ? 'One seed' : `Medians of ${record.seeds.length} seeds`}; the test images were read once, at the end.`, {
    width: WIDTH, height: 220, ...MARGINS, marginLeft: 110, marginRight: 210,
    x: { label: 'error (%)', grid: true, nice: true },
    y: { label: null, domain: rows.map(({ name }) => name) },
    marks: [
      Plot.barX(rows, { x: 'value', y: 'name', fill: 'color', insetTop: 6, insetBottom: 6 }),
      Plot.text(rows, { x: 'value', y: 'name', text: 'label', textAnchor: 'start', dx: 5 }),
      Plot.ruleX([0]),
    ],
  }); // prettier-ignore
}
