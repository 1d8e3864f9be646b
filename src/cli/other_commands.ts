/** `tfjs-weight-sharing inspect`, `decompress`, `report` and `verify`. */
import * as tfc from '@tensorflow/tfjs-core';
import { floatBytes, plainSpec } from '../compress_model/packed_tensor.js';
import { tensorValues } from '../compress_model/tensor_values.js';
import { deploymentSource, type Spec } from '../compress_model/weight_source.js';
import { distinctValues } from '../compression/distinct_values.js';
import { sizeReport } from '../compression/size_report.js';
import { readArray } from './arrays.js';
import { startBackend } from './backend.js';
import { openModel, type OpenedModel } from './open_model.js';
import type { Output } from './output.js';
import { histogram, sizePage, type Histogram } from './report_html.js';
import { compareOutputs, givenInputs, loadModel, randomInputs } from './run_model.js';
import { formatBytes, formatNumber, formatTable, shorten } from './table.js';
import { checkDirectoryTarget, checkTarget, writeBytes, writeStockModel } from './write_model.js';

const parameters = ({ shape }: Spec): number => shape.reduce((product, n) => product * n, 1);

/** What a model is and what its weights look like; reads them one by one. */
export async function inspect(source: string, output: Output): Promise<void> {
  const opened = await openModel(source);
  const specs = opened.artifacts.weightSpecs ?? [];
  const weights = [];
  for (const [i, spec] of specs.entries()) {
    const bytes = await opened.read(i);
    const found = tensorValues(spec, bytes);
    const values = 'values' in found ? found.values : null;
    const stored = spec.quantization === undefined ? spec.dtype : `${spec.dtype} as ${spec.quantization.dtype}`;
    weights.push({
      name: spec.name, shape: spec.shape, dtype: stored, parameters: parameters(spec), bytes: bytes.length,
      distinct: values === null ? null : distinctValues(values),
      zeros: values === null ? null : values.reduce((count, w) => count + (w === 0 ? 1 : 0), 0),
      min: values === null ? null : values.reduce((least, w) => Math.min(least, w), Infinity),
      max: values === null ? null : values.reduce((most, w) => Math.max(most, w), -Infinity),
      note: 'kept' in found && spec.dtype === 'float32' && bytes.length > 0 ? found.kept : null,
    }); // prettier-ignore
  }
  const total = weights.reduce((sum, weight) => sum + weight.parameters, 0);
  const { generatedBy, convertedBy, userDefinedMetadata } = opened.artifacts;
  output.json({ model: source, format: opened.format, generatedBy, convertedBy, layers: layerClasses(opened), parameters: total, bytes: opened.bytes, userDefinedMetadata, weights });
  output.text(`${source}: ${opened.format}, ${total.toLocaleString('en')} parameters in ${weights.length} weights, ${formatBytes(opened.bytes)} (ratio ${((4 * total) / opened.bytes).toFixed(2)} to float32)`);
  const classes = Object.entries(layerClasses(opened)).map(([name, count]) => (count > 1 ? `${count} ${name}` : name));
  if (classes.length > 0) output.text(`Layers: ${classes.join(', ')}`);
  output.text(formatTable(
    ['weight', 'shape', 'stored', 'bytes', 'distinct', 'zeros', 'min', 'max'],
    weights.map((w) => [shorten(w.name), w.shape.join('×'), w.dtype, formatBytes(w.bytes), w.distinct?.toString() ?? '', w.zeros === null || w.parameters === 0 ? '' : `${((100 * w.zeros) / w.parameters).toFixed(0)} %`, w.min === null ? '' : formatNumber(w.min), w.max === null ? '' : formatNumber(w.max)]),
    3,
  )); // prettier-ignore
  for (const { name, note } of weights) if (note !== null) output.warn(`'${name}': ${note}.`);
}

/** How many layers, or operations, of each class. */
function layerClasses({ artifacts }: OpenedModel): Record<string, number> {
  const counts: Record<string, number> = {};
  const count = (name: unknown): void => void (typeof name === 'string' && (counts[name] = (counts[name] ?? 0) + 1));
  const topology = artifacts.modelTopology as { node?: { op: string }[]; model_config?: unknown; config?: unknown } | null;
  if (Array.isArray(topology?.node)) {
    topology.node.forEach(({ op }) => count(op));
    return counts;
  }
  const model = (topology?.model_config ?? topology) as { config?: { layers?: { class_name: string }[] } | { class_name: string }[] } | null;
  const layers = Array.isArray(model?.config) ? model.config : model?.config?.layers;
  if (Array.isArray(layers)) layers.forEach((layer) => count(layer.class_name));
  return counts;
}

