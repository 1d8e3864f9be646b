/** The cpu backend under a name that nobody knows, so that nothing is looked at inside of a step: what webgpu does, where there is no GPU. */
import * as tf from '@tensorflow/tfjs-core';

const NAME = 'blind';

/** Whether {@link blindly} can run: it is cpu's kernels that it takes. */
export const canBeBlind = process.env.TFWS_BACKEND === undefined || process.env.TFWS_BACKEND === 'cpu';

/** Runs `f` on it; tensors must not be taken in or out. */
export async function blindly(f: () => Promise<void>): Promise<void> {
  if (tf.findBackendFactory(NAME) === null) {
    tf.registerBackend(NAME, tf.findBackendFactory('cpu') as () => tf.KernelBackend);
    for (const kernel of tf.getKernelsForBackend('cpu')) tf.registerKernel({ ...kernel, backendName: NAME });
  }
  await tf.setBackend(NAME);
  try {
    await f();
  } finally {
    await tf.setBackend('cpu');
  }
}
