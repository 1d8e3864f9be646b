/** The cpu backend under a name that nobody knows, so that nothing is looked at inside of a step: what webgpu does, where there is no GPU. */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';

const NAME = 'blind';

/** Runs `f` on it; tensors must not be taken in or out. */
export async function blindly(f: () => Promise<void>): Promise<void> {
  if (tf.findBackendFactory(NAME) === null) {
    tf.registerBackend(NAME, tf.findBackendFactory('cpu') as () => tf.KernelBackend);
    for (const kernel of tf.getKernelsForBackend('cpu')) tf.registerKernel({ ...kernel, backendName: NAME });
  }
  const before = tf.getBackend();
  await tf.setBackend(NAME);
  try {
    await f();
  } finally {
    await tf.setBackend(before);
  }
}
