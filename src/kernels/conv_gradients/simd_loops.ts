/**
 * The loops of the gradients of convolutions and of max pooling over one image, in WebAssembly with vectors of four float32. All addresses, strides and offsets are in
 * bytes, counts ≥ 1.
 *
 * Layouts, without bounds to check inside: the image `x` or its gradient `dx` [height, width, inChannels] with the padding written out;
 * `dy` [outHeight, outWidth, channels]. A row of the filter whose taps are neighbours (dilation 1) is read as one run of
 * filterWidth · inChannels numbers, which also fills the vectors where there are few channels; else each tap is a run of its own.
 */
import { add4, allBits, and4, assemble, equal4, i32, load, Locals, mul4, plus, repeat, splat, store, times, without4, zero4, type Code, type FunctionCode, type Local } from './assembler.js';

/** Rows and columns of the block of sums that the inner loop of a dense convolution keeps in registers: 4 × 8 numbers, 8 vectors. */
export const BLOCK_ROWS = 4;
export const BLOCK_COLUMNS = 8;
/** Bytes of a vector. */
export const VECTOR = 16;

/** Names the parameters of a function, in the order in which it is called with them. */
function define<Name extends string>(name: string, parameters: readonly Name[], body: (p: Record<Name, Code>, locals: Locals) => Code): FunctionCode {
  const locals = new Locals(parameters.length);
  const p = Object.fromEntries(parameters.map((key, i) => [key, locals.parameter(i).get])) as Record<Name, Code>;
  return { name, parameters: parameters.length, code: body(p, locals), locals };
}

/** Runs `body` for `count` steps, moving each pointer by its step after each. */
function walk(locals: Locals, count: Code, pointers: Array<[Local, Code]>, body: Code): Code {
  return repeat(locals.integer(), count, [...body, ...pointers.flatMap(([pointer, step]) => pointer.add(step))]);
}

/** Pointers that start where others stand. */
function from(locals: Locals, ...starts: Code[]): { at: Local[]; init: Code } {
  const at = starts.map(() => locals.integer());
  return { at, init: at.flatMap((pointer, i) => pointer.set(starts[i])) };
}

export const CONV_SHAPE = ['outHeight', 'outWidth', 'filterHeight', 'runs', 'rowBlocks', 'columnBlocks'] as const;

/**
 * w[i, run, r, o] += Σ_{y, x} image[y·s + i·d, x·s + run·d, r] · dy[y, x, o], for r in blocks of 4 and o in blocks of 8.
 * `w` [filterHeight, runs, 4·rowBlocks, 8·columnBlocks].
 */
const filterGradient = define(
  'filterGradient',
  ['x', 'dy', 'w', ...CONV_SHAPE, 'xDown', 'xTapDown', 'xAcross', 'xRun', 'dyAcross'],
  (p, locals) => {
    const sums = Array.from({ length: 2 * BLOCK_ROWS }, () => locals.vector());
    const [d0, d1, s] = [locals.vector(), locals.vector(), locals.vector()];
    const { at: [xRow, dyRow], init: rows } = from(locals, p.x, p.dy);
    const { at: [xTap, w], init: taps } = from(locals, xRow.get, p.w);
    const { at: [xRun], init: runs } = from(locals, xTap.get);
    const { at: [xBlock], init: blocks } = from(locals, xRun.get);
    const { at: [dyBlock], init: columns } = from(locals, dyRow.get);
    const { at: [xs, ds], init: pixels } = from(locals, xBlock.get, dyBlock.get);
    const wDown = p.dyAcross; // one number per column of dy, so that rows of both are equally long
    const wRow = (r: number) => Array.from({ length: r }, () => wDown).reduce((sum, step) => plus(sum, step), w.get);
    const eachSum = (body: (sum: Local, address: Code, offset: number) => Code) =>
      sums.flatMap((sum, i) => body(sum, wRow(i >> 1), (i & 1) * VECTOR));
    const multiplyAdd = [
      ...d0.set(load(ds.get)), ...d1.set(load(ds.get, VECTOR)),
      ...Array.from({ length: BLOCK_ROWS }, (_, r) => [
        ...s.set(splat(xs.get, 4 * r)),
        ...sums[2 * r].set(add4(sums[2 * r].get, mul4(s.get, d0.get))),
        ...sums[2 * r + 1].set(add4(sums[2 * r + 1].get, mul4(s.get, d1.get))),
      ]).flat(),
    ];
    const block = [
      // Summed row by row, then over the rows: one long chain of float32 sums would lose digits.
      ...sums.flatMap((sum) => sum.set(zero4)),
      ...pixels, ...walk(locals, p.outWidth, [[xs, p.xAcross], [ds, p.dyAcross]], multiplyAdd),
      ...eachSum((sum, address, offset) => store(address, add4(load(address, offset), sum.get), offset)),
    ];
    return [
      ...rows, ...walk(locals, p.outHeight, [[xRow, p.xDown], [dyRow, times(p.dyAcross, p.outWidth)]], [
        ...taps, ...walk(locals, p.filterHeight, [[xTap, p.xTapDown]], [
          ...runs, ...walk(locals, p.runs, [[xRun, p.xRun]], [
            ...blocks, ...walk(locals, p.rowBlocks, [[xBlock, i32(4 * BLOCK_ROWS)], [w, times(wDown, i32(BLOCK_ROWS - 1))]], [
              ...columns, ...walk(locals, p.columnBlocks, [[dyBlock, i32(4 * BLOCK_COLUMNS)], [w, i32(4 * BLOCK_COLUMNS)]], block),
            ]),
          ]),
        ]),
      ]),
    ];
  },
);

