/** The pictures of the report, each from one seed's record. */
import * as Plot from '@observablehq/plot';
import { panel, type Panel } from '../plots.js';
import type { Histogram, Mixture, SeedRecord } from './record.js';

const WIDTH = 620;
const HEIGHT = 300;
const INK = '#4c6a92';
const MIXTURE = '#d1495b';
const ZERO = '#222222';
const QUANTIZED = '#2a9d5c';
const MARGINS = { marginLeft: 66, marginRight: 18, marginBottom: 42, marginTop: 22 };
/** Below this share a component holds no weight of a network of this size. */
const DEAD = 1e-6;
/** Where the logarithmic count axis begins: a little below one weight. */
const BASE = 0.8;

export function figureRows(seed: SeedRecord): Panel[][] {
  return [
    [weightsBefore(seed), weightsAfter(seed)],
    [meanTrajectories(seed), deviationTrajectories(seed)],
    [errorPerEpoch(seed), ratioPerEpoch(seed)],
    [bytesByLayer(seed), responsibilityPanel(seed)],
    ...(seed.comparison.length > 0 ? [[comparison(seed)]] : []),
  ];
}

function weightsBefore(seed: SeedRecord): Panel {
  const { before, retrained } = seed.histograms;
  return panel('Weights before', 'Kernels after ordinary training. Number of weights per bin, log scale.', {
    ...weightAxes(occupiedRange([before, retrained]), largestCount([before, retrained], seed)),
    marks: [bars(before, INK), Plot.ruleY([BASE])],
  });
}

export function weightsAfter(seed: SeedRecord): Panel {
  const { before, retrained } = seed.histograms;
  const range = occupiedRange([before, retrained]);
  const weights = retrained.counts.reduce((sum, n) => sum + n, 0);
  const density = mixtureCurve(seed.mixture, weights * retrained.binWidth, range);
  return panel(
    'Weights after',
    `After retraining (bars) with the mixture (red); green: the ${seed.quantizedValues.length} values that remain, with their counts.`,
    {
      ...weightAxes(range, largestCount([before, retrained], seed)),
      marks: [
        bars(retrained, '#a9bcd6'),
        Plot.line(density, { x: 'x', y: 'y', stroke: MIXTURE, strokeWidth: 1.4, clip: true }),
        Plot.ruleX(seed.quantizedValues, { x: 'value', y1: BASE, y2: 'count', stroke: QUANTIZED, strokeWidth: 1.2, strokeOpacity: 0.7 }),
        Plot.dot(seed.quantizedValues, { x: 'value', y: 'count', r: 3, fill: QUANTIZED }),
        Plot.ruleY([BASE]),
      ],
    },
  );
}

function meanTrajectories(seed: SeedRecord): Panel {
  const points = trajectoryPoints(seed);
  return panel('Means', 'Component means with ± 2 standard deviations, by epoch of retraining; black: the zero component.', {
    ...frame('epoch', 'weight'),
    y: { label: 'weight', grid: true },
    color: componentColors(seed),
    marks: [
      Plot.areaY(points, { x: 'epoch', y1: 'low', y2: 'high', z: 'component', fill: 'component', fillOpacity: 0.12 }),
      Plot.line(points, { x: 'epoch', y: 'mean', z: 'component', stroke: 'component', strokeWidth: 1.6 }),
    ],
  });
}

function deviationTrajectories(seed: SeedRecord): Panel {
  const points = trajectoryPoints(seed);
  return panel('Standard deviations', 'By epoch of retraining, log scale; colours as on the left.', {
    ...frame('epoch', 'standard deviation'),
    y: { label: 'standard deviation', type: 'log', grid: true, ticks: deviationTicks(points), tickFormat: plainNumber },
    color: componentColors(seed),
    marks: [Plot.line(points, { x: 'epoch', y: 'deviation', z: 'component', stroke: 'component', strokeWidth: 1.6 })],
  });
}

