import { describe, expect, it } from 'vitest';
import type { io } from '@tensorflow/tfjs-core';
import { encodeDetailed, encodeModelArtifacts } from '../../src/compression/container.js';
import { decodeContainer } from '../../src/compression/container_reader.js';
import { codeIndexMode, codeIndices, type IndexMode, usualWeights } from '../../src/compression/index_model.js';
import { codeNumber, FREQUENCIES, RangeDecoder, RangeEncoder } from '../../src/compression/range_coder.js';
import { symbolModel } from '../../src/compression/symbol_model.js';
import { readTrainedIndices } from '../fixtures/trained_indices.js';
import { brotliBytes } from './brotli.js';
import { artifactsOf, entropyBytes, float32, seeded } from './helpers.js';

const bytesOf = (artifacts: io.ModelArtifacts): Uint8Array => new Uint8Array(artifacts.weightData as ArrayBuffer);

function roundTrip(artifacts: io.ModelArtifacts): Uint8Array {
  const file = encodeModelArtifacts(artifacts);
  const again = decodeContainer(file);
  expect(bytesOf(again)).toEqual(bytesOf(artifacts));
  expect(again.weightSpecs).toEqual(artifacts.weightSpecs);
  return file;
}

describe('range coder', () => {
  it('returns every bit and symbol, at every probability, between verbatim bytes', () => {
    for (let seed = 0; seed < 20; seed++) {
      const random = seeded(seed);
      const steps = Array.from({ length: 500 }, () => {
        const p = Math.min(Math.max(Math.floor(65536 * random() ** (1 + 8 * random())), 1), 65535);
        const low = Math.floor(random() * FREQUENCIES);
        const high = low + 1 + Math.floor(random() ** 4 * (FREQUENCIES - low));
        return { p, bit: random() * 65536 < p ? 1 : 0, low, high };
      });
      const encoder = new RangeEncoder();
      encoder.raw(Uint8Array.of(1, 2, 3, 4, 5), 1, 2);
      for (const { p, bit, low, high } of steps) {
        encoder.bit(p, bit);
        encoder.narrow(low, high);
      }
      encoder.raw(Uint8Array.of(255), 0, 1);
      codeNumber(encoder, seed * 1000003);
      const decoder = new RangeDecoder(encoder.finish(), 0);
      const raw = new Uint8Array(5);
      decoder.raw(raw, 1, 2);
      expect([...raw]).toEqual([0, 2, 0, 4, 0]);
      for (const { p, bit, low, high } of steps) {
        expect(decoder.bit(p)).toBe(bit);
        const target = decoder.target();
        expect(target >= low && target < high).toBe(true);
        decoder.narrow(low, high);
      }
      decoder.raw(raw, 4, 1);
      expect(raw[4]).toBe(255);
      expect(codeNumber(decoder)).toBe(seed * 1000003);
      expect(decoder.exhausted).toBe(true);
    }
  });

  it('carries through long runs of 255', () => {
    const encoder = new RangeEncoder();
    for (let i = 0; i < 4000; i++) encoder.bit(1, 0);
    for (let i = 0; i < 40; i++) encoder.bit(65535, 0);
    const decoder = new RangeDecoder(encoder.finish(), 0);
    for (let i = 0; i < 4040; i++) expect(decoder.bit(i < 4000 ? 1 : 65535)).toBe(0);
  });

  it('refuses more verbatim bytes than the stream has', () => {
    expect(() => new RangeDecoder(new Uint8Array(8), 0).raw(new Uint8Array(9), 0, 1)).toThrow('a tensor is too long');
  });
});

describe('symbol model', () => {
  it.each([1, 2, 3, 16, 255, 256, 257, 5000, 65536])('returns every one of %i symbols', (arity) => {
    const random = seeded(arity);
    const symbols = Array.from({ length: 3000 }, (_, i) => (i < 4 ? [0, arity - 1][i & 1] : Math.floor(random() ** 3 * arity)));
    const encoder = new RangeEncoder();
    const encode = symbolModel(encoder, 3, arity);
    symbols.forEach((symbol, i) => encode(i % 3, symbol));
    const decode = symbolModel(new RangeDecoder(encoder.finish(), 0), 3, arity);
    expect(symbols.map((_, i) => decode(i % 3, 0))).toEqual(symbols);
  });

  it('never hands on a symbol beyond the last', () => {
    const encoder = new RangeEncoder();
    symbolModel(encoder, 1, 400)(0, 399);
    expect(() => symbolModel(new RangeDecoder(encoder.finish(), 0), 1, 390)(0, 0)).toThrow('an index is out of range');
  });
});

