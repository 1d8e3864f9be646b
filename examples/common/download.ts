/** Fetching data files once: into a cache directory, resumed after an interruption, accepted only with the right SHA-256. */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

export interface RemoteFile {
  file: string;
  bytes: number;
  sha256: string;
}

export interface DownloadArgs {
  files: readonly RemoteFile[];
  /** Base URLs, tried in this order for each file. */
  mirrors: readonly string[];
  directory: string;
  /** Called with the bytes so far of one file. */
  onProgress?: (file: RemoteFile, bytes: number) => void;
}

/** Where downloads are kept: `TFWS_CACHE`, else the user's cache directory. */
export function cacheDirectory(name: string): string {
  const base = process.env.TFWS_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'tfjs-weight-sharing');
  return join(base, name);
}

export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** Brings every file into `directory`; what is there with the right checksum is not fetched again. */
export async function downloadFiles({ files, mirrors, directory, onProgress = () => {} }: DownloadArgs): Promise<void> {
  mkdirSync(directory, { recursive: true });
  for (const file of files) {
    const target = join(directory, file.file);
    if (existsSync(target) && (await sha256OfFile(target)) === file.sha256) {
      onProgress(file, file.bytes);
      continue;
    }
    const failures: string[] = [];
    let done = false;
    for (const mirror of mirrors) {
      const url = new URL(file.file, mirror).href;
      try {
        await downloadOne(url, file, `${target}.part`, onProgress);
        renameSync(`${target}.part`, target);
        done = true;
        break;
      } catch (error) {
        const { message, cause } = error as Error;
        failures.push(`${url}: ${message}${cause instanceof Error ? ` (${cause.message})` : ''}`);
      }
    }
    if (!done) {
      throw new Error(
        `download: ${file.file} could not be fetched:\n  ${failures.join('\n  ')}\n` +
          `What has arrived is kept: run the same command again to go on, or put the file into ${directory} by hand.`,
      );
    }
  }
}

async function downloadOne(url: string, file: RemoteFile, part: string, onProgress: NonNullable<DownloadArgs['onProgress']>): Promise<void> {
  let have = existsSync(part) ? statSync(part).size : 0;
  if (have > file.bytes) {
    rmSync(part);
    have = 0;
  }
  if (have < file.bytes) {
    const response = await fetch(url, have > 0 ? { headers: { Range: `bytes=${have}-` } } : {});
    if (!response.ok || response.body === null) throw new Error(`HTTP ${response.status} ${response.statusText}`);
    // A server without ranges answers 200 with the whole file; one that starts elsewhere would give a mixture of two parts.
    const resumes = response.status === 206 && (response.headers.get('content-range') ?? '').startsWith(`bytes ${have}-`);
    if (response.status === 206 && !resumes) throw new Error(`the server sent another range than bytes ${have}-`);
    if (!resumes) have = 0;
    const output = await open(part, resumes ? 'a' : 'w');
    try {
      // Chunk by chunk, so that all that arrived before the connection broke is in the file.
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
        await output.writeFile(chunk);
        have += chunk.length;
        if (have > file.bytes) break;
        onProgress(file, have);
      }
    } finally {
      await output.close();
    }
    if (have > file.bytes) {
      rmSync(part);
      throw new Error(`the server sends more than the expected ${file.bytes} bytes`);
    }
  }
  if (have < file.bytes) throw new Error(`the connection ended after ${have} of ${file.bytes} bytes`);
  const found = await sha256OfFile(part);
  if (found !== file.sha256) {
    rmSync(part); // A wrong start can never be completed to the right file.
    throw new Error(`wrong checksum: expected SHA-256 ${file.sha256}, got ${found}; the file was removed`);
  }
}
