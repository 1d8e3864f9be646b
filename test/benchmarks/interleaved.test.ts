import { afterEach, describe, expect, it, vi } from 'vitest';
import { interleaved, median, significant } from '../../benchmarks/interleaved.js';

describe('interleaved', () => {
  afterEach(() => vi.restoreAllMocks());

  /** A clock that only the variants move. */
  function clock() {
    let now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => now);
    return (milliseconds: number) => (now += milliseconds);
  }

  it('gives medians and the median of the ratios of neighbouring runs, without the warm-up', async () => {
    const spend = clock();
    const a = [900, 4, 30, 6];
    const b = [1, 2, 10, 3];
    const timing = await interleaved({ a: () => void spend(a.shift() as number), b: async () => void spend(b.shift() as number) }, { rounds: 3, warmup: 1 });
    expect(timing.milliseconds).toEqual({ a: 6, b: 3 });
    expect(timing.ratios('a', 'b')).toEqual([2, 3, 2]);
    expect(timing.ratio('a', 'b')).toBe(2);
  });

  it('rotates the order and repeats each variant as often as asked, its time the mean', async () => {
    const spend = clock();
    const order: string[] = [];
    const timing = await interleaved(
      { a: () => void (order.push('a'), spend(1)), b: () => void (order.push('b'), spend(order.length)) },
      { rounds: 2, warmup: 0, repeats: { b: 2 } },
    );
    expect(order.join('')).toBe('abbbba');
    expect(timing.milliseconds).toEqual({ a: 1, b: (2.5 + 4.5) / 2 });
  });

  it('leaves what happens between runs out of the time', async () => {
    const spend = clock();
    const timing = await interleaved({ a: () => void spend(2) }, { rounds: 2, warmup: 0, between: () => void spend(100) });
    expect(timing.milliseconds.a).toBe(2);
  });

  it('rounds to significant digits and takes the middle of an even number of values', () => {
    expect([median([4, 1, 3, 2]), significant(13.456), significant(0.0012345, 2)]).toEqual([2.5, 13.5, 0.0012]);
  });
});
