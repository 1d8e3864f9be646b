/**
 * The three loops that solvers spend their own time in, over float32 vectors in one memory: distances, dot products with several rows,
 * sums of several rows. As WebAssembly with 128-bit lanes, which is assembled here (the module has 0.7 kB) and about ten times as fast as the
 * same loops in JavaScript; those run where WebAssembly is not allowed or has no lanes, with the same results up to rounding.
 *
 * Pointers are byte addresses, multiples of 16; lengths and offsets may be any multiple of 4 bytes. Products are rounded to float32
 * and added up in float64.
 */

export interface VectorLoops {
  /** Makes the memory at least `bytes` long; it keeps what it holds. @throws RangeError where there is no more. */
  reserve(bytes: number): void;
  /** The memory; another object after {@link reserve}. */
  floats(): Float32Array;
  doubles(): Float64Array;
  integers(): Int32Array;
  /** doubles[out] += Σ (f − z)², doubles[out + 1] += Σ f²; where g ≠ 0, g[i] = f[i] − z[i]. */
  distance(z: number, f: number, g: number, length: number, out: number): void;
  /** doubles[out + j] += Σ_i row_j[i]·v[i] for row_j at address integers[table + j] + offset, v at v + offset. */
  dots(table: number, rows: number, v: number, offset: number, length: number, out: number): void;
  /** to[i] = Σ_j doubles[weights + j]·row_j[i]; to at to + offset, rows as in {@link dots}; `to` may be one of the rows. */
  sum(table: number, rows: number, weights: number, to: number, offset: number, length: number): void;
}

// --- Assembler: just the instructions that are used below.

type Code = number[];
const leb = (value: number): Code => {
  const bytes: Code = [];
  for (let rest = value; ; ) {
    const byte = rest & 0x7f;
    rest >>= 7;
    const done = (rest === 0 && !(byte & 0x40)) || (rest === -1 && byte & 0x40);
    bytes.push(done ? byte : byte | 0x80);
    if (done) return bytes;
  }
};
const uleb = (value: number): Code => (value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...uleb(value >>> 7)]);
const vector = (items: Code[]): Code => [...uleb(items.length), ...items.flat()];
const section = (id: number, body: Code): Code => [id, ...uleb(body.length), ...body];
const text = (name: string): Code => vector([...name].map((letter) => [letter.charCodeAt(0)]));
const simd = (code: number, ...rest: Code): Code => [0xfd, ...uleb(code), ...rest];

