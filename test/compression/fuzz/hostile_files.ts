/**
 * Files that a stranger might send: good ones with damage done to them, and streams that follow the format up to some
 * point and then say whatever they like. All from seeds, so that a case can be repeated by its number.
 */
import type { io } from '@tensorflow/tfjs-core';
import { codePlanes, codeText } from '../../../src/compression/byte_model.js';
import { crc32 } from '../../../src/compression/checksum.js';
import { encodeModelArtifacts } from '../../../src/compression/container.js';
import { HEADER_BYTES } from '../../../src/compression/container_reader.js';
import { codeNumber, EVEN, RangeEncoder } from '../../../src/compression/range_coder.js';
import { PLANES, ROWS } from '../../../src/compression/tensor_codec.js';
import { artifactsOf, float32, seeded } from '../helpers.js';

type Random = () => number;

export interface HostileFile {
  bytes: Uint8Array;
  /** What was done to it. */
  kind: string;
  /** Whether its checksum was made to fit: then nothing but the decoder itself stands between it and the loader. */
  sealed: boolean;
  /** The undamaged file, where there is one. */
  original: Uint8Array | null;
}

const below = (random: Random, n: number): number => Math.floor(random() * n);
const pick = <T>(random: Random, from: readonly T[]): T => from[below(random, from.length)];

/** Sets checksum, magic and version so that the reader begins to decode. */
export function seal(bytes: Uint8Array): Uint8Array {
  const sealed = new Uint8Array(Math.max(bytes.length, HEADER_BYTES));
  sealed.set(bytes);
  sealed.set([84, 70, 87, 83, 1]);
  const crc = crc32(sealed.subarray(HEADER_BYTES));
  for (let k = 0; k < 4; k++) sealed[5 + k] = crc >>> (8 * k);
  return sealed;
}

/** Good files that use every part of the format. */
function goodArtifacts(): io.ModelArtifacts[] {
  const random = seeded(11);
  const sparse = (size: number, density: number): number[] =>
    Array.from({ length: size }, (_, i) => ((i % 7 < 3 || i % 90 < 40) && random() < density ? (1 + below(random, 6)) / 8 - 0.4 : 0));
  const noise = (size: number): Float32Array => Float32Array.from({ length: size }, () => random() - 0.5);
  const dense = (size: number, symbols: number): number[] => Array.from({ length: size }, () => below(random, symbols) / symbols);
  const table = noise(700);
  const copied = noise(90);
  const rows = noise(6 * 30);
  const tied = Array.from({ length: 40 * 30 }, (_, i) => (Math.floor(i / 30) % 4 === 1 ? 0 : rows[(Math.floor(i / 30) % 6) * 30 + (i % 30)]));
  const topology = {
    class_name: 'Sequential',
    config: { name: 'm', layers: [{ class_name: 'Dense', config: { units: 30, name: 'd', batch_input_shape: [null, 60] } }] },
  };
  return [
    { ...artifactsOf([float32('d/kernel', [60, 30], sparse(1800, 0.5)), float32('d/bias', [30], sparse(30, 0.9))]), modelTopology: topology },
    artifactsOf([float32('image', [64, 20], sparse(1280, 0.3)), float32('next', [20, 12], sparse(240, 0.6)), float32('zero', [500], new Float32Array(500))]),
    artifactsOf([float32('dense', [40, 50], dense(2000, 16)), float32('bytes', [30, 40], dense(1200, 256))]),
    artifactsOf([float32('large', [50, 60], Array.from({ length: 3000 }, () => table[below(random, 700)]))]),
    artifactsOf([float32('tied rows', [40, 30], tied), float32('rows of codes', [30, 40], tied.map((w) => Math.round(4 * w)))]),
    artifactsOf([float32('raw', [90], copied), float32('copy', [9, 10], copied), float32('scalar', [], [1.5]), float32('none', [0, 3], [])]),
    artifactsOf([
      { spec: { name: 'text', shape: [2], dtype: 'string' }, bytes: Uint8Array.of(2, 0, 0, 0, 104, 105, 1, 0, 0, 0, 33) },
      { spec: { name: 'flags', shape: [70], dtype: 'bool' }, bytes: Uint8Array.from({ length: 70 }, () => below(random, 2)) },
      { spec: { name: 'half', shape: [33], dtype: 'float32', quantization: { dtype: 'float16' } }, bytes: Uint8Array.from({ length: 66 }, () => below(random, 256)) },
      { spec: { name: 'integers', shape: [5, 5], dtype: 'int32' }, bytes: new Uint8Array(Int32Array.from({ length: 25 }, (_, i) => i * i - 99).buffer) },
    ]),
  ]; // prettier-ignore
}

