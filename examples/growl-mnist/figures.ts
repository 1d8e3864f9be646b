/** The pictures of the report. */
import * as Plot from '@observablehq/plot';
import { panel, type Panel } from '../common/plots.js';
import { NETWORK_TITLES, type NetworkName } from './networks.js';
import type { CorrelatedResult } from './correlated.js';
import type { NetworkResult, RunRecord } from './record.js';
import { METHOD_TITLES, METHODS, type Method } from './settings.js';

const WIDTH = 620;
const HEIGHT = 340;
const MARGINS = { marginLeft: 60, marginRight: 120, marginBottom: 42, marginTop: 22 };
const COLORS: Record<Method, string> = { plain: '#888888', weightDecay: '#d08c2f', groupLasso: '#4c6a92', growl: '#d1495b', growlL2: '#2a9d5c' };

type Options = Plot.PlotOptions & { width: number; height: number };
const frame: Options = { width: WIDTH, height: HEIGHT, ...MARGINS };

export function figureRows(record: RunRecord): Panel[][] {
  const shown = (['mlp', 'lenet', 'vgg'] as const).filter((network) => record.networks.some((result) => result.network === network));
  return [
    ...shown.flatMap((network) => networkRows(record, network)),
    record.correlated.length > 0 ? [recoveredGroups(record)] : [],
    record.correlated.map(correlatedHeat),
    record.correlated.map(foundGroups),
    record.pareto.length > 0 ? [pareto(record)] : [],
  ].filter((row) => row.length > 0);
}

function networkRows(record: RunRecord, network: NetworkName): Panel[][] {
  const own = record.networks.filter((result) => result.network === network);
  const first = own.filter(({ seed }) => seed === own[0].seed);
  const pictured = ['groupLasso', 'growlL2'].flatMap((method) => first.filter((result) => result.method === method));
  return [
    [errorByRatio(record, network), rowNorms(first, network)],
    pictured.map(heatMap),
    network === 'vgg' ? [] : pictured.map(pixelClusters),
  ];
}

const stroke = ({ method }: { method: Method }) => COLORS[method];

function errorByRatio({ networks }: RunRecord, network: NetworkName): Panel {
  const points = networks.filter((result) => result.network === network);
  const largest = METHODS.flatMap((method) => points.filter((point) => point.method === method).sort((a, b) => b.ratio - a.ratio).slice(0, 1));
  // Methods that end at about the same place would stand on one another.
  const nudged = (of: boolean) => Plot.text(largest.filter(({ method }) => (method === 'growl') === of), { x: 'ratio', y: 'testError', text: ({ method }: NetworkResult) => METHOD_TITLES[method], fill: stroke, textAnchor: 'start', dx: 8, dy: of ? -9 : 4 });
  return panel(`${NETWORK_TITLES[network]}: error and size`, 'Test error against the ratio of file bytes; a dot a seed.', {
    ...frame,
    x: { label: 'float32 bytes over file bytes', type: 'log', grid: true, domain: [0.9, 1.3 * Math.max(...points.map(({ ratio }) => ratio))], tickFormat: (x: number) => (/^[125]/.test(String(x)) ? `${x}×` : '') },
    y: { label: 'test error (%)', grid: true, nice: true, zero: true },
    marks: [
      Plot.dot(points, { x: 'ratio', y: 'testError', fill: stroke, r: 4, fillOpacity: 0.75 }),
      nudged(true),
      nudged(false),
    ],
  });
}

function rowNorms(results: NetworkResult[], network: NetworkName): Panel {
  const { layer, rows } = results[0].layers[0];
  const points = results.flatMap(({ method, layers }) => layers[0].norms.map((norm, rank) => ({ method, rank: rank + 1, norm })));
  // Lines cross; names stand beside the left ends, from the largest norm down.
  const names = results.map(({ method, layers }) => ({ method, norm: layers[0].norms[0] })).sort((a, b) => b.norm - a.norm);
  const top = names[0].norm;
  return panel(`${NETWORK_TITLES[network]}: row norms`, `Norms of the ${rows} rows of ${layer} after the first stage, by rank; flat parts are pooled.`, {
    ...frame,
    x: { label: 'rank' },
    y: { label: 'norm', grid: true, zero: true },
    marks: [
      Plot.line(points, { x: 'rank', y: 'norm', z: 'method', stroke, strokeWidth: 1.8 }),
      Plot.text(names.map((name, i) => ({ ...name, x: 1.02 * rows, y: top * (1 - 0.08 * i) })), { x: 'x', y: 'y', text: ({ method }: { method: Method }) => METHOD_TITLES[method], fill: stroke, textAnchor: 'start', clip: false }),
    ],
  }); // prettier-ignore
}

/** Similarities as cells; blue is none, dark red 1. */
function cells(title: string, subtitle: string, matrix: readonly (readonly number[])[]): Panel {
  const data = matrix.flatMap((row, i) => row.map((value, j) => ({ i, j, value })));
  return panel(title, subtitle, {
    width: WIDTH, height: 420, marginLeft: 20, marginRight: 216, marginTop: 10, marginBottom: 20,
    x: { axis: null }, y: { axis: null },
    color: { type: 'linear', domain: [0, 1], clamp: true, scheme: 'YlOrRd' },
    marks: [Plot.cell(data, { x: 'j', y: 'i', fill: 'value', inset: -0.3 })],
  }); // prettier-ignore
}

