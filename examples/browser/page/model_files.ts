/** The files of a stock TensorFlow.js model, as a user drops or chooses them, checked and read into artefacts. */
import { io } from '@tensorflow/tfjs-core';

export interface ModelFiles {
  artifacts: io.ModelArtifacts;
  /** Of model.json and shards. */
  bytes: number;
  /** Files that the model does not name. */
  unused: string[];
}

const WIDTHS: Readonly<Record<string, number>> = { bool: 1, uint8: 1, uint16: 2, float16: 2, float32: 4, int32: 4, complex64: 8 };
const FOREIGN = /\.(h5|hdf5|keras|pb|tflite|onnx|pt|pth|safetensors)$/i;

const listed = (names: readonly string[]): string => names.map((name) => `'${name}'`).join(', ');
const baseName = (path: string): string => path.replace(/^.*\//, '');

/** @throws Error that says what is wrong with the files and what to do. */
export async function readModelFiles(files: readonly File[]): Promise<ModelFiles> {
  const json = findJson(files);
  const { weightsManifest } = await parse(json);
  const byName = new Map(files.filter((file) => file !== json).map((file) => [file.name, file]));
  const wanted = weightsManifest.flatMap(({ paths }) => paths.map(baseName));
  const missing = [...new Set(wanted)].filter((name) => !byName.has(name));
  if (missing.length > 0) {
    throw new Error(`${json.name} needs ${listed(missing)}, which ${missing.length === 1 ? 'is' : 'are'} missing. Choose model.json together with all of its weight files, or drop their folder.`);
  }
  for (const group of weightsManifest) checkBytes(group, byName, json.name);
  const shards = wanted.map((name) => byName.get(name)!);
  const loaded = await io.browserFiles([json, ...shards]).load!();
  const artifacts = { ...loaded, weightData: io.CompositeArrayBuffer.join(loaded.weightData) };
  const unused = files.filter((file) => file !== json && !shards.includes(file)).map(({ name }) => name);
  return { artifacts, bytes: json.size + shards.reduce((sum, { size }) => sum + size, 0), unused };
}

function findJson(files: readonly File[]): File {
  const foreign = files.find(({ name }) => FOREIGN.test(name));
  const jsons = files.filter(({ name }) => /\.json$/i.test(name));
  const exact = jsons.filter(({ name }) => name === 'model.json');
  const candidates = exact.length > 0 ? exact : jsons;
  if (candidates.length === 1) return candidates[0];
  if (candidates.length > 1) throw new Error(`Which of these is the model: ${listed(candidates.map(({ webkitRelativePath, name }) => webkitRelativePath || name))}? Choose one model.json and its weight files.`);
  const compressedOne = files.find(({ name }) => /\.tfws$/i.test(name));
  if (compressedOne !== undefined) throw new Error(`'${compressedOne.name}' is compressed already. Choose the model.json that it was made of, and its weight files.`);
  if (foreign !== undefined) throw new Error(`'${foreign.name}' is not a TensorFlow.js model. Convert it first, e.g. with tensorflowjs_converter (pip install tensorflowjs), and choose the model.json and its weight files.`);
  throw new Error(`There is no model.json among ${files.length === 0 ? 'no files' : listed(files.slice(0, 5).map(({ name }) => name))}. Choose the model.json that model.save() or tensorflowjs_converter wrote, with its weight files.`);
}

async function parse(file: File): Promise<io.ModelJSON> {
  let json: Partial<io.ModelJSON> | null;
  try {
    json = JSON.parse(await file.text()) as Partial<io.ModelJSON> | null;
  } catch (error) {
    throw new Error(`${file.name} is not JSON (${(error as Error).message}). Choose the model.json that model.save() or tensorflowjs_converter wrote.`, { cause: error });
  }
  const lacking = (['modelTopology', 'weightsManifest'] as const).find((key) => typeof json?.[key] !== 'object' || json[key] === null);
  if (lacking !== undefined) throw new Error(`${file.name} is JSON, but not a model: it lacks ${lacking}. Choose the model.json that model.save() or tensorflowjs_converter wrote.`);
  const groups = json!.weightsManifest!;
  if (!Array.isArray(groups) || !groups.every((group) => Array.isArray(group?.paths) && Array.isArray(group.weights))) {
    throw new Error(`${file.name}: its weightsManifest is not a list of {paths, weights}. The file is damaged: save or convert the model again.`);
  }
  return json as io.ModelJSON;
}

/** Sizes are known where there are no strings. */
function checkBytes({ paths, weights }: io.WeightsManifestConfig[0], byName: ReadonlyMap<string, File>, model: string): void {
  const sizes = weights.map(({ shape, dtype, quantization }) => shape.reduce((product, n) => product * n, 1) * WIDTHS[quantization?.dtype ?? dtype]);
  const expected = sizes.reduce((sum, size) => sum + size, 0);
  const present = paths.reduce((sum, path) => sum + byName.get(baseName(path))!.size, 0);
  if (Number.isNaN(expected) || expected === present) return;
  const trouble = present < expected ? 'truncated' : 'too long';
  throw new Error(`${model} describes ${expected} bytes of weights in ${listed(paths.map(baseName))}, but there are ${present}: ${trouble}, or of another model. Copy or download the weight files again.`);
}
