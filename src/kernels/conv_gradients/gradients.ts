/**
 * The gradients of convolutions [batch, height, width, channels] with respect to filter and input, one image at a time: an image is copied
 * into the loops' own memory with its padding written out and its channels padded to whole vectors, so that the loops check no bounds.
 */
import type { Loops } from './loops.js';
import { BLOCK_COLUMNS, BLOCK_ROWS, VECTOR } from './simd_loops.js';

/** The part of `backend_util.computeConv2DInfo` that is used, channels last. */
export interface ConvShape {
  batchSize: number;
  inHeight: number;
  inWidth: number;
  inChannels: number;
  outHeight: number;
  outWidth: number;
  outChannels: number;
  filterHeight: number;
  filterWidth: number;
  strideHeight: number;
  strideWidth: number;
  dilationHeight: number;
  dilationWidth: number;
  padInfo: { top: number; left: number };
}

const FLOAT = 4;
const roundUp = (x: number, unit: number) => Math.ceil(x / unit) * unit;

/** A padded image in the loops' memory: [height, width, channels], the input's corner at (top, left). */
interface Padded {
  height: number;
  width: number;
  channels: number;
}

function paddedImage(s: ConvShape, outWidth: number, channels: number): Padded {
  return {
    height: (s.outHeight - 1) * s.strideHeight + (s.filterHeight - 1) * s.dilationHeight + 1,
    width: (outWidth - 1) * s.strideWidth + (s.filterWidth - 1) * s.dilationWidth + 1,
    channels,
  };
}

/** The rows and columns of the input that lie inside the padded image. */
function overlap(s: ConvShape, image: Padded): { rows: number; columns: number } {
  return {
    rows: Math.min(s.inHeight, image.height - s.padInfo.top),
    columns: Math.min(s.inWidth, image.width - s.padInfo.left),
  };
}

/** Copies the input's image `n`, each channel `times` times side by side, over the zeros of the padded one. */
function copyIn(s: ConvShape, image: Padded, target: Float32Array, x: Float32Array, n: number, times = 1): void {
  const { rows, columns } = overlap(s, image);
  for (let row = 0; row < rows; row++) {
    let to = ((row + s.padInfo.top) * image.width + s.padInfo.left) * image.channels;
    let from = (n * s.inHeight + row) * s.inWidth * s.inChannels;
    if (image.channels === s.inChannels) {
      target.set(x.subarray(from, from + columns * s.inChannels), to);
      continue;
    }
    for (let column = 0; column < columns; column++, from += s.inChannels, to += image.channels) {
      for (let channel = 0, at = to; channel < s.inChannels; channel++) {
        for (let copy = 0; copy < times; copy++) target[at++] = x[from + channel];
      }
    }
  }
}

/** The reverse: what lies in the padded image under the input's image `n`, summed over `times` neighbouring channels. */
function copyOut(s: ConvShape, image: Padded, source: Float32Array, dx: Float32Array, n: number, times = 1): void {
  const { rows, columns } = overlap(s, image);
  const imageStart = n * s.inHeight * s.inWidth * s.inChannels;
  if (rows < s.inHeight || columns < s.inWidth) dx.fill(0, imageStart, imageStart + s.inHeight * s.inWidth * s.inChannels);
  for (let row = 0; row < rows; row++) {
    let from = ((row + s.padInfo.top) * image.width + s.padInfo.left) * image.channels;
    let to = imageStart + row * s.inWidth * s.inChannels;
    if (image.channels === s.inChannels) {
      dx.set(source.subarray(from, from + columns * s.inChannels), to);
      continue;
    }
    for (let column = 0; column < columns; column++, to += s.inChannels, from += image.channels) {
      for (let channel = 0, at = from; channel < s.inChannels; channel++) {
        let sum = 0;
        for (let copy = 0; copy < times; copy++) sum += source[at++];
        dx[to + channel] = sum;
      }
    }
  }
}

/** Copies rows of `length` numbers to rows that are `toStep` apart. */
function copyRows(target: Float32Array, source: Float32Array, rows: number, length: number, toStep: number, fromStep: number): void {
  if (toStep === length && fromStep === length) return target.set(source.subarray(0, rows * length));
  for (let row = 0, to = 0, from = 0; row < rows; row++, to += toStep, from += fromStep) {
    for (let i = 0; i < length; i++) target[to + i] = source[from + i];
  }
}

/** Places arrays one after the other in the loops' memory, and answers zeroed views of them with their addresses. */
function place(loops: Loops, ...lengths: number[]): Array<{ values: Float32Array; address: number }> {
  // A vector may reach past the end of its array; what it finds or adds there is not used.
  const sizes = lengths.map((length) => FLOAT * (roundUp(length, BLOCK_ROWS) + 2 * BLOCK_COLUMNS));
  const buffer = loops.room(sizes.reduce((sum, size) => sum + size, 0));
  let next = 0;
  return lengths.map((length, i) => {
    const values = new Float32Array(buffer, next, sizes[i] / FLOAT).fill(0);
    const address = next;
    next += sizes[i];
    return { values: values.subarray(0, length), address };
  });
}

