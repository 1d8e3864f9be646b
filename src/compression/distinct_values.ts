/** Counting the distinct values of a tensor, however many. NaN counts once, both zeros as one. */

/** With more than these a sorted copy is cheaper than a set, which also ends at 2²⁴. */
const IN_A_SET = 65536;

/** Number of distinct values. */
export function distinctValues(values: Float32Array | Float64Array): number {
  const few = setOf(values, IN_A_SET);
  if (few !== null) return few.size;
  const sorted = values.slice().sort();
  let count = 0;
  for (let i = 0; i < sorted.length; i++) if (i === 0 || !(sorted[i] === sorted[i - 1] || (Number.isNaN(sorted[i]) && Number.isNaN(sorted[i - 1])))) count++;
  return count;
}

/** Whether there are at most `most`; looks no further than it has to. */
export const fewValues = (values: Float32Array | Float64Array, most: number): boolean => setOf(values, most) !== null;

function setOf(values: Float32Array | Float64Array, most: number): Set<number> | null {
  const found = new Set<number>();
  for (const value of values) {
    found.add(value);
    if (found.size > most) return null;
  }
  return found;
}