const I32 = 0x7f;
const F64 = 0x7c;
const V128 = 0x7b;
const get = (local: number): Code => [0x20, ...uleb(local)];
const set = (local: number): Code => [0x21, ...uleb(local)];
const int = (value: number): Code => [0x41, ...leb(value)];
const ADD: Code = [0x6a];
const SUB: Code = [0x6b];
const SHIFT_LEFT: Code = [0x74];
const at = (offset: number): Code => [0, ...uleb(offset)]; // alignment hint 2⁰, offset
const loadInt = (offset = 0): Code => [0x28, ...at(offset)];
const loadFloat = (offset = 0): Code => [0x2a, ...at(offset)];
const loadDouble = (offset = 0): Code => [0x2b, ...at(offset)];
const storeFloat = (offset = 0): Code => [0x38, ...at(offset)];
const storeDouble = (offset = 0): Code => [0x39, ...at(offset)];
const F32_ADD: Code = [0x92];
const F32_SUB: Code = [0x93];
const F32_MUL: Code = [0x94];
const F64_ADD: Code = [0xa0];
const TO_F64: Code = [0xbb];
const TO_F32: Code = [0xb6];
const load4 = (offset = 0): Code => simd(0x00, ...at(offset));
const store4 = (offset = 0): Code => simd(0x0b, ...at(offset));
const ZERO4: Code = simd(0x0c, ...new Array<number>(16).fill(0));
/** Lanes 2 and 3 of two operands' first, to where `TO_F64X2` finds them. */
const HIGH: Code = simd(0x0d, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
const SPLAT: Code = simd(0x13);
const LANE0: Code = simd(0x21, 0);
const LANE1: Code = simd(0x21, 1);
const TO_F64X2: Code = simd(0x5f);
const ADD4: Code = simd(0xe4);
const SUB4: Code = simd(0xe5);
const MUL4: Code = simd(0xe6);
const ADD_F64X2: Code = simd(0xf0);

/** while (condition) body; — condition leaves an i32. */
const LESS: Code = [0x48];
const LESS_EQUAL: Code = [0x4c];
const loop = (condition: Code, body: Code): Code => [
  0x02, 0x40, 0x03, 0x40, ...condition, 0x45 /* eqz */, 0x0d, 1, ...body, 0x0c, 0, 0x0b, 0x0b,
]; // prettier-ignore
const when = (condition: Code, body: Code): Code => [...condition, 0x04, 0x40, ...body, 0x0b];
const step = (local: number, by: number): Code => [...get(local), ...int(by), ...ADD, ...set(local)];
/** Adds the four products on the stack to the two double lanes of `low` and of `high`; `products` is scratch. */
const accumulate = (products: number, low: number, high: number): Code => [
  ...set(products),
  ...get(low), ...get(products), ...TO_F64X2, ...ADD_F64X2, ...set(low),
  ...get(high), ...get(products), ...get(products), ...HIGH, ...TO_F64X2, ...ADD_F64X2, ...set(high),
]; // prettier-ignore
/** The sum of the four double lanes. */
const total = (low: number, high: number): Code => [...get(low), ...get(high), ...ADD_F64X2, ...set(low), ...get(low), ...LANE0, ...get(low), ...LANE1, ...F64_ADD];

interface Definition {
  name: string;
  parameters: number;
  /** Types of the further locals, in groups. */
  locals: [count: number, type: number][];
  body: Code;
}

function distanceCode(): Definition {
  const [z, f, g, length, out, end4, end, products, d, dLow, dHigh, fLow, fHigh, rest, restF, scalar] = Array.from({ length: 16 }, (_, i) => i);
  return {
    name: 'distance',
    parameters: 5,
    locals: [[2, I32], [6, V128], [2, F64], [1, 0x7d]], // prettier-ignore
    body: [
      // end = z + 4·length, end4 = the last address from which four floats can be read.
      ...get(z), ...get(length), ...int(2), ...SHIFT_LEFT, ...ADD, ...set(end),
      ...get(end), ...int(16), ...SUB, ...set(end4),
      ...loop([...get(z), ...get(end4), ...LESS_EQUAL], [
        ...get(f), ...load4(), ...get(z), ...load4(), ...SUB4, ...set(d),
        ...when(get(g), [...get(g), ...get(d), ...store4(), ...step(g, 16)]),
        ...get(d), ...get(d), ...MUL4, ...accumulate(products, dLow, dHigh),
        ...get(f), ...load4(), ...get(f), ...load4(), ...MUL4, ...accumulate(products, fLow, fHigh),
        ...step(z, 16), ...step(f, 16),
      ]),
      ...loop([...get(z), ...get(end), ...LESS], [
        ...get(f), ...loadFloat(), ...get(z), ...loadFloat(), ...F32_SUB, ...set(scalar),
        ...when(get(g), [...get(g), ...get(scalar), ...storeFloat(), ...step(g, 4)]),
        ...get(rest), ...get(scalar), ...get(scalar), ...F32_MUL, ...TO_F64, ...F64_ADD, ...set(rest),
        ...get(restF), ...get(f), ...loadFloat(), ...get(f), ...loadFloat(), ...F32_MUL, ...TO_F64, ...F64_ADD, ...set(restF),
        ...step(z, 4), ...step(f, 4),
      ]),
      ...get(out), ...get(out), ...loadDouble(), ...get(rest), ...F64_ADD, ...total(dLow, dHigh), ...F64_ADD, ...storeDouble(),
      ...get(out), ...get(out), ...loadDouble(8), ...get(restF), ...F64_ADD, ...total(fLow, fHigh), ...F64_ADD, ...storeDouble(8),
    ],
  }; // prettier-ignore
}

function dotsCode(): Definition {
  const [table, rows, v, offset, length, out, row, x, end4, end, products, low, high, rest] = Array.from({ length: 14 }, (_, i) => i);
  return {
    name: 'dots',
    parameters: 6,
    locals: [[4, I32], [3, V128], [1, F64]], // prettier-ignore
    body: [
      ...get(v), ...get(offset), ...ADD, ...set(v),
      ...get(v), ...get(length), ...int(2), ...SHIFT_LEFT, ...ADD, ...set(end),
      ...get(end), ...int(16), ...SUB, ...set(end4),
      ...loop(get(rows), [
        ...get(table), ...loadInt(), ...get(offset), ...ADD, ...set(row),
        ...get(v), ...set(x),
        ...ZERO4, ...set(low), ...ZERO4, ...set(high), ...[0x44, 0, 0, 0, 0, 0, 0, 0, 0] /* f64.const 0 */, ...set(rest),
        ...loop([...get(x), ...get(end4), ...LESS_EQUAL], [
          ...get(x), ...load4(), ...get(row), ...load4(), ...MUL4, ...accumulate(products, low, high),
          ...step(x, 16), ...step(row, 16),
        ]),
        ...loop([...get(x), ...get(end), ...LESS], [
          ...get(rest), ...get(x), ...loadFloat(), ...get(row), ...loadFloat(), ...F32_MUL, ...TO_F64, ...F64_ADD, ...set(rest),
          ...step(x, 4), ...step(row, 4),
        ]),
        ...get(out), ...get(out), ...loadDouble(), ...get(rest), ...F64_ADD, ...total(low, high), ...F64_ADD, ...storeDouble(),
        ...step(out, 8), ...step(table, 4), ...step(rows, -1),
      ]),
    ],
  }; // prettier-ignore
}

function sumCode(): Definition {
  const [table, rows, weights, to, offset, length, i, end4, end, j, row, a, b, c, d, w, scalar] = Array.from({ length: 17 }, (_, index) => index);
  const addRow = (lanes: number[]): Code => [
    ...get(weights), ...get(j), ...int(1), ...SHIFT_LEFT, ...ADD, ...loadDouble(), ...TO_F32, ...SPLAT, ...set(w),
    ...get(table), ...get(j), ...ADD, ...loadInt(), ...get(i), ...ADD, ...set(row),
    ...lanes.flatMap((lane, k) => [...get(lane), ...get(row), ...load4(16 * k), ...get(w), ...MUL4, ...ADD4, ...set(lane)]),
    ...step(j, 4),
  ]; // prettier-ignore
  /** Blocks of 4·lanes floats while they fit: each row is read once, what is written stays in registers. */
  const blocks = (lanes: number[]): Code => {
    const bytes = 16 * lanes.length;
    return [
      ...get(end), ...int(bytes), ...SUB, ...set(end4),
      ...loop([...get(i), ...get(end4), ...LESS_EQUAL], [
        ...lanes.flatMap((lane) => [...ZERO4, ...set(lane)]),
        ...int(0), ...set(j),
        ...loop([...get(j), ...get(rows), ...LESS], addRow(lanes)),
        ...lanes.flatMap((lane, k) => [...get(to), ...get(i), ...ADD, ...get(lane), ...store4(16 * k)]),
        ...step(i, bytes),
      ]),
    ]; // prettier-ignore
  };
  return {
    name: 'sum',
    parameters: 6,
    locals: [[5, I32], [5, V128], [1, 0x7d]], // prettier-ignore
    body: [
      // i runs over byte offsets, j over byte offsets in the table.
      ...get(offset), ...set(i),
      ...get(offset), ...get(length), ...int(2), ...SHIFT_LEFT, ...ADD, ...set(end),
      ...get(rows), ...int(2), ...SHIFT_LEFT, ...set(rows),
      ...blocks([a, b, c, d]),
      ...blocks([a]),
      ...loop([...get(i), ...get(end), ...LESS], [
        0x43, 0, 0, 0, 0 /* f32.const 0 */, ...set(scalar),
        ...int(0), ...set(j),
        ...loop([...get(j), ...get(rows), ...LESS], [
          ...get(scalar),
          ...get(table), ...get(j), ...ADD, ...loadInt(), ...get(i), ...ADD, ...loadFloat(),
          ...get(weights), ...get(j), ...int(1), ...SHIFT_LEFT, ...ADD, ...loadDouble(), ...TO_F32,
          ...F32_MUL, ...F32_ADD, ...set(scalar),
          ...step(j, 4),
        ]),
        ...get(to), ...get(i), ...ADD, ...get(scalar), ...storeFloat(),
        ...step(i, 4),
      ]),
    ],
  }; // prettier-ignore
}

/** The bytes of a module that imports `m.memory` and exports the three loops. */
export function assembleLoops(): Uint8Array<ArrayBuffer> {
  const definitions = [distanceCode(), dotsCode(), sumCode()];
  return Uint8Array.from([
    0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, vector(definitions.map(({ parameters }) => [0x60, ...vector(new Array(parameters).fill([I32])), 0]))),
    ...section(2, vector([[...text('m'), ...text('memory'), 2, 0, 1]])),
    ...section(3, vector(definitions.map((_, index) => [index]))),
    ...section(7, vector(definitions.map(({ name }, index) => [...text(name), 0, index]))),
    ...section(10, vector(definitions.map(({ locals, body }) => {
      const code = [...vector(locals.map(([count, type]) => [count, type])), ...body, 0x0b];
      return [...uleb(code.length), ...code];
    }))),
  ]); // prettier-ignore
}