/** r_j(w) = π_j N(w | μ_j, σ_j²) / Σ_k π_k N(w | μ_k, σ_k²), stacked: which component a weight of each size belongs to. */
export function responsibilityPanel(seed: SeedRecord): Panel {
  const { mixture } = seed;
  const alive = mixture.means.map((_, j) => j).filter((j) => mixture.mixing[j] > DEAD);
  const widest = Math.max(...alive.map((j) => Math.abs(mixture.means[j]) + 3 * Math.sqrt(mixture.variances[j])));
  const steps = 500;
  const points = Array.from({ length: steps + 1 }, (_, i) => widest * ((2 * i) / steps - 1)).flatMap((weight) => responsibilities(mixture, weight, alive).map((share, k) => ({ weight, share, component: alive[k] })));
  return panel('Responsibilities', 'Which component a weight belongs to, by its size, at the end of retraining; black: the zero component.', {
    ...frame('weight', 'responsibility'),
    y: { label: 'responsibility', domain: [0, 1], grid: true },
    color: componentColors(seed),
    marks: [Plot.areaY(points, { x: 'weight', y: 'share', z: 'component', order: alive, fill: 'component', fillOpacity: 0.75 }), Plot.ruleY([0])],
  });
}

/** Of the components `among`, in their order; the sum is 1. In logarithms: far from all means every density is 0. */
export function responsibilities({ means, variances, mixing }: Mixture, weight: number, among: readonly number[]): number[] {
  const logs = among.map((j) => Math.log(mixing[j]) - 0.5 * Math.log(variances[j]) - (weight - means[j]) ** 2 / (2 * variances[j]));
  const most = Math.max(...logs);
  const shares = logs.map((log) => Math.exp(log - most));
  const sum = shares.reduce((total, share) => total + share, 0);
  return shares.map((share) => share / sum);
}

export function errorPerEpoch(seed: SeedRecord): Panel {
  const { baseline, retraining, errors } = seed;
  const epochs = allEpochs(seed);
  const end = baseline.length + retraining.length;
  const shown = epochs.map((e) => e.validationError).sort((a, b) => a - b);
  // The first epochs would flatten the rest: the scale ends a little above the usual values.
  const top = Math.max(1.2 * shown[Math.floor(shown.length * 0.95)], 1.1 * errors.quantized.validation);
  return panel('Error', 'On validation images, by epoch; retraining with the mixture begins at the dashed line.', {
    ...frame('epoch', 'error (%)'),
    x: { label: 'epoch', domain: [0, end] },
    y: { label: 'error (%)', domain: [0, top], grid: true, clamp: true },
    marks: [
      ...phaseMark(baseline.length),
      Plot.line(epochs, { x: 'epoch', y: 'validationError', stroke: INK, strokeWidth: 1.6 }),
      Plot.dot([{ x: end, y: errors.quantized.validation }], { x: 'x', y: 'y', r: 4.5, fill: QUANTIZED }),
      Plot.text([{ x: end, y: errors.quantized.validation }], {
        x: 'x',
        y: 'y',
        text: () => `quantised ${errors.quantized.validation.toFixed(2)} %`,
        textAnchor: 'end',
        dx: -6,
        dy: -14,
        fill: QUANTIZED,
        fontWeight: 'bold',
        stroke: 'white',
        strokeWidth: 4,
      }),
    ],
  });
}

export function ratioPerEpoch(seed: SeedRecord): Panel {
  const { baseline, retraining, ratio } = seed;
  const end = baseline.length + retraining.length;
  // While the mixture is still wide nearly every weight counts as zero; those first estimates would flatten the rest.
  const top = Math.min(2.2 * ratio, 1.15 * Math.max(ratio, ...retraining.map((e) => e.ratioEstimate)));
  const points = retraining.map((e) => ({ epoch: baseline.length + e.epoch, ratio: e.ratioEstimate })).filter((p) => p.ratio <= top);
  return panel('Ratio', 'Estimated by epoch (line), and of the file that was written (dot): float32 bytes over file bytes.', {
    ...frame('epoch', 'ratio (×)'),
    x: { label: 'epoch', domain: [0, end] },
    y: { label: 'ratio (×)', domain: [0, top], grid: true },
    marks: [
      ...phaseMark(baseline.length),
      Plot.line(points, { x: 'epoch', y: 'ratio', stroke: INK, strokeWidth: 1.6 }),
      Plot.dot([{ x: end, y: ratio }], { x: 'x', y: 'y', r: 4.5, fill: QUANTIZED }),
      Plot.text([{ x: end, y: ratio }], {
        x: 'x',
        y: 'y',
        text: () => `file ${ratio.toFixed(1)}×`,
        textAnchor: 'end',
        dx: -6,
        dy: -14,
        fill: QUANTIZED,
        fontWeight: 'bold',
        stroke: 'white',
        strokeWidth: 4,
      }),
    ],
  });
}

