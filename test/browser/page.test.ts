import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';

const backend = process.env.TFWS_BACKEND;

describe('the page', () => {
  it('is isolated, so that it has shared memory', () => {
    expect(crossOriginIsolated).toBe(true);
    expect(new SharedArrayBuffer(8).byteLength).toBe(8);
  });

  it('is no Node to the host', () => {
    expect([tf.env().get('IS_BROWSER'), tf.env().get('IS_NODE')]).toEqual([true, false]);
  });

  it('runs on the backend that was asked for', async () => {
    expect(tf.getBackend()).toBe(backend);
    const product = tf.matMul(tf.tensor2d([[1, 2], [3, 4]]), tf.tensor2d([[5, 6], [7, 8]]));
    expect(Array.from(await product.data())).toEqual([19, 22, 43, 50]);
    product.dispose();
  });

  if (backend === 'wasm') {
    it('runs wasm on two threads', async () => {
      expect(await tf.env().getAsync('WASM_HAS_MULTITHREAD_SUPPORT')).toBe(true);
      const { getThreadsCount } = await import('@tensorflow/tfjs-backend-wasm');
      expect(getThreadsCount()).toBe(2);
      const fetched = performance.getEntriesByType('resource').map(({ name }) => name.split('/').at(-1));
      expect(fetched).toContain('tfjs-backend-wasm-threaded-simd.wasm');
      // The workers share one memory with the page.
      const { HEAPU8 } = (tf.backend() as unknown as { wasm: { HEAPU8: Uint8Array } }).wasm;
      expect(HEAPU8.buffer).toBeInstanceOf(SharedArrayBuffer);
    });
  }

  if (backend === 'webgl') {
    it('computes in float32 on webgl', () => {
      expect(tf.env().getBool('WEBGL_RENDER_FLOAT32_ENABLED')).toBe(true);
    });
  }

  if (backend === 'webgpu') {
    it('refuses to read webgpu synchronously instead of answering zeros', async () => {
      const x = tf.square(tf.tensor1d(Array.from({ length: 4096 }, (_, i) => i)));
      expect(() => x.dataSync()).toThrow('webgpu cannot be read synchronously: use `await tensor.data()` instead of `dataSync()`.');
      expect((await x.data())[3]).toBe(9);
      x.dispose();
    });
  }
});
