/**
 * Six trained networks, compressed: bytes and points lost, for raw, gzip, brotli, affine uint8 and brotli (what tfjs users have today), ours without
 * labels, ours where as many held-out images are right as with uint8, and where outputs change no more, ours at 8×, and ours with data. Settings are chosen on held-out images from one grid for all networks,
 * losses are of the test set. The networks come from `npm run example -- compress-models [--data DIR]`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import * as tfc from '@tensorflow/tfjs-core';
import { io } from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { compressed, compressModel, type RetrainingArgs } from 'tfjs-weight-sharing';
import { useBackend } from '../examples/common/backend.js';
import { defaultOutput } from '../examples/common/paths.js';
import { ARCHITECTURES, lossOf, points } from '../examples/compress-models/architectures.js';
import type { ModelsRecord } from '../examples/compress-models/main.js';
import { tensorsOf } from '../examples/compress-models/tasks.js';

/** Points that ours may lose on held-out images. */
const ALLOWED = 0.5;
const BITS = [2, 3, 4, 5, 6, 7];
const RATIOS = [3.5, 4, 4.5, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 24];
/** Larger ratios are not tried once so many points are lost on held-out images. */
const HOPELESS = 2;
/** Inputs on which outputs are measured, of the training images: no label is used. */
const MEASURED = 512;
const FINE_TUNING = { method: 'clusters', fineTuneEpochs: 3, fineTuneRate: 1e-3, batchSize: 64 } as const;
/** Only those beyond what is reached without data. */
const TUNED_RATIOS = [8, 10, 12, 16, 20, 26, 34];
/** Held-out images by which the epoch is chosen. */
const EPOCH_IMAGES = 2000;

interface Trial {
  setting: string;
  bytes: number;
  ratio: number;
  validationLoss: number;
  /** ‖y − y₀‖ / ‖y₀‖ of the outputs for held-out images. */
  deviation: number;
  model: io.ModelArtifacts;
}

export async function run({ print = console.log }: { print?: (line: string) => void } = {}): Promise<Record<string, unknown>> {
  const directory = process.env.TFWS_COMPRESS_MODELS ?? defaultOutput('compress-models');
  const path = join(directory, 'record.json');
  if (!existsSync(path)) throw new Error(`compress: no networks in ${directory}. Train them: npm run example -- compress-models [--data DIR].`);
  const record = JSON.parse(readFileSync(path, 'utf8')) as ModelsRecord;
  await useBackend(undefined, print);
  print('network       float32     gzip   brotli  uint8+brotli   ours as accurate as uint8   ours without labels   at 8×   with data');
  const result: Record<string, unknown> = {};
  for (const name of Object.keys(record.models)) result[name] = await measure(name, join(directory, `${name}.tfws`), record, print);
  return result;
}