/** How a row of the filter is read: as one run where its taps are neighbours, else tap by tap. */
function runsOf(s: ConvShape) {
  const joined = s.dilationWidth === 1;
  return { runs: joined ? 1 : s.filterWidth, runLength: (joined ? s.filterWidth : 1) * s.inChannels };
}

/** dw[i, j, c, o] = Σ x[n, y·s + i·d − top, x·s + j·d − left, c] · dy[n, y, x, o]; writes all of `dw`. */
export function filterGradient(loops: Loops, s: ConvShape, x: Float32Array, dy: Float32Array, dw: Float32Array): void {
  const { runs, runLength } = runsOf(s);
  const [rows, columns] = [roundUp(runLength, BLOCK_ROWS), roundUp(s.outChannels, BLOCK_COLUMNS)];
  const image = paddedImage(s, s.outWidth, s.inChannels);
  const pixels = s.outHeight * s.outWidth;
  const [xs, dys, w] = place(loops, image.height * image.width * image.channels, pixels * columns, s.filterHeight * runs * rows * columns);
  const across = FLOAT * image.channels;
  const down = across * image.width;
  for (let n = 0; n < s.batchSize; n++) {
    copyIn(s, image, xs.values, x, n);
    copyRows(dys.values, dy.subarray(n * pixels * s.outChannels), pixels, s.outChannels, columns, s.outChannels);
    loops.filterGradient(
      xs.address, dys.address, w.address, s.outHeight, s.outWidth, s.filterHeight, runs, rows / BLOCK_ROWS, columns / BLOCK_COLUMNS,
      s.strideHeight * down, s.dilationHeight * down, s.strideWidth * across, s.dilationWidth * across, FLOAT * columns,
    );
  }
  for (let run = 0; run < s.filterHeight * runs; run++) {
    copyRows(dw.subarray(run * runLength * s.outChannels), w.values.subarray(run * rows * columns), runLength, s.outChannels, s.outChannels, columns);
  }
}

/** dx[n, y·s + i·d − top, x·s + j·d − left, c] = Σ dy[n, y, x, o] · filter[i, j, c, o]; writes all of `dx`. */
export function inputGradient(loops: Loops, s: ConvShape, dy: Float32Array, filter: Float32Array, dx: Float32Array): void {
  const { runs, runLength } = runsOf(s);
  const [outWidth, columns] = [roundUp(s.outWidth, BLOCK_ROWS), roundUp(runLength, BLOCK_COLUMNS)];
  const image = paddedImage(s, outWidth, s.inChannels);
  const [xs, dys, w] = place(
    loops, image.height * image.width * image.channels, s.outHeight * outWidth * s.outChannels, s.filterHeight * runs * s.outChannels * columns,
  );
  for (let run = 0, from = 0; run < s.filterHeight * runs; run++) {
    for (let r = 0; r < runLength; r++) {
      for (let o = 0, to = run * s.outChannels * columns + r; o < s.outChannels; o++, to += columns) w.values[to] = filter[from++];
    }
  }
  const across = FLOAT * image.channels;
  const down = across * image.width;
  const rowLength = s.outWidth * s.outChannels;
  for (let n = 0; n < s.batchSize; n++) {
    copyRows(dys.values, dy.subarray(n * s.outHeight * rowLength), s.outHeight, rowLength, outWidth * s.outChannels, rowLength);
    xs.values.fill(0);
    loops.inputGradient(
      xs.address, dys.address, w.address, s.outHeight, s.outWidth, s.filterHeight, runs, outWidth / BLOCK_ROWS, columns / BLOCK_COLUMNS,
      s.strideHeight * down, s.dilationHeight * down, s.strideWidth * across, s.dilationWidth * across, FLOAT * s.outChannels, s.outChannels,
    );
    copyOut(s, image, xs.values, dx, n);
  }
}

function depthwisePlan(s: ConvShape) {
  const channels = roundUp(s.outChannels, BLOCK_COLUMNS);
  const image = paddedImage(s, s.outWidth, channels);
  const across = FLOAT * channels;
  const down = across * image.width;
  return {
    channels, image, multiplier: s.outChannels / s.inChannels,
    lengths: [image.height * image.width * channels, s.outHeight * s.outWidth * channels, s.filterHeight * s.filterWidth * channels],
    arguments: [
      s.outHeight, s.outWidth, s.filterHeight, s.filterWidth, channels / BLOCK_COLUMNS,
      s.strideHeight * down, s.dilationHeight * down, s.strideWidth * across, s.dilationWidth * across, across,
    ],
  };
}

