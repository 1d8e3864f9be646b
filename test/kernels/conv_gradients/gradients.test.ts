import { backend_util } from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import {
  depthwiseFilterGradient, depthwiseInputGradient, filterGradient, inputGradient, inputGradient3D, maxPoolGradient, type ConvShape, type ConvShape3D,
} from '../../../src/kernels/conv_gradients/gradients.js';
import { loops, plainLoops } from '../../../src/kernels/conv_gradients/loops.js';
import { simdModule } from '../../../src/kernels/conv_gradients/simd_loops.js';
import { relativeError, seededUniform } from '../../helpers.js';

interface Case {
  /** [batch, height, width, inChannels] */
  x: [number, number, number, number];
  /** [height, width, inChannels, outChannels or multiplier] */
  filter: [number, number, number, number];
  strides?: number | [number, number];
  dilations?: number | [number, number];
  pad?: 'valid' | 'same' | number | [[number, number], [number, number], [number, number], [number, number]];
}

const geometry = ({ x, filter, strides = 1, dilations = 1, pad = 'valid' }: Case, depthwise: boolean) =>
  backend_util.computeConv2DInfo(x, filter, strides, dilations, pad, typeof pad === 'string' ? undefined : 'floor', depthwise);

function random(length: number, seed: number): Float32Array {
  const uniform = seededUniform(seed);
  return Float32Array.from({ length }, () => 2 * uniform() - 1);
}

/** Both gradients in float64, term by term from the definition y[n, y, x, o] = Σ x[n, y·s + i·d − top, …] · filter[i, j, c, o]. */
function reference(s: ConvShape, x: Float32Array, filter: Float32Array, dy: Float32Array, depthwise: boolean) {
  const dx = new Float64Array(x.length);
  const dw = new Float64Array(filter.length);
  const multiplier = s.outChannels / s.inChannels;
  for (let n = 0; n < s.batchSize; n++) {
    for (let row = 0; row < s.outHeight; row++) {
      for (let column = 0; column < s.outWidth; column++) {
        for (let i = 0; i < s.filterHeight; i++) {
          for (let j = 0; j < s.filterWidth; j++) {
            const inRow = row * s.strideHeight + i * s.dilationHeight - s.padInfo.top;
            const inColumn = column * s.strideWidth + j * s.dilationWidth - s.padInfo.left;
            if (inRow < 0 || inRow >= s.inHeight || inColumn < 0 || inColumn >= s.inWidth) continue;
            for (let o = 0; o < s.outChannels; o++) {
              for (let c = depthwise ? Math.floor(o / multiplier) : 0; c < (depthwise ? Math.floor(o / multiplier) + 1 : s.inChannels); c++) {
                const at = ((n * s.inHeight + inRow) * s.inWidth + inColumn) * s.inChannels + c;
                const w = depthwise ? (i * s.filterWidth + j) * s.outChannels + o : ((i * s.filterWidth + j) * s.inChannels + c) * s.outChannels + o;
                const cotangent = dy[((n * s.outHeight + row) * s.outWidth + column) * s.outChannels + o];
                dx[at] += cotangent * filter[w];
                dw[w] += cotangent * x[at];
              }
            }
          }
        }
      }
    }
  }
  return { dx, dw };
}

const DENSE: Record<string, Case> = {
  'one channel, as in a first layer': { x: [2, 7, 8, 1], filter: [3, 3, 1, 5] },
  'whole vectors': { x: [2, 6, 5, 4], filter: [3, 3, 4, 8], pad: 'same' },
  'no whole vector anywhere': { x: [1, 9, 7, 3], filter: [2, 3, 3, 9] },
  '1×1': { x: [2, 4, 5, 6], filter: [1, 1, 6, 3] },
  'stride 2, same': { x: [2, 7, 8, 3], filter: [3, 3, 3, 5], strides: 2, pad: 'same' },
  'strides that differ, and leave pixels out': { x: [1, 11, 9, 2], filter: [2, 2, 2, 3], strides: [3, 2] },
  'dilation': { x: [2, 9, 9, 3], filter: [3, 3, 3, 4], dilations: 2 },
  'dilations that differ, same': { x: [1, 8, 10, 5], filter: [3, 2, 5, 9], dilations: [2, 3], pad: 'same' },
  'explicit padding, uneven': { x: [2, 5, 6, 2], filter: [3, 3, 2, 3], pad: [[0, 0], [0, 2], [3, 1], [0, 0]] },
  'padding by a number, more than the filter covers': { x: [1, 4, 4, 2], filter: [2, 2, 2, 2], pad: 3 },
  'one row, as in conv1d': { x: [3, 1, 12, 4], filter: [1, 5, 4, 6], pad: 'same' },
  'a filter as large as the image': { x: [2, 5, 5, 3], filter: [5, 5, 3, 4] },
};

