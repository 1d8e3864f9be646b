/** How dear it is to look at a tensor's values in the middle of a training step, where nothing can be awaited. */
import * as tfc from '@tensorflow/tfjs-core';
import { HOST_BACKENDS } from '../kernels/host_memory.js';

/**
 * `free`: tensors lie in this process. `costly`: `dataSync()` waits until a GPU has done all that it was given. `never`: values can only be
 * awaited, after the step.
 */
export type Looking = 'free' | 'costly' | 'never';

export function lookingOn(backend: string = tfc.getBackend()): Looking {
  if ((HOST_BACKENDS as readonly string[]).includes(backend)) return 'free';
  // On webgpu `dataSync()` answers zeros; of a backend that is not known the worst is assumed.
  return backend === 'webgl' ? 'costly' : 'never';
}