const PAGE = 65_536;
/** Addresses are compared as signed numbers. */
const MOST_BYTES = 2 ** 31 - PAGE;

interface Memory {
  buffer: ArrayBufferLike;
  /** Makes `buffer` at least that long. */
  reserve(bytes: number): void;
}

/** The views of a memory whose buffer is replaced as it grows. */
function views(memory: Memory): Pick<VectorLoops, 'reserve' | 'floats' | 'doubles' | 'integers'> {
  let buffer: ArrayBufferLike | null = null;
  let floats: Float32Array = new Float32Array();
  let doubles: Float64Array = new Float64Array();
  let integers: Int32Array = new Int32Array();
  const refresh = () => {
    if (buffer === memory.buffer) return;
    buffer = memory.buffer;
    [floats, doubles, integers] = [new Float32Array(buffer), new Float64Array(buffer), new Int32Array(buffer)];
  };
  return {
    reserve(bytes) {
      if (bytes > MOST_BYTES) throw new RangeError(`fixed points: ${bytes} bytes of history do not fit into one memory. Use a smaller window or smaller batches.`);
      memory.reserve(bytes);
    },
    floats: () => (refresh(), floats),
    doubles: () => (refresh(), doubles),
    integers: () => (refresh(), integers),
  };
}

/** The loops in WebAssembly, or null where there is none with 128-bit lanes. */
export function wasmLoops(): VectorLoops | null {
  if (typeof WebAssembly === 'undefined') return null;
  const memory = new WebAssembly.Memory({ initial: 1 });
  let instance: WebAssembly.Instance;
  try {
    instance = new WebAssembly.Instance(new WebAssembly.Module(assembleLoops()), { m: { memory } });
  } catch (error) {
    // No lanes, or a page whose content security policy forbids WebAssembly.
    if (error instanceof WebAssembly.CompileError) return null;
    throw error;
  }
  const reserve = (bytes: number) => {
    const missing = bytes - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / PAGE));
  };
  const { distance, dots, sum } = instance.exports as unknown as Pick<VectorLoops, 'distance' | 'dots' | 'sum'>;
  return { ...views({ get buffer() { return memory.buffer; }, reserve }), distance, dots, sum }; // prettier-ignore
}

