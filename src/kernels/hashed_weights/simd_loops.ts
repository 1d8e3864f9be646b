/**
 * The loops of host_loops.ts in WebAssembly with vectors of four: the hashes of four neighbours at once, runs four numbers at a time. The
 * same results bit by bit; JavaScript takes four to eight times as long.
 *
 * The module has a memory of its own, into which the stored array and one row at a time are copied; it stays as long as the longest stored
 * array that it has seen ({@link LARGEST} numbers at most). Nothing else is kept.
 */
import { assemble, i32, load, Locals, plus, repeat, store, zero4, type Code, type FunctionCode, type Local } from '../conv_gradients/assembler.js';
import type { Block } from '../native_blocks.js';
import { hashRow, PRIME_2, PRIME_3, PRIME_4 } from './hash.js';
import type { HashedMatrix } from './matrix.js';

/** Longer stored arrays, with a tile behind them, are left to JavaScript: 16 MiB. */
const LARGEST = 2 ** 22;

const scalar = (opcode: number) => (a: Code, b: Code): Code => [...a, ...b, opcode];
const [multiply, and, xor, shiftLeft, shiftRight, rotateLeft] = [0x6c, 0x71, 0x73, 0x74, 0x76, 0x77].map(scalar);
/** Opcodes from 128 to 255 in two bytes. */
const simd = (opcode: number): Code => (opcode < 128 ? [0xfd, opcode] : [0xfd, opcode, 1]);
const vector = (opcode: number) => (a: Code, b: Code): Code => [...a, ...b, ...simd(opcode)];
const [and4, or4, xor4, shiftLeft4, shiftRight4, plus4, multiply4, lowProducts, highProducts] = [0x4e, 0x50, 0x51, 0xab, 0xad, 0xae, 0xb5, 0xde, 0xdf].map(vector);
const splat4 = (value: Code): Code => [...value, ...simd(0x11)];
const constant4 = (value: number): Code => splat4(i32(value));
const lane = (value: Code, index: number): Code => [...value, ...simd(0x1b), index];
const floatLane = (value: Code, index: number): Code => [...value, ...simd(0x1f), index];
/** Of two vectors of two 64-bit numbers, the four high words. */
const highWords = (a: Code, b: Code): Code => [...a, ...b, ...simd(0x0d), 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31];
const loadLane = (address: Code, into: Code, index: number): Code => [...address, ...into, ...simd(0x56), 2, 0, index];
const addAt = (address: Code, value: Code): Code => [...address, ...address, 0x2a, 2, 0, ...value, 0x92, 0x38, 2, 0];
const loadFloat = (address: Code): Code => [...address, 0x2a, 2, 0];
const asInteger = (value: Code): Code => [...value, 0xbc];
const asFloat = (value: Code): Code => [...value, 0xbe];
const when = (condition: Code, body: Code): Code => [...condition, 0x04, 0x40, ...body, 0x0b];
/** ⌊h · buckets / 2³²⌋ */
const highWord = (h: Code, buckets: Code): Code => [...h, 0xad, ...buckets, 0xad, 0x7e, 0x42, 32, 0x88, 0xa7];

/** `stored`: where the number of bucket 0 stands, for this row of its tile; `row`: the row; `count`: vectors or tiles in it. */
const PARAMETERS = ['stored', 'row', 'count', 'rowHash', 'buckets', 'signs'] as const;
type Parameters = Record<(typeof PARAMETERS)[number] | 'width', Code>;

function define(name: string, body: (p: Parameters, locals: Locals) => Code, more: readonly 'width'[] = []): FunctionCode {
  const names = [...PARAMETERS, ...more];
  const locals = new Locals(names.length);
  const p = Object.fromEntries(names.map((key, i) => [key, locals.parameter(i).get])) as Parameters;
  return { name, parameters: names.length, code: body(p, locals), locals };
}

/** Sets h to the hashes of four columns, `words` being column · PRIME_3, and moves `words` on; hash.ts says the same for one. */
function hash4(h: Local, words: Local, rowHash: Local): Code {
  const mixIn = (bits: number) => h.set(xor4(h.get, shiftRight4(h.get, i32(bits))));
  return [
    ...h.set(plus4(rowHash.get, words.get)),
    ...h.set(multiply4(or4(shiftLeft4(h.get, i32(17)), shiftRight4(h.get, i32(15))), constant4(PRIME_4))),
    ...mixIn(15), ...h.set(multiply4(h.get, constant4(PRIME_2))),
    ...mixIn(13), ...h.set(multiply4(h.get, constant4(PRIME_3))),
    ...mixIn(16),
    ...words.set(plus4(words.get, constant4(4 * PRIME_3))),
  ];
}