describe('index coder', () => {
  it.each([
    ['two symbols, 5 %', [0.95, 0.05]],
    ['two equal symbols', [0.5, 0.5]],
    ['fifteen, mostly zero', [0.9, ...new Array<number>(14).fill(0.1 / 14)]],
    ['sixteen equal symbols', new Array<number>(16).fill(1 / 16)],
    ['256 of falling frequency', Array.from({ length: 256 }, (_, i) => 1 / (i + 1))],
  ])('codes independent symbols within 1.01 × entropy + 64 bytes: %s', (_, weights) => {
    const total = weights.reduce((a, b) => a + b);
    for (const [rows, columns] of [[100, 100], [300, 200]]) {
      const random = seeded(rows);
      const indices = Uint8Array.from({ length: rows * columns }, () => {
        let u = random() * total;
        return Math.max(0, weights.findIndex((w) => (u -= w) < 0));
      });
      const artifacts = artifactsOf([float32('w', [rows, columns], indices)]);
      const [weight] = encodeDetailed(artifacts).weights;
      expect(weight.dataBytes + weight.headerBytes).toBeLessThanOrEqual(1.01 * entropyBytes(indices) + 64);
      roundTrip(artifacts);
    }
  });

  it('codes the trained network at most at 0.9 × its order-0 entropy and 0.9 × brotli-11', () => {
    const { layers, codebook } = readTrainedIndices();
    const artifacts = artifactsOf(
      layers.map(({ rows, columns, indices }, i) => float32(`w${i}`, [rows, columns], Float32Array.from(indices, (k) => codebook[k]))),
    );
    const coded = encodeDetailed(artifacts).weights.reduce((sum, w) => sum + w.dataBytes + w.headerBytes, 0);
    const all = layers.flatMap(({ indices }) => [...indices]);
    expect(coded / entropyBytes(all)).toBeLessThanOrEqual(0.9);
    expect(coded / layers.reduce((sum, l) => sum + brotliBytes(l.indices, l.columns), 0)).toBeLessThanOrEqual(0.9);
    roundTrip(artifacts);
  });

  it('round-trips in every mode, with whatever weights', () => {
    for (let seed = 1; seed <= 30; seed++) {
      const random = seeded(seed);
      const rows = 1 + Math.floor(random() * 40);
      const columns = 1 + Math.floor(random() * 40);
      const symbols = 2 + Math.floor(random() * (seed % 3 === 0 ? 3000 : 20));
      const skew = random() * 6;
      const indices = Uint16Array.from({ length: rows * columns }, () => Math.floor(random() ** skew * symbols));
      const common = seed % symbols;
      const lag = Math.min(1 + (seed % 7), seed % 2 === 1 ? columns : rows);
      for (const mode of [
        { lag: 0, transposed: false, weights: new Int8Array() },
        { lag: 1, transposed: seed % 2 === 0, weights: usualWeights(1) },
        { lag, transposed: seed % 2 === 1, weights: usualWeights(lag).map(() => random() * 255 - 127) },
      ] satisfies IndexMode[]) {
        const encoder = new RangeEncoder();
        codeIndexMode(encoder, mode);
        codeIndices(encoder, indices, columns, symbols, common, mode);
        const decoded = new Uint16Array(indices.length);
        const decoder = new RangeDecoder(encoder.finish(), 0);
        expect(codeIndexMode(decoder)).toEqual(mode);
        codeIndices(decoder, decoded, columns, symbols, common, mode);
        expect(decoded).toEqual(indices);
      }
    }
  });

  it('spends next to nothing on rows and columns without a weight', () => {
    const size = 500;
    const indices = new Uint16Array(size * size);
    for (let i = 0; i < 20; i++) for (let j = 0; j < 30; j++) indices[i * 13 * size + j * 11] = 1 + ((i + j) & 1);
    const encoder = new RangeEncoder();
    codeIndices(encoder, indices, size, 3, 0, { lag: 1, transposed: false, weights: usualWeights(1) });
    // Naming 20 rows and 30 columns of 500 takes some 45 bytes, the values 75; the rest is learning that the grid is full.
    expect(encoder.length).toBeLessThan(0.4 * entropyBytes(indices));
  });
});

