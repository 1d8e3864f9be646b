import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { downloadFiles } from '../../examples/common/download.js';

const content = Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * i) % 251));
const file = { file: 'data.bin', bytes: content.length, sha256: createHash('sha256').update(content).digest('hex') };

let directory: string;
let server: Server;
let mirror: string;
let ranges: (string | undefined)[];
/** Ends the connection of a server that `breaks`, once the client has got something. */
let breakOff = () => {};
let behaviour: 'whole' | 'ranges' | 'breaks' | 'missing' | 'wrong' | 'long';

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tfws-download-'));
  ranges = [];
  server = createServer((request, response) => {
    ranges.push(request.headers.range);
    const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    if (behaviour === 'missing') response.writeHead(404, 'Not Found').end();
    else if (behaviour === 'wrong') response.end(Buffer.alloc(content.length));
    else if (behaviour === 'long') response.end(Buffer.concat([content, content]));
    else if (behaviour === 'whole') response.end(content);
    else if (behaviour === 'breaks') {
      response.writeHead(200, { 'content-length': content.length });
      response.write(content.subarray(0, 2000));
      breakOff = () => response.destroy();
    } else {
      response.writeHead(206, { 'content-range': `bytes ${from}-${content.length - 1}/${content.length}` });
      response.end(content.subarray(from));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  mirror = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(directory, { recursive: true, force: true });
});

const fetchIt = (mirrors = [mirror], seen: number[] = []) =>
  downloadFiles({ files: [file], mirrors, directory, onProgress: (_, bytes) => { seen.push(bytes); breakOff(); } }); // prettier-ignore
const target = () => join(directory, 'data.bin');

describe('downloading', () => {
  it('keeps what arrived before the connection broke and asks only for the rest', async () => {
    behaviour = 'breaks';
    await expect(fetchIt()).rejects.toThrow(/download: data\.bin could not be fetched:[\s\S]*run the same command again to go on/);
    expect(existsSync(target())).toBe(false);
    const have = statSync(`${target()}.part`).size;
    expect(have).toBeGreaterThan(0);
    expect(have).toBeLessThanOrEqual(2000);
    behaviour = 'ranges';
    breakOff = () => {};
    const seen: number[] = [];
    await fetchIt([mirror], seen);
    expect(ranges).toEqual([undefined, `bytes=${have}-`]);
    expect(seen.at(-1)).toBe(5000);
    expect(readFileSync(target()).equals(content)).toBe(true);
  });

  it('starts again where the server knows no ranges', async () => {
    writeFileSync(`${target()}.part`, content.subarray(0, 100));
    behaviour = 'whole';
    await fetchIt();
    expect(ranges).toEqual(['bytes=100-']);
    expect(readFileSync(target()).equals(content)).toBe(true);
  });

  it('does not fetch again what is there with the right checksum, but replaces a damaged file', async () => {
    writeFileSync(target(), content);
    behaviour = 'whole';
    await fetchIt();
    expect(ranges).toEqual([]);
    writeFileSync(target(), 'damaged');
    await fetchIt();
    expect(readFileSync(target()).equals(content)).toBe(true);
  });

  it('finishes without a request where the part is already complete', async () => {
    writeFileSync(`${target()}.part`, content);
    await fetchIt();
    expect(ranges).toEqual([]);
    expect(existsSync(target())).toBe(true);
  });

  it('refuses wrong bytes and removes them', async () => {
    behaviour = 'wrong';
    await expect(fetchIt()).rejects.toThrow(`wrong checksum: expected SHA-256 ${file.sha256}, got `);
    expect(existsSync(target()) || existsSync(`${target()}.part`)).toBe(false);
  });

  it('refuses more bytes than expected and removes them', async () => {
    behaviour = 'long';
    await expect(fetchIt()).rejects.toThrow('the server sends more than the expected 5000 bytes');
    expect(existsSync(`${target()}.part`)).toBe(false);
  });

  it('takes the next mirror where one has no such file, and names every failure where none has', async () => {
    behaviour = 'missing';
    await expect(fetchIt([mirror, `${mirror}other/`])).rejects.toThrow(/data\.bin: HTTP 404 Not Found\n.*other\/data\.bin: HTTP 404 Not Found/);
    behaviour = 'whole';
    await fetchIt(['http://127.0.0.1:1/', mirror]);
    expect(readFileSync(target()).equals(content)).toBe(true);
  });
});