export function bytesByLayer(seed: SeedRecord): Panel {
  const rows = [...seed.tensors.map((t) => ({ ...t, label: byteLabel(t.bytes, t.parameters) })), other(seed.otherBytes)];
  return panel('Bytes by layer', `The file: ${seed.fileBytes} bytes for ${seed.parameters} parameters. Bits per parameter in brackets.`, {
    ...frame('bytes', ''),
    marginLeft: 150,
    marginRight: 160,
    x: { label: 'bytes', grid: true, nice: true },
    y: { label: null, domain: rows.map((r) => r.name) },
    marks: [
      Plot.barX(rows, { x: 'bytes', y: 'name', fill: INK, insetTop: 3, insetBottom: 3 }),
      Plot.text(rows, { x: 'bytes', y: 'name', text: 'label', textAnchor: 'start', dx: 5 }),
      Plot.ruleX([0]),
    ],
  });
}

function comparison(seed: SeedRecord): Panel {
  const rows = [
    { method: 'soft weight sharing', ratio: seed.ratio, error: seed.errors.quantized.test, ours: true },
    ...seed.comparison.map((c) => ({ method: c.method, ratio: c.ratio, error: c.testError, ours: false })),
  ];
  return panel('Beside other methods', `Same network, same file format. Test error without compression: ${seed.errors.baseline.test.toFixed(2)} %.`, {
    ...frame('ratio (×)', ''),
    marginLeft: 150,
    marginRight: 160,
    x: { label: 'ratio (×)', grid: true, nice: true },
    y: { label: null, domain: rows.map((r) => r.method) },
    marks: [
      Plot.barX(rows, { x: 'ratio', y: 'method', fill: (r: (typeof rows)[number]) => (r.ours ? QUANTIZED : INK), insetTop: 3, insetBottom: 3 }),
      Plot.text(rows, { x: 'ratio', y: 'method', text: (r: (typeof rows)[number]) => `${r.ratio.toFixed(1)}×, error ${r.error.toFixed(2)} %`, textAnchor: 'start', dx: 5 }),
      Plot.ruleX([0]),
    ],
  });
}

/** Number of weights per bin that the mixture expects; scaled by weights × bin width. */
export function mixtureCurve({ means, variances, mixing }: Mixture, scale: number, [low, high]: [number, number]): { x: number; y: number }[] {
  // Steps of the range alone would miss the narrow peaks: each component gets points of its own.
  const xs = Array.from({ length: 600 }, (_, i) => low + ((high - low) * i) / 599);
  means.forEach((mean, j) => {
    for (let k = -24; k <= 24; k++) xs.push(mean + (k / 6) * Math.sqrt(variances[j]));
  });
  return xs
    .filter((x) => x >= low && x <= high)
    .sort((a, b) => a - b)
    .map((x) => ({
      x,
      y: Math.max(
        1e-9,
        scale *
          means.reduce((sum, mean, j) => sum + (mixing[j] / Math.sqrt(2 * Math.PI * variances[j])) * Math.exp((-0.5 * (x - mean) ** 2) / variances[j]), 0),
      ),
    }));
}

/** The histogram as one stepped area: separate bars would show seams where their edges fall between pixels. */
function bars({ start, binWidth, counts }: Histogram, fill: string) {
  const first = counts.findIndex((n) => n > 0);
  const last = counts.length - 1 - [...counts].reverse().findIndex((n) => n > 0);
  const data = [{ x: start + first * binWidth, count: BASE }];
  for (let i = first; i <= last; i++) data.push({ x: start + i * binWidth, count: Math.max(BASE, counts[i]) });
  data.push({ x: start + (last + 1) * binWidth, count: BASE });
  return Plot.areaY(data, { x: 'x', y1: BASE, y2: 'count', fill, curve: 'step-after' });
}

