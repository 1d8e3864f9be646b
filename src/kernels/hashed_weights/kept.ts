/** What kernels keep from call to call for a hashed matrix, by the identity of its description, the stored length and the backend. */
import type { HashedMatrix } from './matrix.js';

interface Kept {
  buckets: number;
  backend: object;
  value: unknown;
  dispose: () => void;
}

const kept = new WeakMap<HashedMatrix, Kept>();

/** What was kept, or what `make` makes now. Only the last is kept. */
export function keptFor<T>(matrix: HashedMatrix, buckets: number, backend: object, make: () => { value: T; dispose: () => void }): T {
  let found = kept.get(matrix);
  if (found === undefined || found.buckets !== buckets || found.backend !== backend) {
    found?.dispose();
    found = { buckets, backend, ...make() };
    kept.set(matrix, found);
  }
  return found.value as T;
}

export function forget(matrix: HashedMatrix): void {
  kept.get(matrix)?.dispose();
  kept.delete(matrix);
}
