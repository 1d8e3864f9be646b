/**
 * The codec on the quantised indices of a trained LeNet-300-100: coded bytes against the order-0 entropy and against
 * brotli-11 of byte indices in the better order (ratios ours / theirs), decoding speed, and size of the loader.
 */
import { build } from 'esbuild';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { encodeDetailed } from '../src/compression/container.js';
import { RangeEncoder } from '../src/compression/range_coder.js';
import { codeTensor, newHistory } from '../src/compression/tensor_codec.js';
import { artifactsOf, brotliBytes, entropyBytes, float32 } from '../test/compression/helpers.js';
import { readTrainedIndices } from '../test/fixtures/trained_indices.js';

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

type Decoder = Pick<typeof import('../src/compression/range_coder.js'), 'RangeDecoder'> &
  Pick<typeof import('../src/compression/tensor_codec.js'), 'codeTensor' | 'newHistory'>;

/** The decoder in a module of its own: in a page no encoder has run before it and spoilt the engine's type feedback. */
async function isolatedDecoder(): Promise<Decoder> {
  const code = await bundle(
    "export { RangeDecoder } from './src/compression/range_coder.js'; export { codeTensor, newHistory } from './src/compression/tensor_codec.js';",
  );
  const directory = await mkdtemp(join(tmpdir(), 'tfws-bench-'));
  try {
    await writeFile(join(directory, 'decoder.mjs'), code);
    return (await import(pathToFileURL(join(directory, 'decoder.mjs')).href)) as Decoder;
  } finally {
    await rm(directory, { recursive: true });
  }
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

  // Decoding of the largest layer, codebook look-up included; the best of many passes, as others may share the core.
  const largest = encoded.weights.reduce((a, b) => (b.tensor.bytes.length > a.tensor.bytes.length ? b : a));
  const encoder = new RangeEncoder();
  codeTensor(encoder, largest.tensor, newHistory(), largest.plan!);
  const stream = encoder.finish();
  const decoder = await isolatedDecoder();
  const out = new Uint8Array(largest.tensor.bytes.length);
  const milliseconds: number[] = [];
  for (let pass = 0; pass < 100; pass++) {
    const start = performance.now();
    decoder.codeTensor(new decoder.RangeDecoder(stream, 0), { ...largest.tensor, bytes: out }, decoder.newHistory());
    milliseconds.push(performance.now() - start);
  }
  if (out.some((byte, i) => byte !== largest.tensor.bytes[i])) throw new Error('codec: the decoded layer differs');
  milliseconds.sort((a, b) => a - b);
  const speed = (ms: number): number => out.length / 1e3 / ms;

  const loader = gzipSync(await bundle("export * from './src/load.js';"), { level: 9 }).length;
  print(`fixture ${name}`);
  layers.forEach(({ rows, columns, indices }, i) =>
    print(`${rows}×${columns}: ${coded[i].toFixed(0)} bytes; entropy ${entropyBytes(indices).toFixed(0)}, brotli-11 ${brotli[i]}`),
  );
  print(`decoding: median ${speed(milliseconds[50]).toFixed(0)}, best ${speed(milliseconds[0]).toFixed(0)} MB of float32 a second`);
  return {
    coderVsEntropy: sum(coded) / entropy,
    coderVsBrotli: sum(coded) / sum(brotli),
    decodeMBps: speed(milliseconds[0]),
    loaderGzipBytes: loader,
  };
}
