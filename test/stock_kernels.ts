import * as tf from '@tensorflow/tfjs-core';
import { onTestFinished } from 'vitest';
import { registerMissingKernels } from '../src/kernels/missing_kernels.js';

/** Puts the kernels of cpu, wasm and tensorflow back to what they are now: other suites of the process count on the stock ones. */
export function stockKernels(): () => void {
  const stock = ['cpu', 'wasm', 'tensorflow'].map((backend) => ({ backend, kernels: tf.getKernelsForBackend(backend) }));
  return () => {
    for (const { backend, kernels } of stock) {
      for (const { kernelName } of tf.getKernelsForBackend(backend)) tf.unregisterKernel(kernelName, backend);
      for (const kernel of kernels) tf.registerKernel(kernel);
    }
  };
}

/** `registerMissingKernels()` for the test that calls this. */
export function missingKernelsForThisTest(): void {
  const restore = stockKernels();
  registerMissingKernels();
  onTestFinished(restore);
}
