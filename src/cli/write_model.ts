/** Writes what the command line makes, whole or not at all, and never over what it was made from. */
import type { io } from '@tensorflow/tfjs-core';
import { existsSync, readdirSync, realpathSync, renameSync, rmSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, open } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { fileAt, filePath } from '../compression/compressed_source.js';
import { replaceFile } from '../compression/file_target.js';
import { withCleanup } from './unfinished.js';

/** Largest shard: what browsers still cache, as tensorflowjs_converter chooses. */
const SHARD_BYTES = 4 * 2 ** 20;

/** The path of a `file://` URL or a plain path. @throws Error for any other kind of URL. */
function localTarget(out: string): string {
  const path = filePath(out);
  if (path === null) throw new Error(`'${out}' is a URL, and the output is a file here. Give a path.`);
  return path;
}

/** The file that `out` means. @throws Error if it is part of the input, or exists and `force` is not given. */
export function checkFileTarget(target: string, inputs: readonly string[], force: boolean): string {
  const out = localTarget(target);
  // A path without the suffix means a directory.
  if (fileAt(out) !== out && existsSync(out) && readdirOrNull(out) === null) throw new Error(`'${out}' is a file; a compressed model is a file that ends in .tfws, or model.tfws in a directory of the name given.`);
  return checkTarget(fileAt(out), inputs, force);
}

/** The file of a report. */
export function checkTarget(target: string, inputs: readonly string[], force: boolean): string {
  const file = localTarget(target);
  if (!existsSync(file)) return file;
  if (inputs.includes(realpathSync(file))) throw new Error(`'${file}' is part of the input, which is never overwritten. Choose another output.`);
  if (readdirOrNull(file) !== null) throw new Error(`'${file}' is a directory.`);
  if (!force) throw new Error(`'${file}' exists already. Choose another output, or say --force to replace it.`);
  return file;
}

/** A directory for a stock model. @throws Error if it holds the input, or anything and `force` is not given. */
export function checkDirectoryTarget(target: string, inputs: readonly string[], force: boolean): string {
  const out = localTarget(target);
  if (!existsSync(out)) return out;
  const entries = readdirOrNull(out);
  if (entries === null) throw new Error(`'${out}' is a file; a stock model is a directory with model.json and shards.`);
  const real = realpathSync(out);
  if (inputs.some((input) => dirname(input) === real || input.startsWith(`${real}/`))) {
    throw new Error(`'${out}' holds the input, which is never overwritten. Choose another directory.`);
  }
  if (entries.length > 0 && !force) throw new Error(`'${out}' is not empty. Choose another directory, or say --force to replace all that is in it.`);
  return out;
}

function readdirOrNull(path: string): string[] | null {
  try {
    return readdirSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') return null;
    throw error;
  }
}

export function writeBytes(file: string, bytes: Uint8Array | string): Promise<string> {
  const removeTemporary = (): void => {
    const directory = dirname(resolve(file));
    if (!existsSync(directory)) return;
    for (const name of readdirSync(directory)) if (name.startsWith(`${basename(file)}.${process.pid}-`) && name.endsWith('.tmp')) rmSync(join(directory, name), { force: true });
  };
  return withCleanup(removeTemporary, () => replaceFile(file, typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes));
}

/**
 * model.json and shards in the directory `out`: written beside it under another name and then renamed, so that it is there whole or as before.
 * Returns the bytes written.
 */
export async function writeStockModel(out: string, artifacts: io.ModelArtifacts, tensor: (index: number) => Promise<Uint8Array> | Uint8Array): Promise<number> {
  const target = resolve(out);
  const { weightSpecs = [], ...rest } = artifacts;
  for (const key of ['weightData', 'getWeightStream'] as const) delete rest[key];
  let made = '';
  const remove = (): void => {
    if (made !== '') rmSync(made, { recursive: true, force: true });
  };
  try {
    return await withCleanup(remove, write);
  } catch (error) {
    remove();
    throw new Error(`'${out}' cannot be written: ${(error as Error).message}. What stood there before is unchanged.`, { cause: error });
  }

  async function write(): Promise<number> {
    await mkdir(dirname(target), { recursive: true });
    // Readable as any directory that is made: mkdtemp's are not.
    made = await mkdtemp(join(dirname(target), `.${basename(target)}-`));
    await chmod(made, 0o777 & ~process.umask());
    const { names, bytes } = await writeShards(made, weightSpecs.length, tensor);
    const json = JSON.stringify({ ...rest, weightsManifest: [{ paths: names, weights: weightSpecs }] });
    await writeBytes(join(made, 'model.json'), json);
    moveDirectory(made, target);
    return bytes + new TextEncoder().encode(json).length;
  }
}

async function writeShards(directory: string, count: number, tensor: (index: number) => Promise<Uint8Array> | Uint8Array): Promise<{ names: string[]; bytes: number }> {
  const names: string[] = [];
  let total = 0;
  let buffered: Uint8Array[] = [];
  let size = 0;
  const flush = async (): Promise<void> => {
    if (size === 0) return;
    const name = `group1-shard${names.length + 1}.bin`;
    const handle = await open(join(directory, name), 'wx');
    try {
      for (const piece of buffered) await handle.writeFile(piece);
      await handle.sync();
    } finally {
      await handle.close();
    }
    names.push(name);
    total += size;
    [buffered, size] = [[], 0];
  };
  for (let i = 0; i < count; i++) {
    const bytes = await tensor(i);
    for (let at = 0; at < bytes.length; ) {
      const piece = bytes.subarray(at, at + SHARD_BYTES - size);
      buffered.push(piece);
      at += piece.length;
      size += piece.length;
      if (size === SHARD_BYTES) await flush();
    }
  }
  await flush();
  return { names, bytes: total };
}

/** A full directory cannot be renamed over: it is put aside, and put back if that fails. In one go, so that Ctrl-C comes before or after. */
function moveDirectory(made: string, target: string): void {
  const old = existsSync(target) && readdirSync(target).length > 0 ? `${made}.old` : null;
  if (old !== null) renameSync(target, old);
  try {
    renameSync(made, target);
  } catch (error) {
    if (old !== null) renameSync(old, target);
    throw error;
  }
  if (old !== null) rmSync(old, { recursive: true, force: true });
}
