import * as tf from '@tensorflow/tfjs-core';
import { onTestFinished } from 'vitest';
import { registerMissingKernels } from '../src/kernels/missing_kernels.js';

/** `registerMissingKernels()` for the test that calls this: other suites of the process count on the stock kernels. */
export function missingKernelsForThisTest(): void {
  const stock = ['cpu', 'wasm'].map((backend) => ({ backend, kernels: tf.getKernelsForBackend(backend) }));
  registerMissingKernels();
  onTestFinished(() => {
    for (const { backend, kernels } of stock) {
      for (const { kernelName } of tf.getKernelsForBackend(backend)) tf.unregisterKernel(kernelName, backend);
      for (const kernel of kernels) tf.registerKernel(kernel);
    }
  });
}
