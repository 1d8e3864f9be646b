/** The loading half of `compressed`: finds the bytes of a `.tfws` file behind a path, a URL or an IOHandler. */
import { io } from '@tensorflow/tfjs-core';
import { unwrapCarrier } from './carrier.js';
import { decodeModelArtifacts } from './container_reader.js';

/** The file that a path or URL means: itself if it ends in `.tfws` (before any query), otherwise `model.tfws` in that directory. */
export const fileAt = (path: string): string =>
  /\.tfws([?#]|$)/.test(path) ? path : path.replace(/\/*([?#]|$)/, '/model.tfws$1');

/** A module of Node, by a specifier that bundlers for the browser leave alone. */
export const nodeModule = <T>(name: string): Promise<T> =>
  import(/* webpackIgnore: true */ /* @vite-ignore */ `node:${name}`) as Promise<T>;

const isNode = (): boolean => typeof process === 'object' && !!process.versions?.node;

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
  return { load: () => loadArtifacts(source) };
}

export const sourceName = (source: string | io.IOHandler): string => (typeof source === 'string' ? `'${source}'` : 'the IOHandler');

async function loadArtifacts(source: string | io.IOHandler): Promise<io.ModelArtifacts> {
  const name = sourceName(source);
  if (typeof source === 'string') {
    const path = filePath(source);
    if (path !== null || /^https?:/.test(source) || !source.includes('://')) {
      const read = path !== null ? readFile : download;
      const bytes = await read(fileAt(path ?? source)).catch((error: Error) => {
        throw new Error(`compressed: ${name} cannot be read: ${error.message}.`, { cause: error });
      });
      return decodeModelArtifacts(bytes, name);
    }
  }
  const handler = typeof source === 'string' ? io.getLoadHandlers(source)[0] : source;
  if (handler?.load === undefined) throw new Error(`compressed: ${name} has no handler that can load.`);
  return await unwrapCarrier(await handler.load(), name);
}

const readFile = async (path: string): Promise<Uint8Array> => (await nodeModule<typeof import('node:fs/promises')>('fs/promises')).readFile(path);

async function download(url: string): Promise<Uint8Array> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`HTTP ${response.status} for ${url}`);
  return new Uint8Array(await response.arrayBuffer());
}
