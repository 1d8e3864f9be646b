/** Runs cases of hostile files in a thread that is ended if one of them takes too long. */
import { build } from 'esbuild';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { FuzzMessage, FuzzSummary } from './fuzz_worker.js';

/** Bundles a TypeScript module for Node into `directory`, and returns the file. */
export async function bundleForNode(module: URL, directory: string): Promise<string> {
  const outfile = join(directory, 'bundle.mjs');
  await build({
    entryPoints: [fileURLToPath(module)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'error',
    // The host's CommonJS asks for Node's own modules.
    banner: { js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);" },
  });
  return outfile;
}

/** Decodes the cases from `from` up to `to`; fails if one takes longer than `milliseconds`. */
export async function runFuzz(from: number, to: number, milliseconds: number): Promise<FuzzSummary> {
  const directory = await mkdtemp(join(tmpdir(), 'tfws-fuzz-'));
  try {
    const worker = new Worker(await bundleForNode(new URL('fuzz_worker.ts', import.meta.url), directory), { workerData: { from, to } });
    return await new Promise((resolve, reject) => {
      let current = -1;
      let watch: NodeJS.Timeout | undefined;
      const end = (finish: () => void): void => {
        clearTimeout(watch);
        void worker.terminate();
        finish();
      };
      worker.on('message', (message: FuzzMessage) => {
        if ('summary' in message) return end(() => resolve(message.summary));
        current = message.begins;
        clearTimeout(watch);
        watch = setTimeout(() => end(() => reject(new Error(`case ${current} took longer than ${milliseconds} ms`))), milliseconds);
      });
      worker.on('error', (error) => end(() => reject(error)));
    });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
