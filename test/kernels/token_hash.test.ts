import { describe, expect, it } from 'vitest';
import { codeOfBytes, codeOfInteger } from '../../src/kernels/token_hash/code.js';
import golden from '../fixtures/token_hash.json';

const utf8 = (text: string) => new TextEncoder().encode(text);

describe('the code of a token', () => {
  it('is the one that saved models rely on', () => {
    for (const { token, seed, outputDim, code } of golden.codes) {
      const hash = { outputDim, seed, signHash: true };
      expect(typeof token === 'number' ? codeOfInteger(token, hash) : codeOfBytes(utf8(token), hash), `${token}`).toBe(code);
    }
  });

  /** χ² of counts against equal expectations. */
  const chiSquare = (counts: number[]) => {
    const expected = counts.reduce((sum, count) => sum + count, 0) / counts.length;
    return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  };

  it.each([[10, 21.67], [64, 92.01], [1000, 1106.97]])('spreads tokens evenly over %i buckets', (outputDim, bound) => {
    const counts = new Array<number>(outputDim).fill(0);
    for (let token = 0; token < 100_000; token++) counts[Math.abs(codeOfInteger(token, { outputDim, seed: 3, signHash: true })) - 1]++;
    // The bound is the 99th percentile of χ² with outputDim − 1 degrees of freedom.
    expect(chiSquare(counts)).toBeLessThan(bound);
  });

  it('has a sign that is independent of the bucket', () => {
    const counts = new Array<number>(2 * 32).fill(0);
    for (let token = 0; token < 100_000; token++) {
      const code = codeOfInteger(token, { outputDim: 32, seed: 9, signHash: true });
      counts[code > 0 ? code - 1 : 31 - code]++;
    }
    // The 99th percentile of χ² with 63 degrees of freedom: all 64 pairs (bucket, sign) are equally likely.
    expect(chiSquare(counts)).toBeLessThan(92.01);
  });

  it('is always positive without the sign hash, in the same bucket', () => {
    for (let token = -50; token < 50; token++) {
      const signed = codeOfInteger(token, { outputDim: 100, seed: 1, signHash: true });
      expect(codeOfInteger(token, { outputDim: 100, seed: 1, signHash: false })).toBe(Math.abs(signed));
    }
  });
});
