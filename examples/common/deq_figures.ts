/** Pictures that reports of equilibria have in common: residuals by iteration, memory by depth. */
import * as Plot from '@observablehq/plot';
import type { MemoryAtDepth, SolverTrace } from './deq_measure.js';
import { panel, type Panel } from './plots.js';

const SIZE = { width: 620, height: 320, marginLeft: 66, marginRight: 120, marginBottom: 42, marginTop: 22 };
const SOLVER_COLORS = ['#d1495b', '#2a9d5c', '#4c6a92'];
const MIB = 2 ** 20;

interface End {
  x: number;
  y: number;
  label: string;
  color: string;
}

/** Pixels between labels one above the other, and of the frame of these panels from bottom to top. */
const [LINE, FRAME] = [14, SIZE.height - SIZE.marginTop - SIZE.marginBottom];

/**
 * Plot's legends are HTML, which an SVG cannot hold: a label stands at the right end of each line, lower than its end where another stands there.
 * @param heightOf how high in the frame a y is, from 0 to 1.
 */
export function endLabels(points: readonly End[], heightOf: (y: number) => number): Plot.Markish[] {
  let above = -Infinity;
  return [...points].sort((a, b) => b.y - a.y).map((point) => {
    const own = FRAME * (1 - heightOf(point.y));
    above = Math.max(own, above + LINE);
    return Plot.text([point], { x: 'x', y: 'y', text: 'label', fill: 'color', textAnchor: 'start', fontWeight: 'bold', dx: 8, dy: above - own });
  }); // prettier-ignore
}

/** Relative residual by iteration, one line a solver, with the tolerance of training dashed. */
export function residualPanel(traces: readonly SolverTrace[], tolerance: number, of: string): Panel {
  const lines = traces.map(({ solver, values }, i) => ({ solver, color: SOLVER_COLORS[i], points: values.map((value, k) => ({ x: k + 1, y: Math.max(value, 1e-9) })) }));
  const logs = lines.flatMap(({ points }) => points.map(({ y }) => Math.log10(y)));
  const [low, high] = [Math.min(...logs, Math.log10(tolerance)), Math.max(...logs, Math.log10(tolerance))];
  return panel('Residual', `‖f(z) − z‖ / ‖f(z)‖ by iteration, mean over ${of}. Dashed: the tolerance.`, {
    ...SIZE,
    x: { label: 'evaluations of the cell' },
    y: { label: 'relative residual', type: 'log', grid: true, tickFormat: '~e', ticks: 6 },
    marks: [
      Plot.ruleY([tolerance], { strokeDasharray: '4 4', stroke: '#888' }),
      ...lines.map(({ points, color }) => Plot.line(points, { x: 'x', y: 'y', stroke: color, strokeWidth: 1.8 })),
      ...endLabels(lines.map(({ solver, color, points }) => ({ ...points[points.length - 1], label: solver, color })), (y) => (Math.log10(y) - low) / (high - low)),
    ],
  }); // prettier-ignore
}

/** Peak memory of a step by evaluations of the cell. */
export function memoryPanel(lines: readonly { label: string; color: string; memory: readonly MemoryAtDepth[] }[], of: string): Panel {
  const drawn = lines.map(({ memory, ...line }) => ({ ...line, points: memory.map(({ depth, bytes }) => ({ x: depth, y: bytes / MIB })) }));
  const most = Math.max(...drawn.flatMap(({ points }) => points.map(({ y }) => y)));
  return panel('Memory', `Peak of a training step on ${of} by evaluations of the cell.`, {
    ...SIZE,
    x: { label: 'evaluations of the cell' },
    y: { label: 'MiB', zero: true, grid: true },
    marks: [
      ...drawn.flatMap(({ color, points }) => [Plot.line(points, { x: 'x', y: 'y', stroke: color, strokeWidth: 1.8 }), Plot.dot(points, { x: 'x', y: 'y', fill: color, r: 3.5 })]),
      ...endLabels(drawn.map(({ label, color, points }) => ({ ...points[points.length - 1], label, color })), (y) => y / most),
      Plot.ruleY([0]),
    ],
  }); // prettier-ignore
}