/** A plain model again: float32 weights, model.json and shards. */
export async function decompress(source: string, out: string, { force = false }: { force?: boolean }, output: Output): Promise<void> {
  const opened = await openModel(source);
  const target = checkDirectoryTarget(out, opened.files, force);
  const specs = opened.artifacts.weightSpecs ?? [];
  const tensor = async (index: number): Promise<Uint8Array> => {
    const bytes = await opened.read(index);
    const found = specs[index].quantization === undefined ? null : tensorValues(specs[index], bytes);
    return found !== null && 'values' in found ? floatBytes(found.values) : bytes;
  };
  const plain = specs.map((spec) => (spec.dtype === 'float32' ? plainSpec(spec) : spec));
  const written = await writeStockModel(target, { ...opened.artifacts, weightSpecs: plain }, tensor);
  output.json({ input: source, inputBytes: opened.bytes, output: target, outputBytes: written });
  output.text(`${formatBytes(opened.bytes)} → ${formatBytes(written)}: wrote ${target}`);
}

/** Where the bytes are, as a `.tfws` file. */
export async function report(source: string, { html, force = false }: { html?: string; force?: boolean }, output: Output): Promise<void> {
  const opened = await openModel(source);
  const target = html === undefined ? null : checkTarget(html, opened.files, force);
  const { artifacts, read } = opened.format === 'tfws' ? opened : deploymentSource(opened);
  const parts: Uint8Array[] = [];
  const histograms: Histogram[] = [];
  const largest = [...artifacts.weightSpecs!].sort((a, b) => parameters(b) - parameters(a)).slice(0, 9);
  for (const [i, spec] of artifacts.weightSpecs!.entries()) {
    const bytes = await read(i);
    parts.push(bytes);
    const found = target !== null && largest.includes(spec) ? tensorValues(spec, bytes) : null;
    if (found !== null && 'values' in found) histograms.push(histogram(spec.name, found.values, null));
  }
  const weightData = parts.map((bytes) => bytes.slice().buffer);
  const sizes = await sizeReport({ ...artifacts, weightData });
  if (target !== null) await writeBytes(target, sizePage(source, sizes, histograms));
  output.json({ model: source, ...sizes });
  output.text(formatTable(
    ['weight', 'shape', 'encoding', 'distinct', 'bits/weight', 'codebook', 'data', 'total'],
    sizes.weights.map((w) => [shorten(w.name), w.shape.join('×'), w.encoding, String(w.distinct), w.bitsPerWeight.toFixed(2), formatBytes(w.codebookBytes), formatBytes(w.indexBytes), formatBytes(w.totalBytes)]),
    3,
  )); // prettier-ignore
  output.text(`${sizes.parameters.toLocaleString('en')} parameters in ${formatBytes(sizes.fileBytes)} as a .tfws file: ${sizes.bitsPerWeight.toFixed(2)} bits a weight, ratio ${sizes.ratio.toFixed(2)}; topology ${formatBytes(sizes.topologyBytes)}${target === null ? '' : `. Wrote ${target}`}`);
}

export interface VerifyFlags {
  inputs?: string[];
  samples: number;
  seed: number;
  tolerance: number;
  backend?: string;
}

/** Runs both models on the same inputs; false where a relative error exceeds the tolerance. */
export async function verify(first: string, second: string, { inputs: files, samples, seed, tolerance, backend: wanted }: VerifyFlags, output: Output): Promise<boolean> {
  const opened = [await openModel(first), await openModel(second)];
  const backend = await startBackend(wanted);
  const [a, b] = [await loadModel(opened[0]), await loadModel(opened[1])];
  const inputs = files === undefined ? randomInputs(a, samples, seed) : givenInputs(a, await Promise.all(files.map(readArray)));
  const [before, after] = [await a.run(inputs), await b.run(inputs)];
  tfc.dispose(inputs);
  if (before.length !== after.length) throw new Error(`'${first}' has ${before.length} outputs, '${second}' has ${after.length}: these are different models.`);
  const outputs = before.map(({ values, shape }, i) => compareOutputs(a.outputs[i] ?? String(i), values, after[i].values, shape.at(-1) ?? 1));
  const worst = outputs.reduce((most, { relativeError }) => Math.max(most, relativeError), 0);
  const holds = worst <= tolerance;
  a.dispose();
  b.dispose();
  output.json({ first, second, backend, inputs: files ?? 'random', samples: files === undefined ? samples : null, seed: files === undefined ? seed : null, tolerance, holds, outputs });
  output.text(formatTable(['output', 'values', 'max |Δ|', 'mean |Δ|', 'rel. error', 'same largest'], outputs.map((o) => [shorten(o.name), String(o.values), formatNumber(o.maxDeviation), formatNumber(o.meanDeviation), formatNumber(o.relativeError), o.agreement === null ? '' : `${(100 * o.agreement).toFixed(1)} %`]))); // prettier-ignore
  output.text(`${files === undefined ? `${samples} random samples (seed ${seed})` : files.join(', ')}, backend ${backend}: relative error ${formatNumber(worst)} ${holds ? 'is within' : 'exceeds'} the tolerance ${tolerance}`);
  return holds;
}