/**
 * dx[y·s + i·d, x·s + run·d, r] += Σ_o dy[y, x, o] · w[i, run, o, r], for x in blocks of 4 and r in blocks of 8.
 * `w` [filterHeight, runs, channels, 8·columnBlocks]; `dy` [outHeight, 4·rowBlocks, channels].
 */
const inputGradient = define(
  'inputGradient',
  ['dx', 'dy', 'w', ...CONV_SHAPE, 'xDown', 'xTapDown', 'xAcross', 'xRun', 'dyAcross', 'channels'],
  (p, locals) => {
    const sums = Array.from({ length: 2 * BLOCK_ROWS }, () => locals.vector());
    const [w0, w1, s] = [locals.vector(), locals.vector(), locals.vector()];
    const { at: [xRow, dyRow], init: rows } = from(locals, p.dx, p.dy);
    const { at: [xTap, wRun], init: taps } = from(locals, xRow.get, p.w);
    const { at: [xRun], init: runs } = from(locals, xTap.get);
    const { at: [xBlock, dyBlock], init: blocks } = from(locals, xRun.get, dyRow.get);
    const { at: [dxs, wBlock], init: columns } = from(locals, xBlock.get, wRun.get);
    const { at: [ds, ws, xs], init: terms } = from(locals, dyBlock.get, wBlock.get, dxs.get);
    const wDown = times(p.columnBlocks, i32(4 * BLOCK_COLUMNS));
    const pixel = (q: number) => Array.from({ length: q }, () => p.dyAcross).reduce((sum, step) => plus(sum, step), ds.get);
    const multiplyAdd = [
      ...w0.set(load(ws.get)), ...w1.set(load(ws.get, VECTOR)),
      ...Array.from({ length: BLOCK_ROWS }, (_, q) => [
        ...s.set(splat(pixel(q))),
        ...sums[2 * q].set(add4(sums[2 * q].get, mul4(s.get, w0.get))),
        ...sums[2 * q + 1].set(add4(sums[2 * q + 1].get, mul4(s.get, w1.get))),
      ]).flat(),
    ];
    const block = [
      ...sums.flatMap((sum) => sum.set(zero4)),
      ...terms, ...walk(locals, p.channels, [[ds, i32(4)], [ws, wDown]], multiplyAdd),
      // Pixels may overlap: one after the other.
      ...Array.from({ length: BLOCK_ROWS }, (_, q) => [
        ...[0, 1].flatMap((half) => store(xs.get, add4(load(xs.get, half * VECTOR), sums[2 * q + half].get), half * VECTOR)),
        ...xs.add(p.xAcross),
      ]).flat(),
    ];
    return [
      ...rows, ...walk(locals, p.outHeight, [[xRow, p.xDown], [dyRow, times(times(p.dyAcross, i32(BLOCK_ROWS)), p.rowBlocks)]], [
        ...taps, ...walk(locals, p.filterHeight, [[xTap, p.xTapDown]], [
          ...runs, ...walk(locals, p.runs, [[xRun, p.xRun], [wRun, times(wDown, p.channels)]], [
            ...blocks, ...walk(locals, p.rowBlocks, [[xBlock, times(p.xAcross, i32(BLOCK_ROWS))], [dyBlock, times(p.dyAcross, i32(BLOCK_ROWS))]], [
              ...columns, ...walk(locals, p.columnBlocks, [[dxs, i32(4 * BLOCK_COLUMNS)], [wBlock, i32(4 * BLOCK_COLUMNS)]], block),
            ]),
          ]),
        ]),
      ]),
    ];
  },
);