/** The same loops in JavaScript. */
export function scriptLoops(): VectorLoops {
  const memory: Memory = {
    buffer: new ArrayBuffer(PAGE),
    reserve(bytes) {
      if (bytes <= memory.buffer.byteLength) return;
      const grown = new ArrayBuffer(Math.ceil(bytes / PAGE) * PAGE);
      new Uint8Array(grown).set(new Uint8Array(memory.buffer));
      memory.buffer = grown;
    },
  };
  const own = views(memory);
  return {
    ...own,
    distance(z, f, g, length, out) {
      const x = own.floats();
      const [z0, f0, g0] = [z >> 2, f >> 2, g >> 2];
      let [squares, size] = [0, 0];
      for (let i = 0; i < length; i++) {
        const value = x[f0 + i];
        const difference = Math.fround(value - x[z0 + i]);
        if (g !== 0) x[g0 + i] = difference;
        squares += difference * difference;
        size += value * value;
      }
      const results = own.doubles();
      results[out >> 3] += squares;
      results[(out >> 3) + 1] += size;
    },
    dots(table, rows, v, offset, length, out) {
      const x = own.floats();
      const v0 = (v + offset) >> 2;
      for (let j = 0; j < rows; j++) {
        const row = (own.integers()[(table >> 2) + j] + offset) >> 2;
        let result = 0;
        for (let i = 0; i < length; i++) result += x[row + i] * x[v0 + i];
        own.doubles()[(out >> 3) + j] += result;
      }
    },
    sum(table, rows, weights, to, offset, length) {
      const x = own.floats();
      const starts = Array.from({ length: rows }, (_, j) => (own.integers()[(table >> 2) + j] + offset) >> 2);
      const factors = Array.from({ length: rows }, (_, j) => own.doubles()[(weights >> 3) + j]);
      const to0 = (to + offset) >> 2;
      for (let i = 0; i < length; i++) {
        let result = 0;
        for (let j = 0; j < rows; j++) result += factors[j] * x[starts[j] + i];
        x[to0 + i] = result;
      }
    },
  };
}