/** Runs `body` for each vector of hashed elements; `addresses` are where their stored numbers stand, `flips` their sign bits. */
function eachVector(p: Parameters, locals: Locals, body: (addresses: Local, flips: Code, row: Local) => Code): Code {
  const [h, words, rowHash, addresses, buckets, stored, signs] = Array.from({ length: 7 }, () => locals.vector());
  const row = locals.integer();
  const columns = [0, 1, 2, 3].reduce<Code>((all, column) => [...all, ...i32(column * PRIME_3), ...(column === 0 ? simd(0x11) : [...simd(0x1c), column])], []);
  return [
    ...words.set(columns), ...rowHash.set(splat4(p.rowHash)), ...buckets.set(splat4(p.buckets)),
    ...stored.set(splat4(p.stored)), ...signs.set(splat4(p.signs)), ...row.set(p.row),
    ...repeat(locals.integer(), p.count, [
      ...hash4(h, words, rowHash),
      ...addresses.set(highWords(lowProducts(h.get, buckets.get), highProducts(h.get, buckets.get))),
      ...addresses.set(plus4(stored.get, shiftLeft4(addresses.get, i32(2)))),
      ...body(addresses, and4(shiftLeft4(h.get, i32(31)), signs.get), row),
      ...row.add(i32(16)),
    ]),
  ]; // prettier-ignore
}

const expandElements = define('expandElements', (p, locals) =>
  eachVector(p, locals, (addresses, flips, row) => {
    const numbers = [0, 1, 2, 3].reduce((into, i) => loadLane(lane(addresses.get, i), into, i), zero4);
    return store(row.get, xor4(numbers, flips));
  }));

const scatterElements = define('scatterElements', (p, locals) => {
  const terms = locals.vector();
  const address = locals.integer();
  return eachVector(p, locals, (addresses, flips, row) => [
    ...terms.set(xor4(load(row.get), flips)),
    ...[0, 1, 2, 3].flatMap((i) => [...address.set(lane(addresses.get, i)), ...addAt(address.get, floatLane(terms.get, i))]),
  ]);
});

/** Runs `body` for each tile, whose run of stored numbers begins at `from` and whose place in the row at `to`. */
function eachTile(p: Parameters, locals: Locals, body: (from: Local, to: Local, flip: Local) => Code): Code {
  const [h, word, from, to, row, flip] = Array.from({ length: 6 }, () => locals.integer());
  const mixIn = (bits: number) => h.set(xor(h.get, shiftRight(h.get, i32(bits))));
  return [
    ...word.set(i32(0)), ...row.set(p.row),
    ...repeat(locals.integer(), p.count, [
      ...h.set(multiply(rotateLeft(plus(p.rowHash, word.get), i32(17)), i32(PRIME_4))),
      ...mixIn(15), ...h.set(multiply(h.get, i32(PRIME_2))),
      ...mixIn(13), ...h.set(multiply(h.get, i32(PRIME_3))),
      ...mixIn(16),
      ...from.set(plus(p.stored, shiftLeft(highWord(h.get, p.buckets), i32(2)))),
      ...flip.set(and(shiftLeft(h.get, i32(31)), p.signs)),
      ...to.set(row.get),
      ...body(from, to, flip),
      ...row.add(shiftLeft(p.width, i32(2))),
      ...word.add(i32(PRIME_3)),
    ]),
  ]; // prettier-ignore
}

/** The last vector of a run may reach beyond it: what it writes there is written over by the next. */
const expandRuns = define('expandRuns', (p, locals) =>
  eachTile(p, locals, (from, to, flip) =>
    repeat(locals.integer(), shiftRight(plus(p.width, i32(3)), i32(2)), [
      ...store(to.get, xor4(load(from.get), splat4(flip.get))), ...from.add(i32(16)), ...to.add(i32(16)),
    ])), ['width']); // prettier-ignore

const scatterRuns = define('scatterRuns', (p, locals) =>
  eachTile(p, locals, (from, to, flip) => {
    const [vectors, rest] = [shiftRight(p.width, i32(2)), and(p.width, i32(3))];
    return [
      ...when(vectors, repeat(locals.integer(), vectors, [
        ...store(from.get, [...load(from.get), ...xor4(load(to.get), splat4(flip.get)), ...simd(0xe4)]), ...from.add(i32(16)), ...to.add(i32(16)),
      ])),
      ...when(rest, repeat(locals.integer(), rest, [
        ...addAt(from.get, asFloat(xor(asInteger(loadFloat(to.get)), flip.get))), ...from.add(i32(4)), ...to.add(i32(4)),
      ])),
    ];
  }), ['width']); // prettier-ignore

