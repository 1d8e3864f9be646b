/**
 * The codec on the quantised indices of a trained LeNet-300-100: coded bytes against the order-0 entropy and against
 * brotli-11 of byte indices in the better order (ratios ours / theirs), speed of decoding and coding, and size of the loader.
 * Speeds are medians of many passes that take turns, in MB of float32 per second of one core's time.
 */
import { build } from 'esbuild';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { encodeDetailed, type EncodedWeight } from '../src/compression/container.js';
import { RangeEncoder } from '../src/compression/range_coder.js';
import { codeTensor, newHistory } from '../src/compression/tensor_codec.js';
import { brotliBytes } from '../test/compression/brotli.js';
import { artifactsOf, entropyBytes, float32 } from '../test/compression/helpers.js';
import { readTrainedIndices } from '../test/fixtures/trained_indices.js';
import { seededNormal } from '../test/helpers.js';
import { median, significant } from './interleaved.js';

const PASSES = 100;

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Source bundled and minified with the host external, as a page would have it. */
async function bundle(contents: string): Promise<Uint8Array> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: root, loader: 'ts' },
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    external: ['@tensorflow/*'],
  });
  return outputFiles[0].contents;
}

type Decoder = Pick<typeof import('../src/compression/container_reader.js'), 'decodeContainer'> &
  Pick<typeof import('../src/compression/range_coder.js'), 'RangeDecoder'> &
  Pick<typeof import('../src/compression/tensor_codec.js'), 'codeTensor' | 'newHistory'>;

/** The decoder in a module of its own: in a page no encoder has run before it and spoilt the engine's type feedback. */
async function isolatedDecoder(): Promise<Decoder> {
  const code = await bundle(
    "export { decodeContainer } from './src/compression/container_reader.js'; export { RangeDecoder } from './src/compression/range_coder.js';" +
      "export { codeTensor, newHistory } from './src/compression/tensor_codec.js';",
  );
  const directory = await mkdtemp(join(tmpdir(), 'tfws-bench-'));
  try {
    await writeFile(join(directory, 'decoder.mjs'), code);
    return (await import(pathToFileURL(join(directory, 'decoder.mjs')).href)) as Decoder;
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** Milliseconds of processor time that `work` takes: what others do on the core does not count. */
function processorTime(work: () => void): number {
  const start = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1e3;
}

interface Contest {
  title: string;
  /** Bytes of float32. */
  size: number;
  run: () => void;
  times: number[];
}

/** Decoding of one tensor on its own, codebook look-up included, checked once. */
function tensorContest(title: string, decoder: Decoder, { tensor, plan }: EncodedWeight): Contest {
  const encoder = new RangeEncoder();
  codeTensor(encoder, tensor, newHistory(), plan!);
  const stream = encoder.finish();
  const bytes = new Uint8Array(tensor.bytes.length);
  const run = (): void => decoder.codeTensor(new decoder.RangeDecoder(stream, 0), { ...tensor, bytes }, decoder.newHistory());
  run();
  if (bytes.some((byte, i) => byte !== tensor.bytes[i])) throw new Error(`codec: ${title}: the decoded tensor differs`);
  return { title, size: bytes.length, run, times: [] };
}

/** A tensor of independent weights with `symbols` values, normally distributed over them. */
function denseWeight(rows: number, columns: number, symbols: number): EncodedWeight {
  const normal = seededNormal(symbols);
  const values = Float32Array.from({ length: rows * columns }, () =>
    Math.max(0, Math.min(symbols - 1, Math.round((normal() * symbols) / 6 + symbols / 2))),
  );
  return encodeDetailed(artifactsOf([float32('dense', [rows, columns], values)])).weights[0];
}

export async function run({ print = console.log }: { print?: (line: string) => void } = {}): Promise<Record<string, unknown>> {
  const { name, layers, codebook } = readTrainedIndices();
  const tensors = layers.map(({ rows, columns, indices }, i) =>
    float32(`w${i}`, [rows, columns], Float32Array.from(indices, (k) => codebook[k])),
  );
  const encoded = encodeDetailed(artifactsOf(tensors));
  const entropy = entropyBytes(Uint8Array.from(layers.flatMap(({ indices }) => [...indices])));
  const coded = encoded.weights.map(({ dataBytes, headerBytes }) => dataBytes + headerBytes);
  const brotli = layers.map(({ indices, columns }) => brotliBytes(indices, columns));
  const sum = (values: number[]): number => values.reduce((a, b) => a + b);

  const decoder = await isolatedDecoder();
  const largest = encoded.weights.reduce((a, b) => (b.tensor.bytes.length > a.tensor.bytes.length ? b : a));
  const [rows, columns] = largest.spec.shape;
  const size = layers.reduce((total, { indices }) => total + 4 * indices.length, 0);
  const contests: Contest[] = [
    tensorContest(`decoding ${rows}×${columns}`, decoder, largest),
    tensorContest(`decoding ${rows}×${columns}, 16 independent values`, decoder, denseWeight(rows, columns, 16)),
    tensorContest(`decoding ${rows}×${columns}, 256 independent values`, decoder, denseWeight(rows, columns, 256)),
    { title: 'decoding the file', size, run: () => void decoder.decodeContainer(encoded.bytes), times: [] },
    { title: `coding ${rows}×${columns}, its plan known`, size: largest.tensor.bytes.length, times: [],
      run: () => codeTensor(new RangeEncoder(), largest.tensor, newHistory(), largest.plan!) },
    { title: 'coding the file, plans included', size, run: () => void encodeDetailed(artifactsOf(tensors)), times: [] },
  ]; // prettier-ignore
  for (let pass = 0; pass < PASSES; pass++) {
    // What takes long takes part in every tenth round.
    for (const contest of pass % 10 === 0 ? contests : contests.slice(0, -1)) contest.times.push(processorTime(contest.run));
  }
  const speeds = contests.map(({ size, times }) => size / 1e3 / median(times.slice(times.length >> 2)));

  const loader = gzipSync(await bundle("export * from './src/load.js';"), { level: 9 }).length;
  print(`fixture ${name}`);
  layers.forEach(({ rows, columns, indices }, i) =>
    print(`${rows}×${columns}: ${coded[i].toFixed(0)} bytes; entropy ${entropyBytes(indices).toFixed(0)}, brotli-11 ${brotli[i]}`),
  );
  contests.forEach(({ title, size, times }, i) =>
    print(`${title}: ${speeds[i].toFixed(0)} MB of float32 a second; best ${(size / 1e3 / Math.min(...times)).toFixed(0)}`),
  );
  return {
    coderVsEntropy: sum(coded) / entropy,
    coderVsBrotli: sum(coded) / sum(brotli),
    decodeMBps: significant(speeds[0]),
    decodeDenseMBps: significant(speeds[1]),
    loaderGzipBytes: loader,
  };
}
