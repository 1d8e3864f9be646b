import { describe, expect, it } from 'vitest';
import { assembleLoops, scriptLoops, wasmLoops, type VectorLoops } from '../../src/solvers/vector_loops.js';
import { seededNormal } from '../helpers.js';

const LENGTHS = [0, 1, 3, 4, 5, 15, 16, 17, 31, 64, 127];
// Addresses in bytes; vectors need not begin at multiples of 16.
const [TABLE, WEIGHTS, RESULTS, ROWS] = [64, 256, 512, 4096];
const ROW = 4 * 300;

function prepared(loops: VectorLoops): VectorLoops {
  loops.reserve(ROWS + 10 * ROW);
  const normal = seededNormal(3);
  loops.floats().set(Float32Array.from({ length: 2500 }, normal), ROWS / 4);
  loops.integers().set([0, 1, 2].map((j) => ROWS + (j + 2) * ROW), TABLE / 4); // prettier-ignore
  loops.doubles().set([0.5, -2, 0.25], WEIGHTS / 8);
  return loops;
}

describe.each([
  ['WebAssembly', wasmLoops],
  ['JavaScript', scriptLoops],
])('the loops in %s', (_, make) => {
  const rows = (loops: VectorLoops, address: number, length: number) => Array.from(loops.floats().subarray(address / 4, address / 4 + length));

  it.each(LENGTHS)('measure the distance of vectors of length %i, and write the difference where asked', (length) => {
    const loops = prepared(make()!);
    const [z, f, g] = [ROWS + 4, ROWS + ROW, ROWS + 6 * ROW + 8];
    const [zs, fs, after] = [rows(loops, z, length), rows(loops, f, length), rows(loops, g + 4 * length, 2)];
    loops.doubles().set([1, 2], RESULTS / 8);
    loops.distance(z, f, g, length, RESULTS);
    const differences = fs.map((value, i) => Math.fround(value - zs[i]));
    expect(rows(loops, g, length)).toEqual(differences);
    expect(rows(loops, g + 4 * length, 2)).toEqual(after);
    const sum = (values: number[]) => values.reduce((total, value) => total + value * value, 0);
    expect(loops.doubles()[RESULTS / 8]).toBeCloseTo(1 + sum(differences), 4);
    expect(loops.doubles()[RESULTS / 8 + 1]).toBeCloseTo(2 + sum(fs), 4);
    loops.distance(z, f, 0, length, RESULTS);
    expect(loops.doubles()[RESULTS / 8]).toBeCloseTo(1 + 2 * sum(differences), 4);
  });

  it.each(LENGTHS)('multiply and add up rows of length %i', (length) => {
    const loops = prepared(make()!);
    const offset = 20;
    const table = [0, 1, 2].map((j) => rows(loops, ROWS + (j + 2) * ROW + offset, length));
    const v = rows(loops, ROWS + offset, length);
    loops.doubles().fill(1, RESULTS / 8, RESULTS / 8 + 3);
    loops.dots(TABLE, 3, ROWS, offset, length, RESULTS);
    table.forEach((row, j) => expect(loops.doubles()[RESULTS / 8 + j]).toBeCloseTo(1 + row.reduce((total, value, i) => total + value * v[i], 0), 4));

    const to = ROWS + 3 * ROW; // the second row itself
    const after = rows(loops, to + offset + 4 * length, 2);
    loops.sum(TABLE, 3, WEIGHTS, to, offset, length);
    const expected = v.map((__, i) => 0.5 * table[0][i] - 2 * table[1][i] + 0.25 * table[2][i]);
    rows(loops, to + offset, length).forEach((value, i) => expect(value).toBeCloseTo(expected[i], 5));
    expect(rows(loops, to + offset + 4 * length, 2)).toEqual(after);
  });

  it('keep what the memory holds when it grows', () => {
    const loops = prepared(make()!);
    const before = rows(loops, ROWS, 100);
    loops.reserve(2 ** 20);
    expect(loops.floats().byteLength).toBeGreaterThanOrEqual(2 ** 20);
    expect(rows(loops, ROWS, 100)).toEqual(before);
    expect(() => loops.reserve(2 ** 31)).toThrow('do not fit into one memory. Use a smaller window or smaller batches.');
  });
});

describe('assembleLoops', () => {
  it('is a valid module', () => {
    expect(WebAssembly.validate(assembleLoops())).toBe(true);
  });
});
