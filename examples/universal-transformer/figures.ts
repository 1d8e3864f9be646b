/** The pictures of the report, from the record alone. */
import * as Plot from '@observablehq/plot';
import { panel, type Panel } from '../common/plots.js';
import { mean, runsOf, type RunRecord } from './record.js';
import { LABELS, MODELS, type ModelName, type Task } from './settings.js';

const WIDTH = 460;
const HEIGHT = 300;
const MARGINS = { marginLeft: 52, marginRight: 20, marginBottom: 42, marginTop: 22 };
const COLORS: Record<ModelName, string> = { lstm: '#888888', transformer: '#d1495b', universal: '#4c6a92', adaptive: '#2a9d5c' };
const color = { type: 'ordinal' as const, domain: [...MODELS], range: MODELS.map((model) => COLORS[model]) };

export const figureRows = (record: RunRecord): Panel[][] => record.settings.data.tasks.map((task) => [byLength(record, task), training(record, task), ponder(record, task)]);

const rise = (text: string) => text[0].toUpperCase() + text.slice(1);

function byLength(record: RunRecord, task: Task): Panel {
  const { trainLength } = record.settings.data;
  const points = MODELS.flatMap((model) => {
    const groups = runsOf(record, task, model).map(({ accuracies }) => accuracies);
    return groups[0].map(({ length }, i) => ({ model, length: length ?? trainLength, character: mean(groups.map((all) => 100 * all[i].character)) }));
  });
  // Below the lines, which fall with the length.
  const names = MODELS.map((model, i) => ({ model, x: trainLength, y: 5 + 7 * (MODELS.length - 1 - i) }));
  return panel(`${rise(task)}: symbols right`, `By length of the question; trained on up to ${trainLength} (there: mean of all lengths).`, {
    width: WIDTH, height: HEIGHT, ...MARGINS, color,
    x: { label: 'symbols of the question', tickFormat: 'd' },
    y: { label: '%', domain: [0, 105], grid: true },
    marks: [
      Plot.ruleX([trainLength], { stroke: '#bbb', strokeDasharray: '4 3' }),
      Plot.line(points, { x: 'length', y: 'character', z: 'model', stroke: 'model', strokeWidth: 1.8 }),
      Plot.dot(points, { x: 'length', y: 'character', fill: 'model', r: 3 }),
      // Plot's legends are HTML, which an SVG cannot hold.
      Plot.text(names, { x: 'x', y: 'y', text: ({ model }: { model: ModelName }) => LABELS[model], fill: 'model', fontWeight: 'bold', textAnchor: 'start', dx: 6, stroke: 'white', strokeWidth: 4 }),
    ],
  }); // prettier-ignore
}

/** Checkpoints of the first seed. */
const checkpointsOf = (record: RunRecord, task: Task, model: ModelName) => runsOf(record, task, model)[0].checkpoints.map((checkpoint) => ({ ...checkpoint, model }));

function training(record: RunRecord, task: Task): Panel {
  const points = MODELS.flatMap((model) => checkpointsOf(record, task, model));
  return panel(`${rise(task)}: training`, 'Symbols right at the held-out lengths, by step of training; first seed.', {
    width: WIDTH, height: HEIGHT, ...MARGINS, color,
    x: { label: 'step', ticks: 5 },
    y: { label: '%', domain: [0, 105], grid: true },
    marks: [Plot.line(points, { x: 'step', y: ({ heldOut }: { heldOut: number }) => 100 * heldOut, z: 'model', stroke: 'model', strokeWidth: 1.8 })],
  }); // prettier-ignore
}

function ponder(record: RunRecord, task: Task): Panel {
  const points = checkpointsOf(record, task, 'adaptive');
  const { steps } = record.settings.adaptive;
  return panel(`${rise(task)}: steps in depth`, `Mean of all positions of a training batch; at most ${steps}. First seed.`, {
    width: WIDTH, height: HEIGHT, ...MARGINS,
    x: { label: 'step of training', ticks: 5 },
    y: { label: 'steps in depth', domain: [0, steps + 0.5], grid: true },
    marks: [Plot.ruleY([2], { stroke: '#bbb', strokeDasharray: '4 3' }), Plot.line(points, { x: 'step', y: 'ponder', stroke: COLORS.adaptive, strokeWidth: 1.8 })],
  }); // prettier-ignore
}