const DEPTHWISE: Record<string, Case> = {
  'few channels': { x: [2, 7, 8, 3], filter: [3, 3, 3, 1] },
  'whole vectors': { x: [2, 6, 5, 8], filter: [3, 3, 8, 1], pad: 'same' },
  'a multiplier': { x: [1, 6, 7, 5], filter: [3, 2, 5, 3] },
  'stride 2, same': { x: [2, 7, 8, 9], filter: [3, 3, 9, 1], strides: 2, pad: 'same' },
  'strides that leave pixels out': { x: [1, 11, 9, 2], filter: [2, 2, 2, 2], strides: 3 },
  'dilation': { x: [2, 9, 9, 3], filter: [3, 3, 3, 2], dilations: 2, pad: 'same' },
  'explicit padding': { x: [2, 5, 6, 2], filter: [3, 3, 2, 1], pad: [[0, 0], [0, 2], [3, 1], [0, 0]] },
};

const engines = { 'WebAssembly with vectors': loops, 'JavaScript': plainLoops };

it('compiles to a valid module of less than 4 kB, which a page may compile at once', () => {
  expect(WebAssembly.validate(simdModule())).toBe(true);
  expect(simdModule().length).toBeLessThan(4096);
});

for (const [engine, make] of Object.entries(engines)) {
  for (const depthwise of [false, true]) {
    describe(`gradients of ${depthwise ? 'depthwise ' : ''}convolutions in ${engine} equal their definition`, () => {
      for (const [title, geometryOf] of Object.entries(depthwise ? DEPTHWISE : DENSE)) {
        it(title, () => {
          const shape = geometry(geometryOf, depthwise);
          const size = (lengths: number[]) => lengths.reduce((all, length) => all * length, 1);
          const [x, filter, dy] = [random(size(geometryOf.x), 1), random(size(geometryOf.filter), 2), random(size(shape.outShape), 3)];
          const expected = reference(shape, x, filter, dy, depthwise);
          // What is not written would show.
          const [dw, dx] = [new Float32Array(filter.length).fill(NaN), new Float32Array(x.length).fill(NaN)];
          const run = make();
          (depthwise ? depthwiseFilterGradient : filterGradient)(run, shape, x, dy, dw);
          (depthwise ? depthwiseInputGradient : inputGradient)(run, shape, dy, filter, dx);
          expect(relativeError(dw, Array.from(expected.dw))).toBeLessThan(1e-6);
          expect(relativeError(dx, Array.from(expected.dx))).toBeLessThan(1e-6);
        });
      }
    });
  }
}

it('keeps its digits in a sum over 100 000 pixels', () => {
  const shape = geometry({ x: [4, 160, 160, 1], filter: [1, 1, 1, 1] }, false);
  const x = random(4 * 160 * 160, 5).map((value) => 1 + 0.01 * value);
  const dw = new Float32Array(1);
  filterGradient(loops(), shape, x, x, dw);
  const exact = x.reduce((sum, value) => sum + value * value, 0);
  expect(Math.abs(dw[0] / exact - 1)).toBeLessThan(2e-6);
});

it('gives large memories back', () => {
  const big = { x: [1, 1500, 1500, 4], filter: [1, 1, 4, 8] } as Case;
  const shape = geometry(big, false);
  const [x, dy] = [new Float32Array(9e6).fill(1), new Float32Array(1500 * 1500 * 8).fill(1)];
  const dw = new Float32Array(32);
  filterGradient(loops(), shape, x, dy, dw);
  expect(dw[0]).toBe(1500 * 1500);
  expect(loops().room(16).byteLength).toBeLessThan(1e6);
});