/** dw[i, j, c, q] = Σ x[n, y·s + i·d − top, x·s + j·d − left, c] · dy[n, y, x, c·multiplier + q]; writes all of `dw`. */
export function depthwiseFilterGradient(loops: Loops, s: ConvShape, x: Float32Array, dy: Float32Array, dw: Float32Array): void {
  const { channels, image, multiplier, lengths, arguments: rest } = depthwisePlan(s);
  const pixels = s.outHeight * s.outWidth;
  const [xs, dys, w] = place(loops, ...lengths);
  for (let n = 0; n < s.batchSize; n++) {
    copyIn(s, image, xs.values, x, n, multiplier);
    copyRows(dys.values, dy.subarray(n * pixels * s.outChannels), pixels, s.outChannels, channels, s.outChannels);
    loops.depthwiseFilterGradient(xs.address, dys.address, w.address, ...rest);
  }
  copyRows(dw, w.values, s.filterHeight * s.filterWidth, s.outChannels, s.outChannels, channels);
}

/** dx[n, y·s + i·d − top, x·s + j·d − left, c] = Σ dy[n, y, x, c·multiplier + q] · filter[i, j, c, q]; writes all of `dx`. */
export function depthwiseInputGradient(loops: Loops, s: ConvShape, dy: Float32Array, filter: Float32Array, dx: Float32Array): void {
  const { channels, image, multiplier, lengths, arguments: rest } = depthwisePlan(s);
  const pixels = s.outHeight * s.outWidth;
  const [xs, dys, w] = place(loops, ...lengths);
  copyRows(w.values, filter, s.filterHeight * s.filterWidth, s.outChannels, channels, s.outChannels);
  for (let n = 0; n < s.batchSize; n++) {
    copyRows(dys.values, dy.subarray(n * pixels * s.outChannels), pixels, s.outChannels, channels, s.outChannels);
    xs.values.fill(0);
    loops.depthwiseInputGradient(xs.address, dys.address, w.address, ...rest);
    copyOut(s, image, xs.values, dx, n, multiplier);
  }
}

/**
 * dx of max pooling: each window's cotangent goes to the first of its numbers that equals `y`, the largest. Where none does, as with NaN, it
 * is dropped. Writes all of `dx`.
 */
export function maxPoolGradient(loops: Loops, s: ConvShape, x: Float32Array, y: Float32Array, dy: Float32Array, dx: Float32Array): void {
  const { channels, image, lengths: [imageLength, outLength] } = depthwisePlan(s);
  const [dxs, xs, ys, dys] = place(loops, imageLength, imageLength, outLength, outLength);
  const across = FLOAT * channels;
  const down = across * image.width;
  const pixels = s.outHeight * s.outWidth;
  xs.values.fill(-Infinity); // the padding, which stays
  for (let n = 0; n < s.batchSize; n++) {
    copyIn(s, image, xs.values, x, n);
    for (const [part, values] of [[ys, y], [dys, dy]] as const) {
      copyRows(part.values, values.subarray(n * pixels * s.outChannels), pixels, s.outChannels, channels, s.outChannels);
    }
    dxs.values.fill(0);
    loops.maxPoolGradient(
      dxs.address, ys.address, dys.address, xs.address - dxs.address, s.outHeight, s.outWidth, s.filterHeight, s.filterWidth,
      across / VECTOR, s.strideHeight * down, s.dilationHeight * down, s.strideWidth * across, s.dilationWidth * across,
    );
    copyOut(s, image, dxs.values, dx, n);
  }
}

/** The part of `backend_util.computeConv3DInfo` that is used beside that of two dimensions. */
export interface ConvShape3D extends ConvShape {
  inDepth: number;
  outDepth: number;
  filterDepth: number;
  strideDepth: number;
  dilationDepth: number;
  padInfo: { top: number; left: number; front: number };
}

/** dx of a convolution over [batch, depth, height, width, channels], plane by plane; writes all of `dx`. */
export function inputGradient3D(loops: Loops, s: ConvShape3D, dy: Float32Array, filter: Float32Array, dx: Float32Array): void {
  const plane: ConvShape = { ...s, batchSize: 1 };
  const size = { dy: s.outHeight * s.outWidth * s.outChannels, x: s.inHeight * s.inWidth * s.inChannels, filter: s.filterHeight * s.filterWidth * s.inChannels * s.outChannels };
  const part = new Float32Array(size.x);
  dx.fill(0);
  for (let z = 0; z < s.batchSize * s.outDepth; z++) {
    const [n, row] = [Math.floor(z / s.outDepth), z % s.outDepth];
    for (let k = 0; k < s.filterDepth; k++) {
      const inDepth = row * s.strideDepth + k * s.dilationDepth - s.padInfo.front;
      if (inDepth < 0 || inDepth >= s.inDepth) continue;
      inputGradient(loops, plane, dy.subarray(z * size.dy, (z + 1) * size.dy), filter.subarray(k * size.filter, (k + 1) * size.filter), part);
      const to = (n * s.inDepth + inDepth) * size.x;
      for (let i = 0; i < size.x; i++) dx[to + i] += part[i];
    }
  }
}
