/**
 * Saves that are killed: whatever the moment, what stands under the file's name is the old model or the new. Once in the
 * middle of each call of the file system here; with `npm run fuzz` fifty times at random moments, too.
 */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { compressed } from '../../src/compression/compressed.js';
import { bundleForNode } from './fuzz/run_fuzz.js';
import { seeded } from './helpers.js';
import { savedModels } from './killed_save_models.js';

/** Calls of the file system that one save makes. */
const STEPS = 10;
const timed = process.env.TFWS_FUZZ === undefined ? 0 : 50;

let directory = '';
let worker = '';
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tfws-killed-'));
  worker = await bundleForNode(new URL('killed_save_worker.ts', import.meta.url), directory);
});
afterAll(() => rm(directory, { recursive: true, force: true }));

/** Runs a process that saves to `path` and dies; returns how often it began to save. */
async function saveAndDie(path: string, step: number | null, milliseconds: number): Promise<number> {
  const child = spawn(process.execPath, [worker, path, ...(step === null ? [] : [String(step)])], { stdio: ['ignore', 'pipe', 'inherit'] });
  let saves = 0;
  child.stdout.on('data', (data: Buffer) => {
    if (saves === 0 && step === null) setTimeout(() => child.kill('SIGKILL'), milliseconds);
    saves += data.toString().split('\n').length - 1;
  });
  const signal = await new Promise((resolve) => child.on('close', (_, signal) => resolve(signal)));
  expect(signal).toBe('SIGKILL');
  return saves;
}

/** Which of the two models stands at `path`. */
async function modelAt(path: string): Promise<number> {
  const { weightData } = await compressed(path).load();
  const found = savedModels().findIndex((model) => Buffer.compare(Buffer.from(model.weightData as ArrayBuffer), Buffer.from(weightData as ArrayBuffer)) === 0);
  expect(found).toBeGreaterThanOrEqual(0);
  return found;
}

it('leaves the old model or the new when killed in any step of a save', async () => {
  const found: number[] = [];
  for (let step = 1; step <= STEPS; step++) {
    const path = join(directory, `step${step}`);
    await mkdir(path);
    await compressed(path).save(savedModels()[0]);
    expect(await saveAndDie(path, step, 0)).toBe(1);
    found.push(await modelAt(path));
    // What a killed save leaves beside the file does not stop the next.
    expect((await readdir(path)).length).toBeLessThanOrEqual(2);
    await compressed(path).save(savedModels()[1]);
    expect(await modelAt(path)).toBe(1);
  }
  // realpath, mkdir, open, write, sync, close: the old; from the rename on the new.
  expect(found).toEqual([0, 0, 0, 0, 0, 0, 1, 1, 1, 1]);
}, 300_000);

if (timed > 0) {
  it(`leaves the old model or the new when killed at ${timed} random moments`, async () => {
    const random = seeded(2026);
    const path = join(directory, 'timed');
    await compressed(path).save(savedModels()[0]);
    let saves = 0;
    for (let n = 0; n < timed; n++) {
      saves += await saveAndDie(path, null, random() * 400);
      await modelAt(path);
    }
    console.log(`${timed} processes killed during ${saves} saves`);
  }, 1_200_000);
}
