/** As test/setup.ts, in a page: chooses the backend of this project before any test runs, and proves that it is the active one. */
import * as tfc from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-layers';
import { beforeAll, expect, inject } from 'vitest';

declare module 'vitest' {
  interface ProvidedContext {
    backend: string;
  }
}

const backend = inject('backend');
// Suites ask for their backend as they do in Node. No `versions`, by which tfjs would take the page for Node.
(globalThis as { process?: object }).process ??= { env: { TFWS_BACKEND: backend } };

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
  if (backend !== 'webgpu') return;
  const gpu = tfc.backend() as unknown as WebGPUBackend;
  refuseSynchronousReads(gpu);
  // SwiftShader emulates barriers: there the product that sums within a workgroup, which the host takes for small results, needs 0.1 s.
  if (/swiftshader/i.test(gpu.adapterInfo.architecture)) gpu.thresholdToIncreaseWorkgroups = 0;
});

interface WebGPUBackend {
  adapterInfo: { architecture: string };
  thresholdToIncreaseWorkgroups: number;
  readSync: (id: object) => unknown;
  tensorMap: { get: (id: object) => { values: unknown } };
}

/** There `dataSync` of what the GPU computed answers zeros, and may lose the device: an error instead, for the package as for its tests. */
function refuseSynchronousReads(gpu: WebGPUBackend): void {
  const readSync = gpu.readSync.bind(gpu);
  gpu.readSync = (id) => {
    if (gpu.tensorMap.get(id).values == null) throw new Error('webgpu cannot be read synchronously: use `await tensor.data()` instead of `dataSync()`.');
    return readSync(id);
  };
}
