/** How much memory a computation takes at its peak: tensors, and what equilibrium solvers keep beside them. */
import * as tfc from '@tensorflow/tfjs-core';
import { peakHostBytes } from '../../src/solvers/host_space.js';

/** Most bytes that tensors and the solver's memory took at once while `run` was at work, above what was there before. */
export async function peakBytes(run: () => void): Promise<number> {
  // The first run compiles and fills caches.
  run();
  const before = tfc.memory().numBytes;
  let solvers = 0;
  const { peakBytes: most } = await tfc.profile(() => {
    solvers = peakHostBytes(run);
    return tfc.scalar(0);
  });
  return most - before + solvers;
}
