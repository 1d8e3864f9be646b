import { describe, expect, it } from 'vitest';
import { distinctValues, fewValues } from '../../src/compression/distinct_values.js';

describe('distinct values', () => {
  it.each([10, 70000])('are counted, NaN once and both zeros as one, among %d', (n) => {
    const values = Float32Array.from({ length: 2 * n + 4 }, (_, i) => (i < 2 * n ? 1 + (i % n) : [0, -0, NaN, NaN][i - 2 * n]));
    expect(distinctValues(values)).toBe(n + 2);
    expect([fewValues(values, n + 1), fewValues(values, n + 2)]).toEqual([false, true]);
  });

  it('of nothing are none', () => expect(distinctValues(new Float32Array(0))).toBe(0));
});