it('gives the input gradient of a convolution over depth, plane by plane', () => {
  const [inShape, filterShape] = [[2, 5, 4, 6, 2], [2, 3, 2, 2, 3]] as Array<[number, number, number, number, number]>;
  const s = backend_util.computeConv3DInfo(inShape, filterShape, [2, 1, 2], 1, 'same') as ConvShape3D & { outShape: number[] };
  const filter = random(72, 1);
  const dy = random(s.outShape.reduce((size, length) => size * length, 1), 2);
  const expected = new Float64Array(2 * 5 * 4 * 6 * 2);
  let from = 0;
  for (let n = 0; n < 2; n++) for (let z = 0; z < s.outDepth; z++) for (let y = 0; y < s.outHeight; y++) for (let x = 0; x < s.outWidth; x++) for (let o = 0; o < 3; o++, from++) {
    for (let k = 0; k < 2; k++) for (let i = 0; i < 3; i++) for (let j = 0; j < 2; j++) for (let c = 0; c < 2; c++) {
      const [zz, yy, xx] = [2 * z + k - s.padInfo.front, y + i - s.padInfo.top, 2 * x + j - s.padInfo.left];
      if (zz < 0 || zz >= 5 || yy < 0 || yy >= 4 || xx < 0 || xx >= 6) continue;
      expected[(((n * 5 + zz) * 4 + yy) * 6 + xx) * 2 + c] += dy[from] * filter[(((k * 3 + i) * 2 + j) * 2 + c) * 3 + o];
    }
  }
  const dx = new Float32Array(expected.length).fill(NaN);
  inputGradient3D(loops(), s, dy, filter, dx);
  expect(relativeError(dx, Array.from(expected))).toBeLessThan(1e-6);
});

for (const [engine, make] of Object.entries(engines)) {
  describe(`gradients of max pooling in ${engine}`, () => {
    it('go to the first of equal numbers', () => {
      const s = backend_util.computePool2DInfo([1, 3, 4, 1], [3, 2], [1, 2], 1, 'valid');
      const dx = new Float32Array(12).fill(NaN);
      maxPoolGradient(make(), s, Float32Array.of(1, 5, 7, 0, 5, 2, 7, 1, 0, 5, 6, 7), Float32Array.of(5, 7), Float32Array.of(3, 4), dx);
      expect(Array.from(dx)).toEqual([0, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    });

    it('never go to the padding, not even where all numbers are negative', () => {
      const s = backend_util.computePool2DInfo([1, 2, 2, 1], 3, 1, 1, 'same');
      const dx = new Float32Array(4).fill(NaN);
      maxPoolGradient(make(), s, Float32Array.of(-4, -3, -2, -1), Float32Array.of(-1, -1, -1, -1), Float32Array.of(1, 2, 3, 4), dx);
      expect(Array.from(dx)).toEqual([0, 0, 0, 10]);
    });

    it('add up where windows overlap, in every channel and image by itself', () => {
      const [shape, channels] = [[2, 7, 6, 5] as [number, number, number, number], 5];
      const s = backend_util.computePool2DInfo(shape, [3, 2], [2, 1], 1, 'same');
      const [x, dy] = [random(2 * 7 * 6 * 5, 1), random(2 * s.outHeight * s.outWidth * channels, 2)];
      const [y, expected] = [new Float32Array(dy.length), new Float64Array(x.length)];
      for (let i = 0; i < dy.length; i++) {
        const [c, column, row, n] = [i % channels, Math.floor(i / channels) % s.outWidth, Math.floor(i / channels / s.outWidth) % s.outHeight, Math.floor(i / channels / s.outWidth / s.outHeight)];
        let best = -1;
        for (let a = 0; a < 3; a++) for (let b = 0; b < 2; b++) {
          const [inRow, inColumn] = [2 * row + a - s.padInfo.top, column + b - s.padInfo.left];
          if (inRow < 0 || inRow >= 7 || inColumn < 0 || inColumn >= 6) continue;
          const at = ((n * 7 + inRow) * 6 + inColumn) * channels + c;
          if (best < 0 || x[at] > x[best]) best = at;
        }
        y[i] = x[best];
        expected[best] += dy[i];
      }
      const dx = new Float32Array(x.length).fill(NaN);
      maxPoolGradient(make(), s, x, y, dy, dx);
      expect(relativeError(dx, Array.from(expected))).toBeLessThan(1e-6);
    });
  });
}
