/** The pictures of the report, from the record alone. */
import * as Plot from '@observablehq/plot';
import { endLabels, memoryPanel, residualPanel } from '../common/deq_figures.js';
import { panel, type Panel } from '../common/plots.js';
import { median } from '../common/variant_runs.js';
import { runsOf, type RunRecord } from './record.js';
import { LABELS, VARIANTS, type VariantName } from './settings.js';

const WIDTH = 620;
const HEIGHT = 320;
const MARGINS = { marginLeft: 66, marginRight: 120, marginBottom: 42, marginTop: 22 };
const COLORS: Record<VariantName, string> = { equilibrium: '#2a9d5c', tied: '#4c6a92', explicit: '#d1495b' };

export const figureRows = (record: RunRecord): Panel[][] => [[residuals(record), memory(record)], [learningCurves(record), testErrors(record)]];

function residuals(record: RunRecord): Panel {
  const [run] = runsOf(record, 'equilibrium');
  return residualPanel(run.residuals, record.settings.solver.tolerance, 'a held-out batch');
}

function memory(record: RunRecord): Panel {
  const lines = (['equilibrium', 'tied'] as const).map((variant) => ({ label: LABELS[variant], color: COLORS[variant], memory: runsOf(record, variant)[0].memory }));
  return memoryPanel(lines, `${record.settings.training.batchSize} images`);
}

/** Of the seed whose test error is the middle one. */
function learningCurves(record: RunRecord): Panel {
  const lines = VARIANTS.map((variant) => {
    const runs = [...runsOf(record, variant)].sort((a, b) => a.testError - b.testError);
    return { variant, points: runs[(runs.length - 1) >> 1].epochs.map(({ epoch, validation }) => ({ x: epoch, y: validation })) };
  });
  // The first epochs would flatten the rest.
  const [worst, best] = [Math.max, Math.min].map((of) => of(...lines.flatMap(({ points }) => points.map(({ y }) => y))));
  const top = Math.min(worst, 5 * best) || 1;
  return panel('Held-out error', 'By epoch. Above the frame where the line leaves it.', {
    width: WIDTH, height: HEIGHT, ...MARGINS,
    x: { label: 'epoch', ticks: Math.min(12, record.settings.training.epochs), tickFormat: 'd' },
    y: { label: 'error (%)', domain: [0, top], grid: true },
    marks: [
      ...lines.map(({ variant, points }) => Plot.line(points, { x: 'x', y: 'y', stroke: COLORS[variant], strokeWidth: 1.8, clip: true })),
      ...endLabels(lines.map(({ variant, points }) => ({ ...points[points.length - 1], label: LABELS[variant], color: COLORS[variant] })), (y) => y / top),
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
