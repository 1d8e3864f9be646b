/**
 * A process that saves the same two models in turns to the path that it is given, until it is killed: by whoever started
 * it, or, if a number of a step is given, by itself in the middle of that call of the file system.
 */
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { compressed } from '../../src/compression/compressed.js';
import { savedModels } from './killed_save_models.js';

type AnyFunction = (...args: unknown[]) => Promise<unknown>;
type Open = Record<string, AnyFunction>;

const [path, step] = process.argv.slice(2);
let left = step === undefined ? Infinity : Number(step);

/** Ends this process as abruptly as a power cut ends a program. */
const die = (): boolean => process.kill(process.pid, 'SIGKILL');

/** Counts the calls of `owner[name]`; the one that it is the turn of is done in part, or not at all, and is the last. */
function interrupt(owner: Open, name: string): void {
  const original = owner[name];
  owner[name] = async function (this: unknown, ...args) {
    if (--left > 0) return await original.apply(this, args);
    if (name === 'writeFile') await original.call(this, (args[0] as Uint8Array).subarray(0, (args[0] as Uint8Array).length >> 1));
    else if (name === 'rename') await original.apply(this, args);
    die();
    return await new Promise(() => undefined);
  };
}

if (step !== undefined) {
  const fs = createRequire(import.meta.url)('node:fs/promises') as unknown as Open;
  for (const name of ['realpath', 'mkdir', 'rename']) interrupt(fs, name);
  const { open } = fs;
  fs['open'] = async (...args) => {
    const handle = (await open(...args)) as Open;
    for (const name of ['writeFile', 'sync', 'close']) interrupt(handle, name);
    return handle;
  };
  interrupt(fs, 'open');
  syncBuiltinESMExports();
}

for (let turn = 1; ; turn++) {
  process.stdout.write('saving\n');
  await compressed(path).save(savedModels()[turn % 2]);
}
