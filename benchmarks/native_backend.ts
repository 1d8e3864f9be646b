/** The backend of benchmarks that are about the native one. */
import * as tf from '@tensorflow/tfjs-core';
import type { BenchOptions } from './run.js';

/** The native backend on two threads, or wasm where it is not installed; its name. */
export async function startNative(print: BenchOptions['print']): Promise<string> {
  process.env.TF_NUM_INTRAOP_THREADS ??= '2';
  process.env.OMP_NUM_THREADS ??= '2';
  try {
    await import(['@tensorflow', 'tfjs-node'].join('/')); // optional: its types need not be there
    await tf.setBackend('tensorflow');
  } catch {
    await import('@tensorflow/tfjs-backend-wasm');
    await tf.setBackend('wasm');
    print('The native backend does not load here (npm install @tensorflow/tfjs-node): these are times of wasm.');
  }
  await tf.ready();
  return tf.getBackend();
}
