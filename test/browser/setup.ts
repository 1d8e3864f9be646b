/** As test/setup.ts, in a page: chooses the backend of this project before any test runs, and proves that it is the active one. */
import * as tfc from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-layers';
import { beforeAll, expect, inject } from 'vitest';
import { prepareWebGPU } from '../webgpu.js';

declare module 'vitest' {
  interface ProvidedContext {
    backend: string;
    /** TFWS_GPU: a GPU is here, nothing need be shortened. */
    gpu: string;
  }
}

const backend = inject('backend');
// Suites ask for their backend as they do in Node. No `versions`, by which tfjs would take the page for Node.
(globalThis as { process?: object }).process ??= { env: { TFWS_BACKEND: backend, TFWS_GPU: inject('gpu') } };

if (backend === 'webgl') await import('@tensorflow/tfjs-backend-webgl');
else if (backend === 'webgpu') await import('@tensorflow/tfjs-backend-webgpu');
else if (backend === 'wasm') {
  const wasm = await import('@tensorflow/tfjs-backend-wasm');
  wasm.setWasmPaths('/node_modules/@tensorflow/tfjs-backend-wasm/dist/');
  // It never takes more threads than half the cores: on a machine with two, it would take none but the page's own.
  Object.defineProperty(navigator, 'hardwareConcurrency', { value: Math.max(4, navigator.hardwareConcurrency) });
  wasm.setThreadsCount(2);
} else throw new Error(`test/browser/setup: unknown backend '${backend}'`);

beforeAll(async () => {
  // A failed switch is silent: the backend before it stays active.
  await tfc.setBackend(backend);
  await tfc.ready();
  expect(tfc.getBackend()).toBe(backend);
  if (backend === 'webgpu') prepareWebGPU(tfc.backend());
});
