/** The report of a run: one self-contained HTML page and one PNG, rendered from the record alone. */
import * as Plot from '@observablehq/plot';
import { htmlFigures, htmlPage, htmlTable } from '../common/html.js';
import { composePanels, escapeMarkup, panel, type Panel } from '../common/plots.js';
import { writeReportFiles, type ReportFiles } from '../common/report_files.js';
import { runsOf, summarize, type RunRecord } from './record.js';
import { LABELS, VARIANTS } from './settings.js';

/** Writes report.html and report.png into `directory` and returns their paths. */
export const writeReport = (record: RunRecord, directory: string): ReportFiles => writeReportFiles(directory, renderHtml(record), renderPictures(record));

export const renderPictures = (record: RunRecord): string => composePanels(headline(record), [pictures(record), [curves(record), sizes(record)]]);

export function headline(record: RunRecord): string {
  const { bicubic, networks, parameterShare } = summarize(record);
  return `×2: bicubic ${bicubic['x2'].toFixed(2)} dB, DRRN ${networks.drrn.psnr['x2'].toFixed(2)} with ${(100 * parameterShare).toFixed(1)} % of the parameters of its untied twin, ${networks.untied.psnr['x2'].toFixed(2)}`;
}

export function renderHtml(record: RunRecord): string {
  const { data, settings, seeds, backend } = record;
  const body = `<p>${escapeMarkup(data.origin)}: ${data.train} images to train, ${data.heldOut} held out to choose the weights by, ${data.test} to test, read once for each network.
Luminance (BT.601), antialiased bicubic degradation, a border of as many pixels as the scale left out. Each network is trained once for all scales,
on interpolated patches, each patch weighted by the inverse error of interpolation at its scale, for ${settings.training.minutes} minutes of processor time. Backend: ${escapeMarkup(backend)}. ${seeds.length === 1 ? 'One seed.' : `${seeds.length} seeds: medians.`}</p>
${htmlFigures(pictures(record))}
${htmlFigures([curves(record), sizes(record)])}
<h2>Test images</h2>
${qualityTable(record)}
<h2>Each run</h2>
${runTable(record)}
<h2>Settings</h2>
<pre>${escapeMarkup(JSON.stringify(settings, null, 2))}</pre>`;
  return htmlPage(`recursive-super-resolution: ${headline(record)}`, headline(record), body);
}

function qualityTable(record: RunRecord): string {
  const { bicubic, networks } = summarize(record);
  const scales = Object.keys(bicubic);
  const structural = Object.fromEntries(record.runs[0].scales.map(({ scale, bicubic: { ssim } }) => [`x${scale}`, ssim]));
  const cells = (psnr: Record<string, number>, ssim: Record<string, number>) => scales.map((scale) => `${psnr[scale].toFixed(2)} / ${ssim[scale].toFixed(4)}`);
  const rows = VARIANTS.map((variant) => {
    const { parameters, psnr, ssim, gainX2 } = networks[variant];
    return { cells: [LABELS[variant], parameters.toLocaleString('en'), ...cells(psnr, ssim), `+${gainX2.toFixed(2)}`], marked: variant === 'drrn' };
  });
  return htmlTable(['network', 'parameters', ...scales.map((scale) => `${scale.replace('x', '×')} PSNR / SSIM`), 'over bicubic, ×2'], [{ cells: ['bicubic', '0', ...cells(bicubic, structural), ''] }, ...rows]);
}

/** For a terminal: head and rows, one for each run, with the PSNR at each scale. */
export function table({ runs }: RunRecord): string[][] {
  const row = ({ variant, seed, parameters, steps, processorSeconds, scales }: (typeof runs)[number]) => [LABELS[variant], `${seed}`, `${parameters}`, `${steps}`, processorSeconds.toFixed(0), ...scales.map(({ network }) => network.psnr.toFixed(2))];
  return [['network', 'seed', 'parameters', 'steps', 'processor seconds', '×2', '×3', '×4'], ...runs.map(row)];
}

function runTable(record: RunRecord): string {
  const names = record.runs[0].scales[0].images.map(({ name }) => name);
  const rows = record.runs.map(({ seed, variant, steps, processorSeconds, seconds, scales: [two] }) => ({
    cells: [LABELS[variant], `${seed}`, steps.toLocaleString('en'), processorSeconds.toFixed(0), seconds.toFixed(0), ...two.images.map(({ network, bicubic }) => `${network.psnr.toFixed(2)} (${bicubic.psnr.toFixed(2)})`)],
  }));
  return htmlTable(['network', 'seed', 'steps', 'processor seconds', 'seconds', ...names.map((name) => `${name} ×2 (bicubic)`)], rows);
}

const SIDE = 200;

/** The same part of a test image, by each of the first seed's networks. */
function pictures(record: RunRecord): Panel[] {
  const [first] = record.runs;
  const { name, scale } = first.picture;
  const shown = (title: string, subtitle: string, png: string): Panel => ({
    title, subtitle, width: SIDE, height: SIDE,
    svg: `<svg xmlns="http://www.w3.org/2000/svg" width="${SIDE}" height="${SIDE}" viewBox="0 0 ${SIDE} ${SIDE}"><image href="data:image/png;base64,${png}" width="${SIDE}" height="${SIDE}" style="image-rendering:pixelated"/></svg>`,
  }); // prettier-ignore
  const quality = (psnr: number) => `${psnr.toFixed(2)} dB on the image`;
  const ofImage = (run: RunRecord['runs'][number]) => run.scales.find((each) => each.scale === scale)!.images.find((each) => each.name === name)!;
  return [
    shown('original', `${name}, ×${scale}`, first.picture.sharp),
    shown('bicubic', quality(ofImage(first).bicubic.psnr), first.picture.bicubic),
    ...VARIANTS.map((variant) => {
      const [run] = runsOf(record, variant);
      return shown(LABELS[variant], quality(ofImage(run).network.psnr), run.picture.network);
    }),
  ];
}

function curves(record: RunRecord): Panel {
  const points = VARIANTS.flatMap((variant) => runsOf(record, variant)[0].looks.map(({ share, psnr }) => ({ network: LABELS[variant], minutes: share * record.settings.training.minutes, psnr })));
  const lines = { x: 'minutes', y: 'psnr', stroke: 'network' };
  return panel('Training', 'held-out images, all scales, first seed', {
    width: 720, height: 360, marginRight: 100, color: { scheme: 'Observable10' }, x: { label: 'minutes of processor time' }, y: { label: 'PSNR (dB)', grid: true },
    marks: [Plot.line(points, lines), Plot.dot(points, lines), Plot.text(points, Plot.selectLast({ x: 'minutes', y: 'psnr', z: 'network', text: 'network', dx: 8, textAnchor: 'start' }))],
  }); // prettier-ignore
}

function sizes(record: RunRecord): Panel {
  const { bicubic, networks } = summarize(record);
  const points = VARIANTS.map((variant) => ({ network: LABELS[variant], parameters: networks[variant].parameters, psnr: networks[variant].psnr['x2'] }));
  return panel('Parameters', 'test images at ×2; the line is bicubic interpolation', {
    width: 560, height: 360, marginRight: 110, x: { type: 'log', label: 'parameters' }, y: { label: 'PSNR (dB)', grid: true },
    marks: [Plot.ruleY([bicubic['x2']], { stroke: '#999' }), Plot.dot(points, { x: 'parameters', y: 'psnr', fill: '#1d7a45', r: 5 }), Plot.text(points, { x: 'parameters', y: 'psnr', text: 'network', dx: 8, textAnchor: 'start' })],
  }); // prettier-ignore
}