async function measure(name: string, file: string, { data, models }: ModelsRecord, print: (line: string) => void): Promise<Record<string, unknown>> {
  const architecture = ARCHITECTURES[name];
  const model = await tfl.loadLayersModel(compressed(file));
  const [train, validation, test] = (['train', 'validation', 'test'] as const).map((part) => tensorsOf(architecture, data, part));
  const artifacts = await artifactsOf(model);
  const before = points(model, architecture, validation.x, validation.y);
  const beforeTest = points(model, architecture, test.x, test.y);
  const loaded = async (candidate: io.ModelArtifacts, { x, y }: { x: tfc.Tensor; y: tfc.Tensor }): Promise<number> => {
    const small = await tfl.loadLayersModel(io.fromMemory(candidate));
    const reached = points(small, architecture, x, y);
    small.dispose();
    return reached;
  };
  const outputs = await outputsOf(model, validation.x);
  const trial = async (setting: string, bytes: number, candidate: io.ModelArtifacts): Promise<Trial> => {
    const small = await tfl.loadLayersModel(io.fromMemory(candidate));
    const validationLoss = before - points(small, architecture, validation.x, validation.y);
    const deviation = distance(outputs, await outputsOf(small, validation.x));
    small.dispose();
    return { setting, bytes, ratio: (4 * model.countParams()) / bytes, validationLoss, deviation, model: candidate };
  };
  const attempt = async (setting: string, args: Parameters<typeof compressModel>[1]): Promise<Trial | null> => {
    try {
      const { file: bytes, artifacts: candidate } = await compressModel(model, args);
      return await trial(setting, bytes!.length, candidate);
    } catch (error) {
      // A ratio may be out of reach.
      if (/cannot be reached/.test((error as Error).message)) return null;
      throw error;
    }
  };

  const uint8 = affine(artifacts);
  const eight = await trial('uint8', brotli(...filesOf(uint8)), uint8);
  /** Upwards until all is lost. */
  const climb = async (ratios: readonly number[], suffix: string, args: (ratio: number) => Parameters<typeof compressModel>[1]): Promise<Trial[]> => {
    const trials: Trial[] = [];
    for (const ratio of ratios) {
      const found = await attempt(`ratio ${ratio}${suffix}`, args(ratio));
      if (found === null) break;
      trials.push(found);
      process.stderr.write(`${name}, ${found.setting}: ${found.ratio.toFixed(2)}×, ${found.validationLoss.toFixed(2)} points lost on held-out images\n`);
      if (found.validationLoss > HOPELESS) break;
    }
    return trials;
  };
  const inputs = tfc.slice(train.x, 0, MEASURED);
  const without: Trial[] = [];
  for (const bits of BITS) without.push((await attempt(`bits ${bits}`, { bits, method: 'entropyConstrained' }))!);
  without.push(...(await climb(RATIOS, '', (ratio) => ({ ratio, inputs }))));
  const chosen = smallest(without)!;
  const near = smallest(without.filter(({ deviation }) => deviation <= eight.deviation));
  const accurate = smallest(without.filter(({ validationLoss }) => validationLoss <= eight.validationLoss));

  // Nothing is chosen here.
  const atEight = without.find(({ setting }) => setting === 'ratio 8');

  const [few, fewTargets] = [validation.x, validation.y].map((all) => tfc.slice(all, 0, Math.min(EPOCH_IMAGES, all.shape[0])));
  const retraining: RetrainingArgs = { data: [train.x, train.y], validationData: [few, fewTargets], loss: lossOf(architecture), ...FINE_TUNING };
  const withData = await climb(TUNED_RATIOS.filter((ratio) => ratio > chosen.ratio), ', fine-tuned', (ratio) => ({ ratio, inputs, retraining })); // prettier-ignore
  const tuned = smallest([...withData, chosen])!;
  tfc.dispose([few, fewTargets]);
  const lossOn = async ({ model: candidate }: Trial): Promise<number> => beforeTest - (await loaded(candidate, test));
  const entry = async (found: Trial): Promise<Record<string, unknown>> => ({ bytes: found.bytes, lossPoints: await lossOn(found), ratio: found.ratio, setting: found.setting, validationLossPoints: found.validationLoss, deviation: found.deviation });
  const files = filesOf(artifacts);
  const measured = {
    origin: models[name].origin, parameters: model.countParams(), testPoints: beforeTest,
    raw: files.reduce((sum, { length }) => sum + length, 0),
    gzip: files.reduce((sum, bytes) => sum + gzipSync(bytes, { level: 9 }).length, 0),
    brotli: brotli(...files),
    uint8Brotli: eight.bytes, uint8LossPoints: await lossOn(eight),
    uint8Deviation: eight.deviation, uint8ValidationLossPoints: eight.validationLoss,
    oursAsUint8: near === null ? null : await entry(near), oursAsAccurate: accurate === null ? null : await entry(accurate), oursNoData: await entry(chosen), oursAtEight: atEight === undefined ? null : await entry(atEight), oursData: await entry(tuned),
    trials: [...without, ...withData].map(({ setting, bytes, ratio, validationLoss, deviation }) => ({ setting, bytes, ratio, validationLoss, deviation })),
  }; // prettier-ignore
  const cell = ({ bytes, ratio, lossPoints, setting }: Record<string, unknown>): string => `${bytes as number} (${(ratio as number).toFixed(1)}×, ${lost(lossPoints as number)}, ${setting as string})`;
  print(`${name.padEnd(12)} ${String(measured.raw).padStart(8)} ${String(measured.gzip).padStart(8)} ${String(measured.brotli).padStart(8)}  ${eight.bytes} (${lost(measured.uint8LossPoints)})   ${measured.oursAsAccurate === null ? 'none' : cell(measured.oursAsAccurate)}   ${cell(measured.oursNoData)}   ${measured.oursAtEight === null ? 'none' : cell(measured.oursAtEight)}   ${cell(measured.oursData)}`);
  tfc.dispose([inputs, ...[train, validation, test].flatMap(({ x, y }) => [x, y])]);
  model.dispose();
  return measured;
}

