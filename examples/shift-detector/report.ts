/** The report: right answers by method, and the weights of one network of each as squares. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as Plot from '@observablehq/plot';
import { htmlFigures, htmlPage, htmlTable } from '../common/html.js';
import { composePanels, panel, toPng, type Panel } from '../common/plots.js';
import { mean, summarize, type MethodRecord, type RunRecord } from './record.js';
import { PLACES } from './task.js';

const WIDTH = 460;

export function writeReport(record: RunRecord, directory: string): { html: string; png: string } {
  const files = { html: join(directory, 'report.html'), png: join(directory, 'report.png') };
  writeFileSync(files.html, renderHtml(record));
  writeFileSync(files.png, toPng(composePanels(headline(record), figures(record))));
  return files;
}

export function headline(record: RunRecord): string {
  const summary = summarize(record);
  return `Test cases right: ${record.methods.map(({ method }) => `${summary[method].test.toFixed(1)} % ${method}`).join('; ')}`;
}

export function renderHtml(record: RunRecord): string {
  const { settings, seeds, methods, backend } = record;
  const rows = methods.flatMap(({ method, trials, chosen }) =>
    trials.map(({ strength, fitted }, i) => ({
      marked: i === chosen,
      cells: [method, `${strength}`, ...(['validation', 'test'] as const).map((kind) => (kind === 'test' && i !== chosen ? '' : mean(fitted.map((f) => f[kind])).toFixed(1))),
        i === chosen ? `${Math.min(...fitted.map((f) => f.test)).toFixed(1)} … ${Math.max(...fitted.map((f) => f.test)).toFixed(1)}` : ''],
    })),
  ); // prettier-ignore
  const body = `<p>Ten bits and the same ten shifted by one place round the ends: to which side? ${settings.cases.train} cases to train, ${settings.cases.validation} to choose strength and epoch by,
${settings.cases.test} to test; 20 inputs, ${settings.hidden} hidden units, one output, ${seeds.length} seeds for cases and initial weights alike. Backend: ${backend}.</p>
${htmlFigures(figures(record).flat())}
<h2>Percent right, mean over seeds</h2>
${htmlTable(['method', 'L2 penalty or τ', 'validation', 'test', 'test, least … most'], rows)}
<h2>Settings</h2>
<pre>${JSON.stringify(settings, null, 2)}</pre>`;
  return htmlPage(`shift-detector: ${headline(record)}`, headline(record), body);
}

function figures(record: RunRecord): Panel[][] {
  const panels = record.methods.map(weightPicture);
  return [panels.slice(0, 2), panels.slice(2)];
}

/** Area by size, green above zero, red below; a column a hidden unit, a row an input. */
function weightPicture({ method, trials, chosen }: MethodRecord): Panel {
  const [{ hidden, test }] = trials[chosen].fitted;
  const units = hidden.length / (2 * PLACES);
  const cells = hidden.map((weight, i) => ({ unit: (i % units) + 1, input: Math.floor(i / units) + 1, size: Math.abs(weight), sign: weight > 0 ? '#2a9d5c' : '#d1495b' }));
  return panel(method, `Weights of the hidden units, first seed, ${test.toFixed(1)} % of the test cases right. Green: above zero.`, {
    width: WIDTH, height: 560, marginLeft: 50, marginRight: 20, marginTop: 20, marginBottom: 40,
    x: { label: 'hidden unit', domain: Array.from({ length: units }, (_, i) => i + 1) },
    y: { label: 'input', domain: Array.from({ length: 2 * PLACES }, (_, i) => i + 1), type: 'point' },
    r: { range: [0, 11] },
    marks: [Plot.dot(cells, { x: 'unit', y: 'input', r: 'size', fill: 'sign', symbol: 'square' }), Plot.ruleY([PLACES], { dy: 12, stroke: '#bbb' })],
  }); // prettier-ignore
}
