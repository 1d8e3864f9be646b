/** `tfjs-weight-sharing compress`. */
import { resolve } from 'node:path';
import { compressSource, type CompressedSource, type OutputSensitivity } from '../compress_model/compress_source.js';
import { measureOutputs } from '../compress_model/measure_outputs.js';
import { mergeIfRounded } from '../compress_model/merge_statistics.js';
import { resolveOptions, type CompressionOptions } from '../compress_model/options.js';
import { tensorBytes } from '../compress_model/packed_tensor.js';
import type { CompressionReport } from '../compress_model/report.js';
import type { RetrainingReport } from '../compress_model/retrain.js';
import { tensorValues } from '../compress_model/tensor_values.js';
import { deploymentSource, type WeightSource } from '../compress_model/weight_source.js';
import { checkTopology } from '../compression/topology_check.js';
import { readArray } from './arrays.js';
import { startBackend } from './backend.js';
import { openModel, type OpenedModel } from './open_model.js';
import type { Output } from './output.js';
import { startProgress } from './progress.js';
import { compressionPage, histogram, type Histogram } from './report_html.js';
import { checkWithoutData, retrain, type LoadPackage, type RetrainFlags } from './retrain.js';
import { givenInputs, loadModel, randomInputs } from './run_model.js';
import { formatBytes, formatNumber, formatTable, shorten } from './table.js';
import { checkDirectoryTarget, checkFileTarget, checkTarget, writeBytes, writeStockModel } from './write_model.js';

export interface CompressFlags extends Omit<CompressionOptions, 'format' | 'onProgress' | 'initialization'>, RetrainFlags {
  init?: CompressionOptions['initialization'];
  stock?: boolean;
  measure?: boolean;
  inputs?: string[];
  samples: number;
  report?: string;
  dryRun?: boolean;
  force?: boolean;
}

export async function compress(source: string, out: string, flags: CompressFlags, output: Output, loadPackage: LoadPackage): Promise<void> {
  const { bits, ratio, maxError, method, init, perChannel, preserveSparsity, skip, vectors, stock = false, force = false } = flags;
  const progress = startProgress(output.quiet);
  const given = { bits, ratio, maxError, method, initialization: init, perChannel, preserveSparsity, skip, vectors, format: stock ? 'stock' : 'tfws', onProgress: progress.update } as const;
  const chosen = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as CompressionOptions;
  const options = resolveOptions(chosen);
  const { data } = flags;
  if (data === undefined) checkWithoutData(flags);
  else if (flags.measure || flags.inputs !== undefined) throw new Error('with --data outputs are measured on its inputs. Leave out --measure and --inputs.');
  const opened = await openModel(source);
  checkTopology({ ...opened.artifacts, modelTopology: opened.format === 'graph-model' ? undefined : opened.artifacts.modelTopology, weightSpecs: opened.format === 'graph-model' ? [] : opened.artifacts.weightSpecs }, `'${source}'`);
  const target = stock ? checkDirectoryTarget(out, opened.files, force) : checkFileTarget(out, opened.files, force);
  const reportTarget = flags.report === undefined ? null : checkTarget(flags.report, opened.files, force);
  if (reportTarget !== null && resolve(reportTarget) === resolve(target)) throw new Error(`'${flags.report}' is where the model goes. Choose another file for the report.`);
  if (flags.report !== undefined && !/\.(html|json)$/i.test(flags.report)) throw new Error(`'${flags.report}': a report is .html or .json.`);

  const deployed = await mergeIfRounded(deploymentSource(opened), options);
  let result: CompressedSource & { retraining?: RetrainingReport };
  const measuring = await startMeasuring({ ...opened, ...deployed }, flags, output);
  try {
    result = data === undefined ? await compressSource(deployed, options, measuring?.outputs ?? null) : await retrain(opened, chosen, { ...flags, data }, loadPackage, output);
  } finally {
    progress.stop();
    measuring?.dispose();
  }
  const { report } = result;
  for (const warning of report.warnings) output.warn(warning);
  let written = report.bytes;
  if (!flags.dryRun) {
    if (result.file !== null) await writeBytes(target, result.file);
    else written = await writeStockModel(target, result.artifacts, (index) => tensorBytes(result.packed[index]));
  }
  if (reportTarget !== null) {
    const page = /\.json$/i.test(reportTarget) ? `${JSON.stringify(report, null, 2)}\n` : compressionPage(source, report, await histograms(deployed, result));
    await writeBytes(reportTarget, page);
  }
  output.json({ input: source, inputBytes: opened.bytes, output: flags.dryRun ? null : target, outputBytes: written, ...report, ...(result.retraining === undefined ? {} : { retraining: result.retraining }) });
  output.text(compressionTable(report));
  output.text(`${formatBytes(opened.bytes)} → ${formatBytes(written)}${report.gzipBytes === null ? '' : ` (${formatBytes(report.gzipBytes)} after gzip)`}, ratio ${report.ratio.toFixed(2)} to float32 weights, relative error ${result.retraining === undefined ? '' : 'of coding what was trained '}${formatNumber(report.relativeError)}, largest change of a weight ${formatNumber(report.maxDeviation)}`);
  output.text(flags.dryRun ? 'Nothing was written (--dry-run).' : `Wrote ${target}${reportTarget === null ? '' : ` and ${reportTarget}`}. Check outputs with: tfjs-weight-sharing verify ${source} ${target}`);
}