describe('tensor encodings', () => {
  it('keeps −0, infinities, NaN payloads and subnormals bit by bit', () => {
    const words = Uint32Array.of(0x80000000, 0, 0x7f800000, 0xff800000, 0x7fc00000, 0x7fc12345, 0xffffffff, 1, 0x80000001);
    const values = new Uint8Array(new Uint32Array(900).map((_, i) => words[(i * 7) % words.length]).buffer);
    roundTrip(artifactsOf([
      { spec: { name: 'coded', shape: [30, 30], dtype: 'float32' }, bytes: values },
      { spec: { name: 'raw', shape: [9], dtype: 'float32' }, bytes: new Uint8Array(words.buffer) },
    ])); // prettier-ignore
  });

  it('round-trips every dtype, unaligned, empty and scalar tensors', () => {
    const random = seeded(3);
    const bytes = (n: number): Uint8Array => Uint8Array.from({ length: n }, () => random() * 256);
    const strings = Uint8Array.of(2, 0, 0, 0, 104, 105, 0, 0, 0, 0, 1, 0, 0, 0, 33);
    roundTrip(artifactsOf([
      { spec: { name: 'b', shape: [7], dtype: 'bool' }, bytes: Uint8Array.of(1, 0, 0, 1, 1, 1, 0) },
      { spec: { name: 'f', shape: [50, 3], dtype: 'float32' }, bytes: bytes(600) },
      { spec: { name: 's', shape: [3], dtype: 'string' }, bytes: strings },
      { spec: { name: 'i', shape: [40], dtype: 'int32' }, bytes: new Uint8Array(Int32Array.from({ length: 40 }, (_, i) => i * i - 300).buffer) },
      { spec: { name: 'none', shape: [0, 5], dtype: 'float32' }, bytes: new Uint8Array(0) },
      { spec: { name: 'scalar', shape: [], dtype: 'float32' }, bytes: bytes(4) },
      { spec: { name: 'c', shape: [5, 2], dtype: 'complex64' }, bytes: bytes(80) },
      { spec: { name: 'q8', shape: [10, 10], dtype: 'float32', quantization: { dtype: 'uint8', scale: 0.1, min: -1 } }, bytes: bytes(100) },
      { spec: { name: 'q16', shape: [11], dtype: 'float32', quantization: { dtype: 'uint16', scale: 0.1, min: -1 } }, bytes: bytes(22) },
      { spec: { name: 'h', shape: [11], dtype: 'float32', quantization: { dtype: 'float16' } }, bytes: bytes(22) },
    ])); // prettier-ignore
  });

  it('round-trips random tensors of all kinds', () => {
    for (let seed = 1; seed <= 25; seed++) {
      const random = seeded(seed);
      const tensors = Array.from({ length: 1 + Math.floor(random() * 5) }, (_, i) => {
        const shape = Array.from({ length: Math.floor(random() * 5) }, () => 1 + Math.floor(random() * 9));
        const size = shape.reduce((a, b) => a * b, 1);
        const distinct = [1, 2, 5, 40, 1e9][Math.floor(random() * 5)];
        return float32(`w${i}`, shape, Float32Array.from({ length: size }, () => Math.floor(random() * distinct) / 7 - 1));
      });
      roundTrip(artifactsOf(tensors));
    }
  });

  it('stores equal tensors once, a constant in a few bytes, and a codebook of several layers once', () => {
    const random = seeded(8);
    const noise = Float32Array.from({ length: 1000 }, random);
    const values = [-0.5, 0, 0.25, 0.75];
    const quantised = (): Float32Array => Float32Array.from({ length: 600 }, () => values[Math.floor(random() * 4)]);
    const { weights, bytes } = encodeDetailed(artifactsOf([
      float32('a', [1000], noise), float32('b', [10, 100], noise), float32('zeros', [300], new Float32Array(300)),
      float32('q1', [20, 30], quantised()), float32('q2', [30, 20], quantised()),
    ])); // prettier-ignore
    const size = (i: number): number => weights[i].headerBytes + weights[i].codebookBytes + weights[i].dataBytes;
    expect(size(1)).toBeLessThan(2);
    expect(size(2)).toBeLessThan(8);
    expect(weights[3].codebookBytes).toBeGreaterThan(0);
    expect(weights[4].codebookBytes).toBe(0);
    expect(bytes.length).toBeLessThan(4000 + 2 * 150 + 200);
  });

  it('pads a file whose content is out of all proportion, so that its own reader accepts it', () => {
    const size = 4_000_000;
    const file = encodeModelArtifacts(artifactsOf([
      { spec: { name: 'zeros', shape: [size], dtype: 'bool' }, bytes: new Uint8Array(size) },
    ])); // prettier-ignore
    expect(file.length).toBeGreaterThanOrEqual(size / 256);
    expect(bytesOf(decodeContainer(file)).length).toBe(size);
  });

  it('codes a tensor of more than 256 distinct values by a codebook where that pays', () => {
    const random = seeded(4);
    const table = Float32Array.from({ length: 1500 }, random);
    const file = roundTrip(artifactsOf([float32('w', [200, 200], Float32Array.from({ length: 40000 }, () => table[Math.floor(random() ** 3 * 1500)]))]));
    expect(file.length).toBeLessThan(0.45 * 160000);
  });
});
