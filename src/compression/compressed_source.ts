/** The loading half of `compressed`: finds the bytes of a `.tfws` file behind a path, a URL or an IOHandler. */
import { io } from '@tensorflow/tfjs-core';
import { unwrapCarrier } from './carrier.js';
import { decodeModelArtifacts, hasMagic } from './container_reader.js';
import { checkTopology } from './topology_check.js';

export const FILE_NAME = 'model.tfws';

/** A module of Node, by a specifier that bundlers for the browser leave alone. */
export const nodeModule = <T>(name: string): Promise<T> =>
  import(/* webpackIgnore: true */ /* @vite-ignore */ `node:${name}`) as Promise<T>;

const isNode = (): boolean => typeof process !== 'undefined' && process.versions?.node !== undefined;

/** The path of `file://path`, or of a plain path in Node; null for every other kind of URL. */
export function filePath(url: string): string | null {
  if (url.startsWith('file://')) return url.slice('file://'.length);
  return isNode() && !url.includes('://') ? url : null;
}

/**
 * An IOHandler that loads what `model.save(compressed(…))` wrote: `await tf.loadLayersModel(compressed(source))`.
 * `source` is a path or `file://` URL (Node), an `http(s)://` or relative URL (browser), each of the file or of its
 * directory, any other URL for which tfjs has a handler (`indexeddb://`, `localstorage://`), or an IOHandler.
 */
export function compressedSource(source: string | io.IOHandler): io.IOHandler & { load: io.LoadHandler } {
  return {
    load: async () => {
      const artifacts = await loadArtifacts(source);
      checkTopology(artifacts, sourceName(source));
      return artifacts;
    },
  };
}

export const sourceName = (source: string | io.IOHandler): string => (typeof source === 'string' ? `'${source}'` : 'the IOHandler');

async function loadArtifacts(source: string | io.IOHandler): Promise<io.ModelArtifacts> {
  const name = sourceName(source);
  if (typeof source === 'string') {
    const path = filePath(source);
    if (path !== null) return decodeModelArtifacts(await readFile(path, name), name);
    if (/^https?:/.test(source) || !source.includes('://')) return decodeModelArtifacts(await download(source, name), name);
  }
  const handler = typeof source === 'string' ? io.getLoadHandlers(source)[0] : source;
  if (handler?.load === undefined) throw new Error(`compressed: ${name} cannot be loaded from: no handler with a load method.`);
  return unwrapCarrier(await handler.load(), name);
}

async function readFile(path: string, name: string): Promise<Uint8Array> {
  const fs = await nodeModule<typeof import('node:fs/promises')>('fs/promises');
  try {
    const directory = (await fs.stat(path)).isDirectory();
    return await fs.readFile(directory ? `${path.replace(/\/+$/, '')}/${FILE_NAME}` : path);
  } catch (error) {
    throw new Error(`compressed: ${name} cannot be read: ${(error as Error).message}.`, { cause: error });
  }
}

async function download(url: string, name: string): Promise<Uint8Array> {
  const [address, query = ''] = url.split(/(?=[?#])/, 2);
  const inside = `${address.replace(/\/+$/, '')}/${FILE_NAME}${query}`;
  // A name with an extension is a file and one with a slash at the end a directory; otherwise only asking tells.
  const candidates = address.endsWith('/') ? [inside] : /\.[^/.]+$/.test(address.replace(/^\w+:\/\/[^/]*/, '')) ? [url] : [url, inside];
  let status = '';
  for (const candidate of candidates) {
    const response = await fetch(candidate);
    if (!response.ok) {
      status = `${response.status} ${response.statusText} for ${candidate}`;
      continue;
    }
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (hasMagic(bytes) || candidate === candidates[candidates.length - 1]) return bytes;
  }
  throw new Error(`compressed: ${name} cannot be fetched: ${status}.`);
}
