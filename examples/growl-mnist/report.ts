/** The report of a run: one self-contained HTML page and one PNG, rendered from the record alone. */
import { htmlFigures, htmlPage, htmlTable } from '../common/html.js';
import { composePanels, escapeMarkup } from '../common/plots.js';
import { writeReportFiles, type ReportFiles } from '../common/report_files.js';
import { figureRows } from './figures.js';
import { NETWORK_TITLES, type NetworkName } from './networks.js';
import { summarize, type MethodSummary, type RunRecord } from './record.js';
import { METHOD_TITLES, METHODS, type Method } from './settings.js';

/** Writes report.html and report.png into `directory` and returns their paths. */
export const writeReport = (record: RunRecord, directory: string): ReportFiles => writeReportFiles(directory, renderHtml(record), renderPictures(record));

export const renderPictures = (record: RunRecord): string => composePanels(headline(record), figureRows(record));

export function headline(record: RunRecord): string {
  const { networks } = summarize(record);
  const [network, methods] = (Object.entries(networks) as [NetworkName, Partial<Record<Method, MethodSummary>>][])[0] ?? [];
  const best = methods?.growlL2 ?? methods?.growl;
  if (network === undefined || best === undefined) return `GrOWL (${record.data.origin})`;
  const plain = methods?.plain === undefined ? '' : `${methods.plain.testError.toFixed(2)} % → `;
  return `${NETWORK_TITLES[network]}: 1/${best.paperRatio.toFixed(1)} of the weights distinct, 1/${best.ratio.toFixed(1)} of the bytes; test error ${plain}${best.testError.toFixed(2)} %`;
}

const HEAD = ['method', 'test error %', 'increase', 'sparsity', 'distinct rows', 'distinct weights', 'file bytes', 'ratio'];

function methodRows(methods: Partial<Record<Method, MethodSummary>>): string[][] {
  return METHODS.flatMap((method) => {
    const s = methods[method];
    if (s === undefined) return [];
    const increase = method === 'plain' || s.errorIncrease === null ? '' : `${s.errorIncrease >= 0 ? '+' : ''}${s.errorIncrease.toFixed(2)}`;
    return [[METHOD_TITLES[method], s.testError.toFixed(2), increase, `${(100 * s.sparsity).toFixed(1)} %`, `${s.distinctRows}`, `1/${s.paperRatio.toFixed(1)}`, `${Math.round(s.fileBytes)}`, `${s.ratio.toFixed(1)}×`]];
  });
}

/** The tables for a terminal. */
export function summaryText(record: RunRecord): string {
  const tables = Object.entries(summarize(record).networks).map(([network, methods]) => `${NETWORK_TITLES[network as NetworkName]}\n${aligned([HEAD, ...methodRows(methods)])}`);
  const correlated = record.correlated.map((r) => [METHOD_TITLES[r.method], r.adjustedRandIndex.toFixed(2), r.pairsTied.toFixed(2), r.pairsRight.toFixed(2), r.validationLoss.toFixed(3)]);
  if (correlated.length > 0) tables.push(`Correlated inputs\n${aligned([CORRELATED_HEAD, ...correlated])}`);
  if (record.pareto.length > 0) tables.push(`LeNet-300-100, GrOWL and the mixture prior\n${aligned([PARETO_HEAD, ...paretoRows(record)])}`);
  return tables.join('\n\n');
}

const CORRELATED_HEAD = ['method', 'adjusted Rand index', 'pairs tied', 'ties right', 'held-out loss'];
const PARETO_HEAD = ['method', 'penalty', 'τ', 'held-out error %', 'test error %', 'file bytes', 'ratio'];

function paretoRows({ pareto }: RunRecord): string[][] {
  const names = { growl: 'GrOWL + L2', prior: 'mixture prior', both: 'both' };
  return pareto.map((p) => [names[p.family], p.strength > 0 ? `× ${p.strength}` : '', p.tau > 0 ? `${p.tau}` : '', p.validationError.toFixed(2), p.testError.toFixed(2), `${p.fileBytes}`, `${p.ratio.toFixed(1)}×`]);
}

function aligned(rows: readonly string[][]): string {
  const widths = rows[0].map((_, j) => Math.max(...rows.map((row) => row[j].length)));
  return rows.map((row) => row.map((cell, j) => (j === 0 ? cell.padEnd(widths[j]) : cell.padStart(widths[j]))).join('  ')).join('\n');
}

export function renderHtml(record: RunRecord): string {
  const { data } = record;
  const networks = Object.entries(summarize(record).networks) as [NetworkName, Partial<Record<Method, MethodSummary>>][];
  const tables = networks.map(([network, methods]) => {
    const seeds = new Set(record.networks.filter((result) => result.network === network).map(({ seed }) => seed)).size;
    return `<h2>${NETWORK_TITLES[network]}${network === 'vgg' ? `, Fashion-MNIST, ${record.settings.vggImages} images to train` : ''}</h2>
<p>${seeds === 1 ? 'One seed.' : `Medians of ${seeds} seeds.`} Sparsity, distinct rows and weights are those of the penalised kernels.</p>
${htmlTable(HEAD, methodRows(methods).map((cells) => ({ cells, marked: cells[0] === METHOD_TITLES.growlL2 })))}`;
  });
  const body = `
<p>${escapeMarkup(data.origin)}: ${data.train} images to train, ${data.validation} held out to choose by, ${data.test} to test, read once by each model, from its file.
Backend: ${escapeMarkup(record.backend)}. All methods go through the same two stages (penalty; rows tied and retrained) and the same file format.
The ratio is 4 bytes × all parameters of the network over all bytes of the file. Distinct weights: the paper's count, weights in distinct rows of the penalised kernels, over all of their weights.</p>
${htmlFigures(figureRows(record).flat())}
${tables.join('\n')}
${record.correlated.length === 0 ? '' : `<h2>Correlated inputs</h2>
<p>${record.settings.correlated.factors} factors, ${record.settings.correlated.copies} noisy copies of each (noise ${record.settings.correlated.noise}), ${record.settings.correlated.noiseColumns} columns that mean nothing.</p>
${htmlTable([...CORRELATED_HEAD, 'copies alive', 'meaningless alive', 'test loss'], record.correlated.map((r) => ({ cells: [METHOD_TITLES[r.method], ...[r.adjustedRandIndex, r.pairsTied, r.pairsRight, r.validationLoss, r.copiesAlive, r.noiseAlive, r.testLoss].map((x) => x.toFixed(3))], marked: r.method === 'growl' })))}`}
${record.pareto.length === 0 ? '' : `<h2>LeNet-300-100: GrOWL, the mixture prior, and one after the other</h2>
${htmlTable(PARETO_HEAD, paretoRows(record).map((cells) => ({ cells, marked: cells[0] === 'both' })))}`}
<h2>Settings</h2>
<pre>${escapeMarkup(JSON.stringify(record.settings, null, 2))}</pre>`; // prettier-ignore
  return htmlPage(`growl-mnist: ${headline(record)}`, headline(record), body);
}
