/**
 * `npm run bench -- <area> [--json] [--backend NAME]`: runs one area and prints its table; with `--json` the last line is one JSON object.
 * An area is a file beside this one that exports `run(options): Promise<Record<string, unknown>>`; where it also exports `backends`, it
 * runs once for each of those in a process of its own, and the result is keyed by backend; `--backend` runs one of them only, here, and
 * gives its result alone. A backend that is not installed is left out, with a line that says so. `--backend webgl` and `webgpu` run it in
 * headless Chromium.
 */

import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import * as tf from '@tensorflow/tfjs-core';
import { BROWSER_BACKENDS, runInBrowser } from './browser.js';

export interface BenchOptions {
  /** The backend that is active, for areas that name `backends`. */
  backend?: string;
  /** Prints one line of a table. */
  print(line: string): void;
}

export interface Area {
  run(options: BenchOptions): Promise<Record<string, unknown>>;
  backends?: readonly string[];
}

/** Exit code of a run whose backend is not installed here: no failure of the area. */
const NOT_INSTALLED = 3;

const here = dirname(fileURLToPath(import.meta.url));
const AREA = /^export (async function|const) run\b/m;

/** The areas: every module here that exports `run`. */
function areas(): string[] {
  return readdirSync(here)
    .filter((file) => file.endsWith('.ts') && AREA.test(readFileSync(join(here, file), 'utf8')))
    .map((file) => file.slice(0, -3).replaceAll('_', '-'))
    .sort();
}

async function importNative(): Promise<void> {
  try {
    await import(['@tensorflow', 'tfjs-node'].join('/')); // optional: its types need not be there
  } catch (error) {
    process.exitCode = NOT_INSTALLED;
    throw new Error(`bench: the backend 'tensorflow' does not load here (npm install @tensorflow/tfjs-node): ${(error as Error).message.split('\n')[0]}`, { cause: error });
  }
}

async function startBackend(backend: string): Promise<void> {
  if (backend === 'wasm') await import('@tensorflow/tfjs-backend-wasm');
  else if (backend === 'cpu') await import('@tensorflow/tfjs-backend-cpu');
  else if (backend === 'tensorflow') await importNative();
  else throw new Error(`bench: unknown backend '${backend}'. Backends: tensorflow, wasm, cpu; in Chromium webgl, webgpu.`);
  await tf.setBackend(backend);
  await tf.ready();
  if (tf.getBackend() !== backend) throw new Error(`bench: the backend '${backend}' did not start; '${tf.getBackend()}' is active.`);
}

/** Runs this script again for one backend and returns the JSON of its last line; null where that backend is not installed. */
async function runInChild(area: string, backend: string): Promise<Record<string, unknown> | null> {
  const child = spawn(process.execPath, [...process.execArgv, fileURLToPath(import.meta.url), area, '--json', '--backend', backend], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: '3' },
  });
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk));
  const code = await new Promise<number | null>((resolve, reject) => child.on('close', resolve).on('error', reject));
  if (code === NOT_INSTALLED) return null;
  if (code !== 0) throw new Error(`bench: ${area} failed on '${backend}'.`);
  return JSON.parse(out.trim().split('\n').at(-1) ?? '') as Record<string, unknown>;
}

async function main(name: string | undefined, { json, backend }: { json?: boolean; backend?: string }): Promise<void> {
  const known = areas();
  if (name === undefined) return console.log(`Areas: ${known.join(', ')}\nnpm run bench -- <area> [--json] [--backend NAME]`);
  if (!known.includes(name)) throw new Error(`bench: unknown area '${name}'. Areas: ${known.join(', ')}.`);
  const area = (await import(`./${name.replaceAll('-', '_')}.ts`)) as Area;
  const print = (line: string) => void process.stderr.write(`${line}\n`);
  let result: Record<string, unknown> = {};
  if (area.backends === undefined) {
    if (backend !== undefined) throw new Error(`bench: the area '${name}' has no choice of backend.`);
    result = await area.run({ print });
  } else if (backend !== undefined && BROWSER_BACKENDS.includes(backend)) {
    result = await runInBrowser(name.replaceAll('-', '_'), backend, print);
  } else if (backend !== undefined) {
    await startBackend(backend);
    result = await area.run({ backend, print });
  } else {
    for (const each of area.backends) {
      const measured = await runInChild(name, each);
      if (measured !== null) result[each] = measured;
    }
  }
  if (json) console.log(JSON.stringify(result));
}

const program = new Command('bench')
  .argument('[area]', 'what to measure; without one the areas are listed')
  .option('--json', 'end with one line of JSON')
  .option('--backend <name>', 'run on this backend only, in this process')
  .action(main);

try {
  await program.parseAsync();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode ??= 1;
}
