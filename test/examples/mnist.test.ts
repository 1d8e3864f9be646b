import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { countOf, holdOut, toFloats } from '../../examples/common/images.js';
import { parseIdx, readIdxPair, readMnist } from '../../examples/common/mnist.js';

function idx(magic: number, dimensions: number[], data: number[]): Uint8Array {
  const header = Buffer.alloc(4 + 4 * dimensions.length);
  header.writeUInt32BE(magic, 0);
  dimensions.forEach((n, i) => header.writeUInt32BE(n, 4 + 4 * i));
  return Buffer.concat([header, Buffer.from(data)]);
}

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tfws-mnist-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const put = (name: string, bytes: Uint8Array) => writeFileSync(join(directory, name), bytes);

describe('the IDX reader', () => {
  it('reads plain and gzipped files, also a gzipped one without .gz in its name', () => {
    put('train-images-idx3-ubyte.gz', gzipSync(idx(2051, [2, 2, 3], [...Array(12).keys()])));
    put('train-labels-idx1-ubyte', idx(2049, [2], [7, 3]));
    put('t10k-images-idx3-ubyte', gzipSync(idx(2051, [1, 2, 3], [9, 8, 7, 6, 5, 4])));
    put('t10k-labels-idx1-ubyte', idx(2049, [1], [1]));
    const train = readIdxPair(directory, 'train');
    expect({ ...train, images: [...train.images], labels: [...train.labels] }).toEqual({
      images: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
      labels: [7, 3],
      width: 3,
      height: 2,
    });
    expect([...readIdxPair(directory, 't10k').images]).toEqual([9, 8, 7, 6, 5, 4]);
    const all = readMnist(directory, 1);
    expect(all.origin).toBe('IDX files');
    expect([countOf(all.train), countOf(all.validation), countOf(all.test)]).toEqual([1, 1, 1]);
  });

  it('names the missing file and says what is expected', () => {
    expect(() => readIdxPair(directory, 'train')).toThrow(
      `MNIST: neither train-images-idx3-ubyte.gz nor train-images-idx3-ubyte is in ${directory}. --data expects the four IDX files of MNIST; --download fetches them.`,
    );
  });

  it('refuses a wrong magic number, e.g. labels in place of images', () => {
    expect(() => parseIdx(idx(2049, [16], Array(16).fill(0)), 'a', 'images')).toThrow('a: wrong magic number: expected 2051 (IDX images), got 2049.');
    expect(() => parseIdx(Buffer.from('<!DOCTYPE html>'), 'b', 'labels')).toThrow('b: wrong magic number: expected 2049 (IDX labels), got 1008813135.');
  });

  it('refuses a truncated header, truncated data and data that is too long', () => {
    expect(() => parseIdx(new Uint8Array(7), 'a', 'labels')).toThrow('a: truncated: an IDX file of labels has a header of 8 bytes, this file has 7 bytes.');
    expect(() => parseIdx(idx(2051, [2, 2, 2], [1, 2, 3]), 'a', 'images')).toThrow('a: truncated: the header announces 2 × 2 × 2 = 8 bytes, the file holds 3.');
    expect(() => parseIdx(idx(2049, [1], [1, 2]), 'a', 'labels')).toThrow('a: too long: the header announces 1 = 1 bytes, the file holds 2.');
  });

  it('refuses files of different counts, labels above 9 and damaged gzip', () => {
    put('train-images-idx3-ubyte', idx(2051, [2, 1, 1], [0, 0]));
    put('train-labels-idx1-ubyte', idx(2049, [1], [0]));
    expect(() => readIdxPair(directory, 'train')).toThrow('train-images-idx3-ubyte holds 2 images but train-labels-idx1-ubyte 1 labels');
    put('train-labels-idx1-ubyte', idx(2049, [2], [0, 10]));
    expect(() => readIdxPair(directory, 'train')).toThrow('train-labels-idx1-ubyte: label 10 at position 1; digits are 0 to 9.');
    put('train-labels-idx1-ubyte.gz', gzipSync(idx(2049, [2], [0, 1])).subarray(0, 20));
    expect(() => readIdxPair(directory, 'train')).toThrow(/train-labels-idx1-ubyte\.gz: damaged gzip file/);
  });
});

describe('holding images out', () => {
  const data = { images: Uint8Array.from({ length: 20 }, (_, i) => i * 10), labels: Uint8Array.from({ length: 10 }, (_, i) => i), width: 2, height: 1 };

  it('splits without loss or overlap, the same way each time, images beside their labels', () => {
    const { kept, heldOut } = holdOut(data, 3);
    expect([...kept.labels, ...heldOut.labels].sort()).toEqual([...data.labels]);
    expect([...heldOut.images]).toEqual([...heldOut.labels].flatMap((label) => [label * 20, label * 20 + 10]));
    expect(holdOut(data, 3).heldOut.labels).toEqual(heldOut.labels);
    expect(() => holdOut(data, 10)).toThrow('holdOut: cannot hold 10 of 10 images out. Give a number between 1 and 9.');
  });

  it('gives pixels between 0 and 1', () => {
    expect(toFloats({ images: Uint8Array.of(0, 51, 255), labels: Uint8Array.of(0), width: 3, height: 1 })).toEqual(Float32Array.of(0, 0.2, 1));
  });
});