/** The outer loops of both depthwise gradients: rows, taps, blocks of 8 channels; `inner` is given where x, dy and w stand. */
function depthwise(
  name: string,
  inner: (at: { x: Local; dy: Local; w: Code }, pixels: (pointers: Local[], body: Code) => Code, locals: Locals) => Code,
): FunctionCode {
  return define(
    name,
    ['x', 'dy', 'w', 'outHeight', 'outWidth', 'filterHeight', 'filterWidth', 'columnBlocks', 'xDown', 'xTapDown', 'xAcross', 'xTapAcross', 'dyAcross'],
    (p, locals) => {
      const { at: [xRow, dyRow], init: rows } = from(locals, p.x, p.dy);
      const { at: [xTapRow, w], init: tapRows } = from(locals, xRow.get, p.w);
      const { at: [xTap], init: taps } = from(locals, xTapRow.get);
      const { at: [xBlock, dyBlock], init: columns } = from(locals, xTap.get, dyRow.get);
      const { at: [x, dy], init: start } = from(locals, xBlock.get, dyBlock.get);
      const pixels = (pointers: Local[], body: Code) => walk(locals, p.outWidth, pointers.map((at) => [at, at === dy ? p.dyAcross : p.xAcross]), body);
      const blockBytes = i32(4 * BLOCK_COLUMNS);
      return [
        ...rows, ...walk(locals, p.outHeight, [[xRow, p.xDown], [dyRow, times(p.dyAcross, p.outWidth)]], [
          ...tapRows, ...walk(locals, p.filterHeight, [[xTapRow, p.xTapDown]], [
            ...taps, ...walk(locals, p.filterWidth, [[xTap, p.xTapAcross]], [
              ...columns, ...walk(locals, p.columnBlocks, [[xBlock, blockBytes], [dyBlock, blockBytes], [w, blockBytes]], [
                ...start, ...inner({ x, dy, w: w.get }, pixels, locals),
              ]),
            ]),
          ]),
        ]),
      ];
    },
  );
}

const HALVES = [0, VECTOR];

/** w[i, j, c] += Σ_{y, x} image[y·s + i·d, x·s + j·d, c] · dy[y, x, c]. */
const depthwiseFilterGradient = depthwise('depthwiseFilterGradient', ({ x, dy, w }, pixels, locals) => {
  const sums = HALVES.map(() => locals.vector());
  return [
    ...sums.flatMap((sum) => sum.set(zero4)),
    ...pixels([x, dy], HALVES.flatMap((half, i) => sums[i].set(add4(sums[i].get, mul4(load(x.get, half), load(dy.get, half)))))),
    ...HALVES.flatMap((half, i) => store(w, add4(load(w, half), sums[i].get), half)),
  ];
});

/** dx[y·s + i·d, x·s + j·d, c] += dy[y, x, c] · w[i, j, c]. */
const depthwiseInputGradient = depthwise('depthwiseInputGradient', ({ x, dy, w }, pixels, locals) => {
  const weights = HALVES.map(() => locals.vector());
  return [
    ...HALVES.flatMap((half, i) => weights[i].set(load(w, half))),
    ...pixels([x, dy], HALVES.flatMap((half, i) => store(x.get, add4(load(x.get, half), mul4(load(dy.get, half), weights[i].get)), half))),
  ];
});

/**
 * dx[y·s + i·d, x·s + j·d, c] += dy[y, x, c] for the first (i, j) where the image equals its largest number, `y[y, x, c]`. The image starts
 * `toImage` bytes after `dx`, its padding is −∞.
 */
const maxPoolGradient = define(
  'maxPoolGradient',
  ['dx', 'y', 'dy', 'toImage', 'outHeight', 'outWidth', 'filterHeight', 'filterWidth', 'vectors', 'xDown', 'xTapDown', 'xAcross', 'xTapAcross'],
  (p, locals) => {
    const [largest, cotangent, free, found] = [locals.vector(), locals.vector(), locals.vector(), locals.vector()];
    const { at: [xRow, y, dy], init: rows } = from(locals, p.dx, p.y, p.dy);
    const { at: [xPixel], init: pixels } = from(locals, xRow.get);
    const { at: [x], init: channels } = from(locals, xPixel.get);
    const { at: [tapRow], init: tapRows } = from(locals, x.get);
    const { at: [tap], init: taps } = from(locals, tapRow.get);
    const bytes = i32(VECTOR);
    return [
      ...rows, ...walk(locals, p.outHeight, [[xRow, p.xDown]], [
        ...pixels, ...walk(locals, p.outWidth, [[xPixel, p.xAcross]], [
          ...channels, ...walk(locals, p.vectors, [[x, bytes], [y, bytes], [dy, bytes]], [
            ...largest.set(load(y.get)), ...cotangent.set(load(dy.get)), ...free.set(allBits),
            ...tapRows, ...walk(locals, p.filterHeight, [[tapRow, p.xTapDown]], [
              ...taps, ...walk(locals, p.filterWidth, [[tap, p.xTapAcross]], [
                ...found.set(and4(free.get, equal4(load(plus(tap.get, p.toImage)), largest.get))),
                ...store(tap.get, add4(load(tap.get), and4(found.get, cotangent.get))),
                ...free.set(without4(free.get, found.get)),
              ]),
            ]),
          ]),
        ]),
      ]),
    ];
  },
);

/** What the module exports; the integers are those of the definitions above, in their order. */
export interface SimdLoops {
  memory: WebAssembly.Memory;
  filterGradient(...integers: number[]): void;
  inputGradient(...integers: number[]): void;
  depthwiseFilterGradient(...integers: number[]): void;
  depthwiseInputGradient(...integers: number[]): void;
  maxPoolGradient(...integers: number[]): void;
}

/** The module's bytes, about 2.5 kB. */
export const simdModule = () => assemble([filterGradient, inputGradient, depthwiseFilterGradient, depthwiseInputGradient, maxPoolGradient]);
