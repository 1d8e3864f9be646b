/**
 * Writes a file so that, whatever happens, either the old content stands under its name or the new: temporary file in
 * the same directory, fsync, rename, fsync of the directory. (A killed process leaves the temporary file; nobody reads
 * it.) The host has no `file://` handler without tfjs-node, and
 * that one writes in place.
 */
import { fileAt, nodeModule } from './compressed_source.js';

/** Writes `bytes` to what `path` means, creating directories, and returns the file's name. */
export const writeFileSafely = (path: string, bytes: Uint8Array): Promise<string> => replaceFile(fileAt(path), bytes);

/** Writes `bytes` to the file of that name, creating directories, and returns its real name. */
export async function replaceFile(name: string, bytes: Uint8Array): Promise<string> {
  const fs = await nodeModule<typeof import('node:fs/promises')>('fs/promises');
  const { dirname } = await nodeModule<typeof import('node:path')>('path');
  // A link stays a link: its target is replaced.
  const file = await fs.realpath(name).catch(() => name);
  const directory = dirname(file);
  // Not by the process's number alone: in containers that is the same each time, and a killed save leaves its file behind.
  const temporary = `${file}.${process.pid}-${Math.random().toString(36).slice(2, 10)}.tmp`;
  try {
    await fs.mkdir(directory, { recursive: true });
    try {
      await writeSynced(fs, temporary, bytes);
      await fs.rename(temporary, file);
    } catch (error) {
      await fs.rm(temporary, { force: true });
      throw error;
    }
    await syncDirectory(fs, directory);
  } catch (error) {
    throw new Error(
      `compressed: '${file}' cannot be written: ${(error as Error).message}. What stood there before is unchanged.`,
      { cause: error },
    );
  }
  return file;
}

type Fs = typeof import('node:fs/promises');

async function writeSynced(fs: Fs, file: string, bytes: Uint8Array): Promise<void> {
  const handle = await fs.open(file, 'wx');
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes the rename durable. Windows cannot open a directory and needs no such step. */
async function syncDirectory(fs: Fs, directory: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await fs.open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
