/**
 * A model in files or behind a URL, for the command line: a model.json with its shards, a directory that holds one, or a `.tfws` file. Weights
 * are read from the shards one by one. What is downloaded lies in a temporary directory until the process ends.
 */
import type { io } from '@tensorflow/tfjs-core';
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, open, readFile, realpath } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { filePath } from '../compression/compressed_source.js';
import { decodeContainer, hasMagic, tensorLayout } from '../compression/container_reader.js';
import { memorySource, checkSpecs, type Spec, type WeightSource } from '../compress_model/weight_source.js';

export interface OpenedModel extends WeightSource {
  /** As the user gave it. */
  name: string;
  format: 'tfws' | 'layers-model' | 'graph-model';
  /** Real paths of everything that it was read from; none for a URL. */
  files: string[];
  /** Bytes of all its files. */
  bytes: number;
}

const isUrl = (source: string): boolean => /^https?:\/\//.test(source);

/** @throws Error that says what is wrong with the model and what to do. */
export async function openModel(given: string): Promise<OpenedModel> {
  const source = filePath(given) ?? given;
  const { path, bytes } = isUrl(source) ? await download(source, await spool()) : await locate(source);
  if (hasMagic(bytes)) {
    const artifacts = decodeContainer(bytes, `'${source}'`);
    return { ...memorySource(artifacts), name: source, format: 'tfws', files: isUrl(source) ? [] : [await realpath(path)], bytes: bytes.length };
  }
  const json = parse(source, path, bytes);
  const shards = await openShards(source, path, json);
  const artifacts = { ...json, weightSpecs: shards.specs, weightsManifest: undefined } as unknown as io.ModelArtifacts;
  const files = isUrl(source) ? [] : [await realpath(path), ...shards.files];
  return { artifacts, read: shards.read, name: source, format: json.format === 'graph-model' || isGraph(json) ? 'graph-model' : 'layers-model', files, bytes: bytes.length + shards.bytes };
}