let goodFiles: Uint8Array[] | null = null;

/** Damage of the kinds that disks, networks and fuzzers do. */
const DAMAGE: Record<string, (bytes: Uint8Array, random: Random) => Uint8Array> = {
  'flipped bits': (bytes, random) => {
    const damaged = bytes.slice();
    for (let n = 1 + below(random, 8); n > 0; n--) damaged[below(random, damaged.length)] ^= 1 << below(random, 8);
    return damaged;
  },
  'other bytes': (bytes, random) => {
    const damaged = bytes.slice();
    for (let n = 1 + below(random, 20); n > 0; n--) damaged[below(random, damaged.length)] = below(random, 256);
    return damaged;
  },
  'a run of one byte': (bytes, random) => {
    const at = below(random, bytes.length);
    return bytes.slice().fill(pick(random, [0, 255, below(random, 256)]), at, at + 1 + below(random, 200));
  },
  'cut off': (bytes, random) => bytes.slice(0, below(random, bytes.length)),
  'cut out': (bytes, random) => {
    const at = below(random, bytes.length);
    return Uint8Array.of(...bytes.subarray(0, at), ...bytes.subarray(at + 1 + below(random, 50)));
  },
  'bytes put in': (bytes, random) => {
    const at = below(random, bytes.length + 1);
    const more = Uint8Array.from({ length: 1 + below(random, 300) }, () => below(random, 256));
    return Uint8Array.of(...bytes.subarray(0, at), ...more, ...bytes.subarray(at));
  },
  'another file behind': (bytes, random) => {
    const other = pick(random, goodFiles!);
    return Uint8Array.of(...bytes.subarray(0, below(random, bytes.length)), ...other.subarray(below(random, other.length)));
  },
  'noise to the end': (bytes, random) => {
    const at = HEADER_BYTES + below(random, bytes.length - HEADER_BYTES);
    return bytes.map((byte, i) => (i < at ? byte : below(random, 256)));
  },
};

/** Strings that JSON allows and a careless reader stumbles over. */
const ODD_TEXTS: Array<(random: Random) => string> = [
  () => 'null',
  () => '[]',
  () => '{"weightSpecs":',
  () => '{"weightSpecs":{"length":3}}',
  () => '{"weightSpecs":[null]}',
  () => '{"weightSpecs":[{"name":"w","shape":[2,3],"dtype":"constructor"}]}',
  () => '{"weightSpecs":[{"name":"w","shape":[2,3],"dtype":"__proto__"}]}',
  () => '{"weightSpecs":[{"name":"w","shape":[4],"dtype":"float32","quantization":{"dtype":"toString"}}]}',
  () => '{"weightSpecs":[{"name":{},"shape":[4],"dtype":"float32"}]}',
  () => '{"weightSpecs":[{"name":"w","shape":"4","dtype":"float32"}]}',
  () => '{"__proto__":{"polluted":true},"weightSpecs":[]}',
  (random) => '['.repeat(1 + below(random, 3000)),
  (random) => `{"weightSpecs":[{"name":"w","shape":[${pick(random, [-1, 1.5, 1e15, 9e15, '1e400', '"3"', 'null'])},${pick(random, [1, 0, 1e15])}],"dtype":"float32"}]}`,
  (random) => `{"weightSpecs":[${Array.from({ length: below(random, 400) }, () => '{"name":"w","shape":[],"dtype":"float32"}').join()}]}`,
  (random) => String.fromCharCode(...Array.from({ length: below(random, 200) }, () => 32 + below(random, 200))),
];