type Elements = (stored: number, row: number, vectors: number, rowHash: number, buckets: number, signs: number) => void;
type Runs = (stored: number, row: number, tiles: number, rowHash: number, buckets: number, signs: number, width: number) => void;

interface Module {
  memory: WebAssembly.Memory;
  expandElements: Elements;
  scatterElements: Elements;
  expandRuns: Runs;
  scatterRuns: Runs;
}

let instance: Module | null | undefined;

/** The module, or null where there is no WebAssembly with vectors, or a page's security policy forbids it. */
function simdModule(): Module | null {
  if (instance === undefined) {
    try {
      const bytes = assemble([expandElements, scatterElements, expandRuns, scatterRuns]);
      instance = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports as unknown as Module;
    } catch {
      instance = null;
    }
  }
  return instance;
}

/** Numbers that the module's memory holds: the stored array with the beginning of it again behind (so that no tile has to wrap), and a row. */
function layout({ memory }: Module, { columns, tile }: HashedMatrix, buckets: number) {
  const rowAt = buckets + tile[0] * tile[1] + 4;
  const needed = rowAt + Math.ceil(columns / tile[1]) * tile[1] + 4;
  const missing = Math.ceil((4 * needed) / 65536) - memory.buffer.byteLength / 65536;
  if (missing > 0) memory.grow(missing);
  const numbers = new Float32Array(memory.buffer);
  return { numbers, rowAt, row: numbers.subarray(rowAt, rowAt + columns), rowEnd: needed };
}

/** Runs one row of the module. */
function rowRunner(module: Module, kind: 'expand' | 'scatter', { columns, tile, seed, signed }: HashedMatrix, buckets: number, rowAt: number) {
  const [height, width] = tile;
  const signs = signed ? 1 << 31 : 0;
  const count = width === 1 ? Math.ceil(columns / 4) : Math.ceil(columns / width);
  const run: Runs = width === 1 ? module[`${kind}Elements`] : module[`${kind}Runs`];
  return (row: number) => {
    const tileRow = Math.floor(row / height);
    run(4 * (row - tileRow * height) * width, 4 * rowAt, count, hashRow(tileRow, seed), buckets, signs, width);
  };
}

/** `expandLoop` of host_loops.ts; null where it cannot be done here. Its memory is this module's: no other may be begun before the last block. */
export function expandSimd(stored: Float32Array, matrix: HashedMatrix, ids?: Int32Array): Block | null {
  const module = stored.length + matrix.tile[0] * matrix.tile[1] <= LARGEST ? simdModule() : null;
  if (module === null) return null;
  const { columns, tile, rows } = matrix;
  const { numbers, rowAt, row: buffer } = layout(module, matrix, stored.length);
  numbers.set(stored);
  numbers.copyWithin(stored.length, 0, tile[0] * tile[1]);
  const run = rowRunner(module, 'expand', matrix, stored.length, rowAt);
  return (block, from) => {
    for (let r = from, o = 0; o < block.length; r++, o += columns) {
      const row = ids === undefined ? r : ids[r];
      if (row < 0 || row >= rows) {
        block.fill(0, o, o + columns);
        continue;
      }
      run(row);
      block.set(buffer, o);
    }
  };
}

/** `scatterLoop` of host_loops.ts, with `finish` to be called after the last block; null where it cannot be done here. As {@link expandSimd}. */
export function scatterSimd(sums: Float32Array, matrix: HashedMatrix, ids?: Int32Array): { add: Block; finish: () => void } | null {
  const buckets = sums.length;
  const inTile = matrix.tile[0] * matrix.tile[1];
  const module = buckets + inTile <= LARGEST ? simdModule() : null;
  if (module === null) return null;
  const { columns, rows } = matrix;
  const { numbers, rowAt, row: buffer, rowEnd } = layout(module, matrix, buckets);
  numbers.fill(0, 0, rowEnd);
  const run = rowRunner(module, 'scatter', matrix, buckets, rowAt);
  const add: Block = (block, from) => {
    for (let r = from, o = 0; o < block.length; r++, o += columns) {
      const row = ids === undefined ? r : ids[r];
      if (row < 0 || row >= rows) continue;
      buffer.set(block.subarray(o, o + columns));
      run(row);
    }
  };
  const finish = () => {
    sums.set(numbers.subarray(0, buckets));
    for (let k = 0; k < inTile; k++) sums[k] += numbers[buckets + k];
  };
  return { add, finish };
}