async function startMeasuring(opened: OpenedModel, flags: CompressFlags, output: Output): Promise<{ outputs: OutputSensitivity; dispose: () => void } | null> {
  if (!flags.measure && flags.inputs === undefined) return null;
  if (opened.format === 'graph-model') throw new Error('outputs of graph models are not measured (only their weights are compressed). Leave out --measure and --inputs: bytes are then shared out by the relative errors of weights.');
  output.text(`Backend: ${await startBackend(flags.backend)}`);
  const model = await loadModel(opened);
  const inputs = flags.inputs === undefined ? randomInputs(model, flags.samples, flags.seed) : givenInputs(model, await Promise.all(flags.inputs.map(readArray)));
  const measuring = await measureOutputs(model.layers!, inputs);
  return {
    outputs: measuring,
    dispose: () => {
      measuring.dispose();
      for (const tensor of inputs) tensor.dispose();
      model.dispose();
    },
  };
}

function compressionTable({ weights }: CompressionReport): string {
  return formatTable(
    ['weight', 'shape', 'treatment', 'values', 'before', 'after', 'rel. error', 'max |Δ|'],
    weights.map((w) => [shorten(w.name), w.shape.join('×'), w.treatment, w.values > 0 ? String(w.values) : '', formatBytes(w.bytesBefore), `~${formatBytes(w.bytesEstimate)}`, formatNumber(w.relativeError), formatNumber(w.maxDeviation)]),
    3,
  ); // prettier-ignore
}

/** Of the nine largest weights that were changed. */
async function histograms(source: WeightSource, { packed, report }: CompressedSource): Promise<Histogram[]> {
  const largest = report.weights.map((weight, index) => ({ ...weight, index })).filter(({ treatment }) => treatment === 'codebook').sort((a, b) => b.parameters - a.parameters).slice(0, 9);
  const result: Histogram[] = [];
  for (const { name, index } of largest) {
    // Retraining may have put weights into another order.
    const place = source.artifacts.weightSpecs!.findIndex((spec) => spec.name === name);
    if (place < 0) continue;
    const before = tensorValues(source.artifacts.weightSpecs![place], await source.read(place));
    const after = tensorValues(packed[index].spec, tensorBytes(packed[index]));
    if ('values' in before && 'values' in after) result.push(histogram(name, before.values, after.values));
  }
  return result;
}
