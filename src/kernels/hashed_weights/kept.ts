/** What kernels keep from call to call for a hashed matrix, by the identity of its description. */
import type { HashedMatrix } from './matrix.js';

const kept = new WeakMap<HashedMatrix, { value: unknown; dispose: () => void }>();

/** What was kept for `matrix`, or what `make` makes now. */
export function keptFor<T>(matrix: HashedMatrix, make: () => { value: T; dispose: () => void }): T {
  let found = kept.get(matrix);
  if (found === undefined) kept.set(matrix, (found = make()));
  return found.value as T;
}

export function forget(matrix: HashedMatrix): void {
  kept.get(matrix)?.dispose();
  kept.delete(matrix);
}
