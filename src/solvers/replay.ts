/** A map that is run once as it stands and from then on as the kernels that depend on its argument. */
import type { KernelProgram } from '../autodiff/kernel_program.js';
import { traceProgram } from '../autodiff/kernel_program.js';
import { checkImage, layoutOf, type StateMap } from './space.js';

export interface Replay {
  f: StateMap;
  /** Frees what is kept between calls. */
  dispose(): void;
}

/**
 * `f` for many arguments of the same shapes. What it computes from weights and inputs alone (the injection x·U of a cell, normalised kernels,
 * dropout masks) is computed once. Where `f` reads values that depend on its argument it is run as it stands.
 */
export function replayed(who: string, f: StateMap): Replay {
  let program: KernelProgram | null | undefined;
  return {
    f(z) {
      if (program != null) return program.run(z);
      if (program === null) return f(z);
      const traced = traceProgram((given) => {
        const image: unknown = f([...given]);
        checkImage(who, image, layoutOf(who, z));
        return image;
      }, z);
      program = traced.program;
      return traced.outputs;
    },
    dispose: () => program?.dispose(),
  };
}
