/** Loads an installed backend for what has to run a model. None is a dependency of this package. */
import * as tfc from '@tensorflow/tfjs-core';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** By speed. */
const PACKAGES: Record<string, string[]> = {
  tensorflow: ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'],
  wasm: ['@tensorflow/tfjs-backend-wasm'],
  cpu: ['@tensorflow/tfjs-backend-cpu', '@tensorflow/tfjs'],
};
export const BACKENDS = Object.keys(PACKAGES);

/** A module of the user's project, or one that stands beside this package. */
export async function importInstalled<T>(name: string): Promise<T> {
  try {
    return (await import(pathToFileURL(createRequire(join(process.cwd(), 'package.json')).resolve(name)).href)) as T;
  } catch (error) {
    if (!['MODULE_NOT_FOUND', 'ERR_MODULE_NOT_FOUND'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    return (await import(name)) as T;
  }
}

/** Makes the fastest installed backend the active one, or the one asked for; returns its name. */
export async function startBackend(wanted?: string, load: (name: string) => Promise<unknown> = importInstalled): Promise<string> {
  const failures: string[] = [];
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
  for (const backend of wanted === undefined ? BACKENDS : [wanted]) {
    for (const name of PACKAGES[backend]) {
      try {
        await load(name);
        if (await tfc.setBackend(backend)) return backend;
        failures.push(`${name} does not start`);
      } catch (error) {
        failures.push(`${name}: ${(error as Error).message.split('\n')[0]}`);
      }
    }
  }
  throw new Error(
    `a model has to run for this, and no backend${wanted === undefined ? '' : ` '${wanted}'`} could be loaded. Install one: npm install ${wanted === undefined ? '@tensorflow/tfjs-node (fastest), or @tensorflow/tfjs-backend-wasm' : PACKAGES[wanted].at(-1)}. Tried: ${failures.join('; ')}.`,
  );
}
