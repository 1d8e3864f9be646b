/** The loops over one image, in WebAssembly where the engine has vectors, else in JavaScript over the same memory. */
import { BLOCK_COLUMNS, BLOCK_ROWS, simdModule, type SimdLoops } from './simd_loops.js';

/** Addresses, strides and offsets in bytes; the arguments of each function as in `simd_loops.ts`. */
export interface Loops extends Omit<SimdLoops, 'memory'> {
  /** A memory of at least that many bytes, whose contents are lost at the next call. */
  room(bytes: number): ArrayBuffer;
}

const PAGE = 65_536;
/** A WebAssembly memory does not shrink: beyond this size the next call begins with a new one. */
const KEPT_BYTES = 64 * 2 ** 20;

let compiled: WebAssembly.Module | null | undefined;
let instance: SimdLoops | null = null;

function simdLoops(): Loops | null {
  if (compiled === undefined) {
    const bytes = simdModule();
    compiled = WebAssembly.validate(bytes) ? new WebAssembly.Module(bytes) : null;
  }
  if (compiled === null) return null;
  if (instance === null || instance.memory.buffer.byteLength > KEPT_BYTES) {
    instance = new WebAssembly.Instance(compiled).exports as unknown as SimdLoops;
  }
  const exports = instance;
  return {
    ...exports,
    room: (bytes) => {
      const missing = bytes - exports.memory.buffer.byteLength;
      if (missing > 0) exports.memory.grow(Math.ceil(missing / PAGE));
      return exports.memory.buffer as ArrayBuffer;
    },
  };
}

/** The fastest loops that this engine runs. */
export const loops = (): Loops => simdLoops() ?? plainLoops();

/** The same in JavaScript. */
export function plainLoops(): Loops {
  let floats = new Float32Array(0);
  const words = (integers: number[]) => integers.map((bytes) => bytes / 4);

  /** Visits every pixel of dy with every run of taps that it was made from. */
  function dense(integers: number[], outWidth: number, rowLength: number, body: (x: number, dy: number, run: number) => void): void {
    const [xAt, dyAt, , outHeight, , filterHeight, runs] = integers;
    const [x, dy, xDown, xTapDown, xAcross, xRun, dyAcross] = words([xAt, dyAt, ...integers.slice(9, 14)]);
    for (let row = 0; row < outHeight; row++) {
      for (let run = 0; run < filterHeight * runs; run++) {
        const corner = x + row * xDown + Math.floor(run / runs) * xTapDown + (run % runs) * xRun;
        for (let column = 0; column < outWidth; column++) body(corner + column * xAcross, dy + row * rowLength + column * dyAcross, run);
      }
    }
  }

  function depthwise(integers: number[], body: (x: number, dy: number, w: number) => void): void {
    const [, , , outHeight, outWidth, filterHeight, filterWidth, columnBlocks] = integers;
    const [x, dy, w, xDown, xTapDown, xAcross, xTapAcross, dyAcross] = words([...integers.slice(0, 3), ...integers.slice(8)]);
    const channels = BLOCK_COLUMNS * columnBlocks;
    for (let row = 0; row < outHeight; row++) {
      for (let tap = 0; tap < filterHeight * filterWidth; tap++) {
        const corner = x + row * xDown + Math.floor(tap / filterWidth) * xTapDown + (tap % filterWidth) * xTapAcross;
        for (let column = 0; column < outWidth; column++) {
          const [from, at] = [corner + column * xAcross, dy + (row * outWidth + column) * dyAcross];
          for (let c = 0; c < channels; c++) body(from + c, at + c, w + tap * channels + c);
        }
      }
    }
  }

  return {
    room: (bytes) => (floats = new Float32Array(bytes / 4)).buffer,
    filterGradient: (...integers) => {
      const [, , wAt, , outWidth, , , rowBlocks, columnBlocks] = integers;
      const [rows, columns] = [BLOCK_ROWS * rowBlocks, BLOCK_COLUMNS * columnBlocks];
      dense(integers, outWidth, outWidth * columns, (x, dy, run) => {
        for (let r = 0, w = wAt / 4 + run * rows * columns; r < rows; r++) {
          const value = floats[x + r];
          for (let o = 0; o < columns; o++) floats[w++] += value * floats[dy + o];
        }
      });
    },
    inputGradient: (...integers) => {
      const [, , wAt, , outWidth, , , rowBlocks, columnBlocks] = integers;
      const [columns, channels] = [BLOCK_COLUMNS * columnBlocks, integers[14]];
      dense(integers, outWidth, BLOCK_ROWS * rowBlocks * channels, (x, dy, run) => {
        for (let o = 0, w = wAt / 4 + run * channels * columns; o < channels; o++) {
          const value = floats[dy + o];
          for (let r = 0; r < columns; r++) floats[x + r] += value * floats[w++];
        }
      });
    },
    depthwiseFilterGradient: (...integers) => depthwise(integers, (x, dy, w) => (floats[w] += floats[x] * floats[dy])),
    depthwiseInputGradient: (...integers) => depthwise(integers, (x, dy, w) => (floats[x] += floats[dy] * floats[w])),
    maxPoolGradient: (...integers) => {
      const [, , , , outHeight, outWidth, filterHeight, filterWidth, vectors] = integers;
      const [dx, y, dy, toImage, xDown, xTapDown, xAcross, xTapAcross] = words([...integers.slice(0, 4), ...integers.slice(9)]);
      for (let i = 0; i < outHeight * outWidth * 4 * vectors; i++) {
        const [pixel, channel] = [Math.floor(i / (4 * vectors)), i % (4 * vectors)];
        const corner = dx + Math.floor(pixel / outWidth) * xDown + (pixel % outWidth) * xAcross + channel;
        for (let tap = 0; tap < filterHeight * filterWidth; tap++) {
          const at = corner + Math.floor(tap / filterWidth) * xTapDown + (tap % filterWidth) * xTapAcross;
          if (floats[at + toImage] !== floats[y + i]) continue;
          floats[at] += floats[dy + i];
          break;
        }
      }
    },
  };
}