function heatMap({ network, method, layers: [{ layer, similarity, live, distinct }] }: NetworkResult): Panel {
  const part = similarity.length < live ? `${similarity.length} of ${live}` : `all ${live}`;
  return cells(`${METHOD_TITLES[method]}: similarity of rows`, `${NETWORK_TITLES[network]}, ${layer}: ${part} live rows, those of the largest of ${distinct} clusters first; dark: alike.`, similarity);
}

/** A colour for each cluster, neighbours in number far apart on the wheel. */
const clusterColor = (label: number): string => (label < 0 ? '#efefef' : `hsl(${Math.round(label * 137.5) % 360} ${55 + (label % 3) * 15}% ${38 + (label % 4) * 9}%)`);

function pixelClusters({ network, method, layers: [{ labels, distinct, live }] }: NetworkResult): Panel {
  const size = Math.round(Math.sqrt(labels.length));
  const data = labels.map((label, i) => ({ x: i % size, y: Math.floor(i / size), label }));
  return panel(`${METHOD_TITLES[method]}: tied pixels`, `${NETWORK_TITLES[network]}: pixels of one colour share a row (${distinct} rows for ${live} pixels); grey ones are not read.`, {
    width: WIDTH, height: 420, marginLeft: 20, marginRight: 216, marginTop: 10, marginBottom: 20,
    x: { axis: null }, y: { axis: null },
    marks: [Plot.cell(data, { x: 'x', y: 'y', fill: ({ label }: { label: number }) => clusterColor(label), inset: -0.3 })],
  }); // prettier-ignore
}

function recoveredGroups({ correlated }: RunRecord): Panel {
  const points = correlated.flatMap(({ method, trials }) => trials.map((trial) => ({ method: method as Method, ...trial })));
  const chosen = points.filter((point) => point.chosen);
  return panel('Correlated inputs: groups recovered', 'Adjusted Rand index against the truth, by held-out loss; rings: the trial chosen by that loss.', {
    ...frame,
    x: { label: 'held-out loss after both stages', grid: true, nice: true },
    y: { label: 'adjusted Rand index', domain: [0, 1.02], grid: true },
    marks: [
      Plot.dot(points, { x: 'validationLoss', y: 'adjustedRandIndex', fill: stroke, r: 4 }),
      Plot.dot(chosen, { x: 'validationLoss', y: 'adjustedRandIndex', stroke, r: 8, strokeWidth: 1.5 }),
      Plot.text(chosen, { x: 'validationLoss', y: 'adjustedRandIndex', text: ({ method }: { method: Method }) => METHOD_TITLES[method], fill: stroke, textAnchor: 'start', dx: 13, dy: 10 }),
    ],
  });
}

function correlatedHeat({ method, similarity }: CorrelatedResult): Panel {
  return cells(`${METHOD_TITLES[method]}: similarity of rows`, 'Correlated inputs, copies in the order of the truth: blocks on the diagonal are the factors.', similarity);
}

function foundGroups({ method, labels, truth, pairsTied, pairsRight }: CorrelatedResult): Panel {
  const copies = truth.filter((factor) => factor === 0).length;
  const data = labels.flatMap((label, i) => (truth[i] < 0 ? [] : [{ factor: truth[i] + 1, copy: (i % copies) + 1, label }]));
  return panel(`${METHOD_TITLES[method]}: groups`, `Copies of each factor, by colour of their cluster: ${percent(pairsTied)} of the pairs tied, ${percent(pairsRight)} of the ties right.`, {
    ...frame, marginRight: 30,
    x: { label: 'copy', type: 'band' },
    y: { label: 'factor', type: 'band' },
    marks: [Plot.cell(data, { x: 'copy', y: 'factor', fill: ({ label }: { label: number }) => clusterColor(label), inset: 1 })],
  }); // prettier-ignore
}

const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;

const FAMILIES = { growl: ['GrOWL + L2', '#d1495b'], prior: ['mixture prior', '#4c6a92'], both: ['both', '#2a9d5c'] } as const;

function pareto(record: RunRecord): Panel {
  const color = ({ family }: { family: keyof typeof FAMILIES }) => FAMILIES[family][1];
  const points = record.pareto;
  const names = (['growl', 'prior', 'both'] as const).flatMap((family) => points.filter((point) => point.family === family).sort((a, b) => b.ratio - a.ratio).slice(0, 1));
  return panel('LeNet-300-100: GrOWL, the mixture prior, and one after the other', 'Test error against the ratio of file bytes, by strength of the penalty and τ.', {
    ...frame,
    x: { label: 'float32 bytes over file bytes', type: 'log', grid: true, domain: [Math.min(...points.map((p) => p.ratio)) / 1.3, 1.6 * Math.max(...points.map((p) => p.ratio))], tickFormat: (x: number) => (/^[125]/.test(String(x)) ? `${x}×` : '') },
    y: { label: 'test error (%)', grid: true, zero: true, nice: true },
    marks: [
      Plot.line([...points].sort((a, b) => a.ratio - b.ratio), { x: 'ratio', y: 'testError', z: 'family', stroke: color, strokeWidth: 1, strokeDasharray: '3 3' }),
      Plot.dot(points, { x: 'ratio', y: 'testError', fill: color, r: 4.5 }),
      Plot.text(names, { x: 'ratio', y: 'testError', text: ({ family }: { family: keyof typeof FAMILIES }) => FAMILIES[family][0], fill: color, textAnchor: 'start', dx: 8 }),
    ],
  });
}
