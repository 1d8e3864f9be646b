/** The loading half of `compressed`: finds the bytes of a `.tfws` file behind a path, a URL or an IOHandler. */
import { io } from '@tensorflow/tfjs-core';
import { unwrapCarrier } from './carrier.js';
import { decodeContainer } from './container_reader.js';

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

export interface CompressedSourceArgs {
  /** Stands in for `fetch` where the file comes by HTTP, as in the host's `LoadOptions`: to show progress, send headers, abort. Default: `fetch`. */
  fetchFunc?: (url: string) => Promise<Response>;
}

/**
 * An IOHandler that loads what `model.save(compressed(…))` wrote: `await tf.loadLayersModel(compressed(source))`.
 * `source` is a path or `file://` URL (Node), an `http(s)://` or relative URL (browser), each of the file or of its
 * directory, any other URL for which tfjs has a handler (`indexeddb://`, `localstorage://`), or an IOHandler.
 */
export function compressedSource(source: string | io.IOHandler, { fetchFunc = fetch }: CompressedSourceArgs = {}): io.IOHandler & { load: io.LoadHandler } {
  return {
    load: async () => {
      const name = sourceName(source);
      let handler = source;
      if (typeof handler === 'string') {
        const path = filePath(handler);
        if (path !== null || /^https?:/.test(handler) || !handler.includes('://')) {
          const file = fileAt(path ?? handler);
          const bytes = await (path !== null ? readFile(file) : download(file, fetchFunc)).catch((error: Error) => {
            throw new Error(`compressed: ${name} cannot be read: ${error.message}.`, { cause: error });
          });
          return decodeContainer(bytes, name);
        }
        handler = io.getLoadHandlers(handler)[0];
      }
      if (handler?.load === undefined) throw new Error(`compressed: ${name} cannot be read: no handler can load it.`);
      return unwrapCarrier(await handler.load(), name);
    },
  };
}

export const sourceName = (source: string | io.IOHandler): string => (typeof source === 'string' ? `'${source}'` : 'the IOHandler');

const readFile = async (path: string): Promise<Uint8Array> => (await nodeModule<typeof import('node:fs/promises')>('fs/promises')).readFile(path);

async function download(url: string, fetchFunc: (url: string) => Promise<Response>): Promise<Uint8Array> {
  const response = await fetchFunc(url);
  if (!response.ok) throw new Error(`HTTP ${response.status} for ${url}`);
  return new Uint8Array(await response.arrayBuffer());
}
