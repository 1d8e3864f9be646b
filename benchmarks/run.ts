/**
 * `npm run bench -- <area> [--json] [--backend NAME]`: runs one area and prints its table; with `--json` the last line is one JSON object.
 * An area is a file beside this one that exports `run(options): Promise<Record<string, unknown>>`; where it also exports `backends`, it
 * runs once for each of those in a process of its own, and the result is keyed by backend.
 */

import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import * as tf from '@tensorflow/tfjs-core';

export interface BenchOptions {
  /** The backend that is active, for areas that name `backends`. */
  backend?: string;
  /** Prints one line of a table. */
  print(line: string): void;
}

interface Area {
  run(options: BenchOptions): Promise<Record<string, unknown>>;
  backends?: readonly string[];
}

const here = dirname(fileURLToPath(import.meta.url));
const AREA = /^export (async function|const) run\b/m;

/** The areas: every module here that exports `run`. */
function areas(): string[] {
  return readdirSync(here)
    .filter((file) => file.endsWith('.ts') && AREA.test(readFileSync(join(here, file), 'utf8')))
    .map((file) => file.slice(0, -3).replaceAll('_', '-'))
    .sort();
}

async function startBackend(backend: string): Promise<void> {
  if (backend === 'wasm') await import('@tensorflow/tfjs-backend-wasm');
  else if (backend === 'cpu') await import('@tensorflow/tfjs-backend-cpu');
  else if (backend === 'tensorflow') await import(['@tensorflow', 'tfjs-node'].join('/')); // optional: its types need not be there
  else throw new Error(`bench: unknown backend '${backend}'. Backends: tensorflow, wasm, cpu.`);
  await tf.setBackend(backend);
  await tf.ready();
  if (tf.getBackend() !== backend) throw new Error(`bench: the backend '${backend}' did not start; '${tf.getBackend()}' is active.`);
}

/** Runs this script again for one backend and returns the JSON of its last line. */
async function runInChild(area: string, backend: string): Promise<Record<string, unknown>> {
  const child = spawn(process.execPath, [...process.execArgv, fileURLToPath(import.meta.url), area, '--json', '--backend', backend], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: '3' },
  });
  let out = '';
  let errors = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk));
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk;
    process.stderr.write(chunk);
  });
  const code = await new Promise<number | null>((resolve, reject) => child.on('close', resolve).on('error', reject));
  if (code !== 0) throw new Error(errors.includes('tfjs-node') ? `bench: the backend '${backend}' does not load here.` : `bench: ${area} failed on '${backend}'.`);
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
  } else if (backend !== undefined) {
    await startBackend(backend);
    result = await area.run({ backend, print });
  } else {
    for (const each of area.backends) {
      try {
        result[each] = await runInChild(name, each);
      } catch (error) {
        print(`!!! ${(error as Error).message}`);
        process.exitCode = 1;
      }
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
  process.exitCode = 1;
}