function weightAxes(range: [number, number], top: number): Plot.PlotOptions & { width: number; height: number } {
  return {
    ...frame('weight', 'weights'),
    x: { label: 'weight', domain: range },
    y: { label: 'weights', type: 'log', domain: [BASE, 2 * top], ticks: [1, 10, 100, 1e3, 1e4, 1e5], tickFormat: (n: number) => n.toLocaleString('en'), grid: true },
  };
}

function frame(x: string, y: string): Plot.PlotOptions & { width: number; height: number } {
  return { width: WIDTH, height: HEIGHT, ...MARGINS, x: { label: x }, y: { label: y } };
}

function occupiedRange(histograms: Histogram[]): [number, number] {
  const edges = histograms.flatMap(({ start, binWidth, counts }) => {
    const first = counts.findIndex((n) => n > 0);
    const last = counts.length - 1 - [...counts].reverse().findIndex((n) => n > 0);
    return first < 0 ? [] : [start + first * binWidth, start + (last + 1) * binWidth];
  });
  return [Math.min(...edges), Math.max(...edges)];
}

function largestCount(histograms: Histogram[], seed: SeedRecord): number {
  return Math.max(...histograms.flatMap((h) => h.counts), ...seed.quantizedValues.map((v) => v.count));
}

function trajectoryPoints(seed: SeedRecord) {
  const total = seed.retraining.at(-1)?.mixture.means.length ?? 0;
  const alive = (j: number) => (seed.retraining.at(-1)?.mixture.mixing[j] ?? 0) > DEAD;
  return seed.retraining.flatMap(({ epoch, mixture: { means, variances } }) =>
    Array.from({ length: total }, (_, j) => j)
      .filter(alive)
      .map((j) => {
        const deviation = Math.sqrt(variances[j]);
        return { epoch, component: j, mean: means[j], deviation, low: means[j] - 2 * deviation, high: means[j] + 2 * deviation };
      }),
  );
}

/** Colours by component; components start in the order of their means, so neighbours get neighbouring colours. */
function componentColors(seed: SeedRecord): Plot.ScaleOptions {
  const count = seed.mixture.means.length;
  const byMean = Array.from({ length: count - 1 }, (_, j) => j + 1).sort((a, b) => seed.mixture.means[a] - seed.mixture.means[b]);
  const palette = (i: number) => `hsl(${Math.round(215 + (290 * i) / Math.max(1, count - 2)) % 360} 62% 45%)`;
  return { type: 'ordinal', domain: [0, ...byMean], range: [ZERO, ...byMean.map((_, i) => palette(i))] };
}

function allEpochs({ baseline, retraining }: SeedRecord) {
  return [...baseline, ...retraining.map((e) => ({ ...e, epoch: e.epoch + baseline.length }))];
}

function phaseMark(epoch: number) {
  return [Plot.ruleX([epoch], { stroke: '#888', strokeDasharray: '4 3' })];
}

function other(bytes: number) {
  return { name: 'topology, frame', bytes, label: `${bytes.toFixed(0)} bytes` };
}

function byteLabel(bytes: number, parameters: number): string {
  return `${bytes.toFixed(0)} bytes (${((8 * bytes) / parameters).toFixed(2)})`;
}

/** 1, 2 and 5 of each decade that occurs. */
function deviationTicks(points: { deviation: number }[]): number[] {
  const low = Math.min(...points.map((p) => p.deviation));
  const high = Math.max(...points.map((p) => p.deviation));
  return Array.from({ length: 12 }, (_, i) => 10 ** (i - 8))
    .flatMap((decade) => [decade, 2 * decade, 5 * decade])
    .filter((tick) => tick >= low && tick <= high);
}

function plainNumber(value: number): string {
  return String(Number(value.toPrecision(3)));
}