/** Weights that a file may claim. */
function randomSpecs(random: Random): io.WeightsManifestEntry[] {
  return Array.from({ length: 1 + below(random, 5) }, (_, i) => ({
    name: `w${i}`,
    shape: Array.from({ length: below(random, 4) }, () => below(random, pick(random, [2, 9, 60]))),
    dtype: pick(random, ['float32', 'int32', 'bool', 'complex64', 'string'] as const),
    ...(random() < 0.2 ? { quantization: { dtype: pick(random, ['uint8', 'uint16', 'float16'] as const), scale: 1, min: 0 } } : {}),
  })) as io.WeightsManifestEntry[];
}

const oddNumber = (random: Random): number => pick(random, [0, 1, 2, 3, below(random, 40), below(random, 70000), 2 ** 29, 2 ** 30 - 2]);

/** Rows of rows of rows …, each level one fewer, or fewer by a share: work of the square of the file's size for a decoder that follows them. */
export function nestedRows(rows: number, levels: number, keeps = (count: number): number => count - 1): Uint8Array {
  const encoder = new RangeEncoder();
  const text = new TextEncoder().encode(JSON.stringify({ weightSpecs: [{ name: 'w', shape: [rows, 1], dtype: 'float32' }] }));
  codeNumber(encoder, text.length);
  codeText(encoder, text);
  codeNumber(encoder, 0);
  for (let level = 0; level < levels && rows > 1; level++) {
    codeNumber(encoder, ROWS);
    codeNumber(encoder, (rows = keeps(rows)) - 1);
  }
  codeNumber(encoder, PLANES);
  return Uint8Array.of(...new Uint8Array(HEADER_BYTES), ...encoder.finish());
}

/** A stream that keeps to the grammar with odd numbers in it, and ends in noise. */
function oddStream(random: Random): Uint8Array {
  if (random() < 0.1) {
    const share = random();
    return nestedRows(2 + below(random, 9000), below(random, 2000), random() < 0.5 ? undefined : (count) => Math.max(1, Math.floor(share * count)));
  }
  const encoder = new RangeEncoder();
  const text = new TextEncoder().encode(random() < 0.5 ? pick(random, ODD_TEXTS)(random) : JSON.stringify({ weightSpecs: randomSpecs(random) }));
  codeNumber(encoder, random() < 0.1 ? oddNumber(random) : text.length);
  codeText(encoder, text);
  const padding = random() < 0.1 ? oddNumber(random) : 0;
  codeNumber(encoder, padding);
  encoder.raw(new Uint8Array(Math.min(padding, 100)), 0, 1);
  for (let part = below(random, 12); part > 0; part--) {
    const what = random();
    if (what < 0.6) codeNumber(encoder, oddNumber(random));
    else if (what < 0.8) for (let n = below(random, 60); n > 0; n--) encoder.bit(EVEN, below(random, 2));
    else codePlanes(encoder, Uint8Array.from({ length: 4 * below(random, 20) }, () => below(random, 256)), 4, below(random, 16));
  }
  encoder.raw(Uint8Array.from({ length: below(random, 300) }, () => below(random, 256)), 0, 1);
  const stream = encoder.finish();
  const noise = Uint8Array.from({ length: below(random, 200) }, () => below(random, 256));
  return Uint8Array.of(...new Uint8Array(HEADER_BYTES), ...stream, ...noise);
}

/** Case number `seed`. */
export function hostileFile(seed: number): HostileFile {
  goodFiles ??= goodArtifacts().map((artifacts) => encodeModelArtifacts(artifacts));
  const random = seeded(seed * 7919 + 1);
  if (seed % 4 === 3) return { bytes: seal(oddStream(random)), kind: 'an odd stream', sealed: true, original: null };
  const original = pick(random, goodFiles);
  const kind = pick(random, Object.keys(DAMAGE));
  const damaged = DAMAGE[kind](original, random);
  const sealed = seed % 4 > 0;
  return { bytes: sealed ? seal(damaged) : damaged, kind, sealed, original };
}