/** The file that a path means. */
async function locate(source: string): Promise<{ path: string; bytes: Uint8Array }> {
  const directory = statSync(source, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const candidates = directory ? [join(source, 'model.json'), join(source, 'model.tfws')] : [source];
  for (const path of candidates) {
    try {
      return { path, bytes: await readFile(path) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw new Error(`'${path}' cannot be read: ${(error as Error).message}.`, { cause: error });
    }
  }
  throw new Error(directory ? `'${source}' holds neither model.json nor model.tfws.` : `there is no file '${source}'. Give a model.json, a .tfws file, the directory of one, or a URL.`);
}

interface ModelJson extends io.ModelJSON {
  [key: string]: unknown;
}

const isGraph = ({ modelTopology }: ModelJson): boolean => Array.isArray((modelTopology as { node?: unknown } | null)?.node);

function parse(source: string, path: string, bytes: Uint8Array): ModelJson {
  const other = /\.(h5|hdf5|keras|pb|tflite|onnx|pt|pth|safetensors)$/i.exec(path);
  if (other !== null) {
    throw new Error(`'${source}' is not a TensorFlow.js model (${other[0]}). Convert it first, e.g. with tensorflowjs_converter (pip install tensorflowjs), and give its model.json.`);
  }
  let json: ModelJson;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as ModelJson;
  } catch (error) {
    throw new Error(`'${source}' is not a model: neither a .tfws file nor JSON (${(error as Error).message}).`, { cause: error });
  }
  if (typeof json !== 'object' || json === null || !('modelTopology' in json) || !Array.isArray(json.weightsManifest)) {
    throw new Error(`'${source}' is JSON, but not a model: it lacks ${json !== null && typeof json === 'object' && 'modelTopology' in json ? 'weightsManifest' : 'modelTopology'}. Give the model.json that model.save() or tensorflowjs_converter wrote.`);
  }
  return json;
}

/** Where each weight lies: in which group of shards, and from where to where in it. */
interface Place {
  group: number;
  start: number;
  end: number;
}

async function openShards(source: string, path: string, { weightsManifest }: ModelJson): Promise<{ specs: Spec[]; read: WeightSource['read']; files: string[]; bytes: number }> {
  const specs = weightsManifest.flatMap(({ weights }) => weights);
  checkSpecs(specs);
  const places: Place[] = [];
  const groups: Run[] = [];
  for (const { paths, weights } of weightsManifest) {
    const run = new Run(await Promise.all(paths.map((shard) => locateShard(source, path, shard))));
    let at = 0;
    for (const spec of weights) {
      const end = at + (spec.dtype === 'string' ? await stringBytes(run, spec, at) : tensorLayout(spec, 0).count * tensorLayout(spec, 0).width);
      places.push({ group: groups.length, start: at, end });
      at = end;
    }
    if (at !== run.bytes) {
      throw new Error(`'${source}': its weights need ${at} bytes, but the shards ${paths.join(', ')} have ${run.bytes}. They are truncated or of another model: copy or download them again.`);
    }
    groups.push(run);
  }
  return {
    specs,
    read: (index) => groups[places[index].group].read(places[index].start, places[index].end),
    files: isUrl(source) ? [] : await Promise.all(groups.flatMap(({ shards }) => shards.map(({ file }) => realpath(file)))),
    bytes: groups.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

interface Shard {
  file: string;
  bytes: number;
}

async function locateShard(source: string, path: string, shard: string): Promise<Shard> {
  if (isUrl(source)) {
    const url = new URL(shard, source);
    // What a signed URL carries belongs to its shards too.
    if (url.search === '') url.search = new URL(source).search;
    const { path: file, bytes } = await download(url.href, dirname(path));
    return { file, bytes: bytes.length };
  }
  const file = join(dirname(path), shard);
  const found = statSync(file, { throwIfNoEntry: false });
  if (found === undefined) throw new Error(`'${source}': the shard '${shard}' is missing (expected at '${file}'). A model is its model.json and all shards that it names.`);
  return { file, bytes: found.size };
}

/** Shards one after the other, as one run of bytes. */
class Run {
  readonly bytes: number;
  constructor(readonly shards: readonly Shard[]) {
    this.bytes = shards.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  async read(start: number, end: number): Promise<Uint8Array> {
    const result = new Uint8Array(end - start);
    let before = 0;
    for (const { file, bytes } of this.shards) {
      const from = Math.max(start, before);
      const to = Math.min(end, before + bytes);
      if (from < to) {
        const handle = await open(file, 'r');
        try {
          const { bytesRead } = await handle.read(result, from - start, to - from, from - before);
          if (bytesRead !== to - from) throw new Error(`'${file}' became shorter while it was read.`);
        } finally {
          await handle.close();
        }
      }
      before += bytes;
    }
    return result;
  }
}

/** Each string stands after its length in 4 bytes. */
async function stringBytes(run: Run, spec: Spec, start: number): Promise<number> {
  const count = spec.shape.reduce((product, n) => product * n, 1);
  let at = start;
  for (let i = 0; i < count && at + 4 <= run.bytes; i++) {
    const length = await run.read(at, at + 4);
    at += 4 + new DataView(length.buffer).getUint32(0, true);
  }
  return at - start;
}

let spoolDirectory: string | null = null;

/** The temporary directory for downloads, removed when the process ends. */
async function spool(): Promise<string> {
  if (spoolDirectory === null) {
    const made = await mkdtemp(join(tmpdir(), 'tfws-'));
    spoolDirectory = made;
    process.once('exit', () => rmSync(made, { recursive: true, force: true }));
  }
  return spoolDirectory;
}

let downloads = 0;

async function download(url: string, directory: string): Promise<{ path: string; bytes: Uint8Array }> {
  let response: Response;
  let bytes: Uint8Array;
  try {
    response = await fetch(url);
    bytes = response.ok ? new Uint8Array(await response.arrayBuffer()) : new Uint8Array(0);
  } catch (error) {
    throw new Error(`'${url}' cannot be fetched: ${((error as Error).cause as Error | undefined)?.message ?? (error as Error).message}.`, { cause: error });
  }
  if (!response.ok) throw new Error(`'${url}' cannot be fetched: HTTP ${response.status}.`);
  const path = join(directory, `${downloads++}-${basename(new URL(url).pathname)}`);
  writeFileSync(path, bytes);
  return { path, bytes };
}