/** The smallest that loses no more than is allowed on held-out images; where none does, the one that loses least. Null of none. */
function smallest(trials: readonly Trial[]): Trial | null {
  if (trials.length === 0) return null;
  const good = trials.filter(({ validationLoss }) => validationLoss <= ALLOWED);
  return good.length > 0 ? good.reduce((best, t) => (t.bytes < best.bytes ? t : best)) : trials.reduce((best, t) => (t.validationLoss < best.validationLoss ? t : best));
}

/** Points lost, as a change. */
const lost = (pointsLost: number): string => (-pointsLost).toFixed(2);

/** What a model predicts, in one array. */
async function outputsOf(model: tfl.LayersModel, x: tfc.Tensor): Promise<Float32Array> {
  const y = model.predict(x, { batchSize: 500 }) as tfc.Tensor;
  const values = (await y.data()) as Float32Array;
  y.dispose();
  return values;
}

const distance = (a: Float32Array, b: Float32Array): number => Math.sqrt(a.reduce((sum, y, i) => sum + (y - b[i]) ** 2, 0) / a.reduce((sum, y) => sum + y * y, 0));

async function artifactsOf(model: tfl.LayersModel): Promise<io.ModelArtifacts> {
  let artifacts: io.ModelArtifacts = {};
  await model.save(io.withSaveHandler(async (saved) => ((artifacts = saved), { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON' as const } })));
  return artifacts;
}

/** model.json and weights. */
function filesOf({ weightData, ...rest }: io.ModelArtifacts): Uint8Array[] {
  const data = Array.isArray(weightData) ? Buffer.concat(weightData.map((part) => Buffer.from(part))) : new Uint8Array(weightData!);
  return [new TextEncoder().encode(JSON.stringify(rest)), data];
}

const brotli = (...files: Uint8Array[]): number =>
  files.reduce((sum, bytes) => sum + brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24 } }).length, 0);

/** Every weight as tensorflowjs_converter --quantize_uint8 stores it: 256 equal steps over its range, 0 one of them. */
function affine(artifacts: io.ModelArtifacts): io.ModelArtifacts {
  const data = filesOf(artifacts)[1];
  const parts: Uint8Array[] = [];
  let at = 0;
  const weightSpecs = artifacts.weightSpecs!.map((spec) => {
    const size = spec.shape.reduce((product, n) => product * n, 1);
    const values = new Float32Array(data.slice(at, (at += 4 * size)).buffer);
    const low = values.reduce((least, w) => Math.min(least, w), 0);
    const high = values.reduce((most, w) => Math.max(most, w), 0);
    const scale = (high - low) / 255 || 1;
    const zero = Math.round(-low / scale);
    parts.push(Uint8Array.from(values, (w) => Math.max(0, Math.min(255, Math.round(w / scale) + zero))));
    return { ...spec, quantization: { dtype: 'uint8' as const, scale, min: -zero * scale } };
  });
  const weightData = new Uint8Array(Buffer.concat(parts)).buffer;
  return { ...artifacts, weightSpecs, weightData };
}
