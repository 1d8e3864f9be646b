/** Chooses the backend of this project before any test runs, and proves that it is the active one. */
import * as tfc from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-layers';
import { beforeAll, expect } from 'vitest';
import { prepareWebGPU } from './webgpu.js';

/** A package that is optional: the specifier is not literal because its types need not be there. */
const optional = (...name: string[]): Promise<unknown> => import(/* @vite-ignore */ name.join('/'));

/** Dawn, as the `navigator.gpu` that the host's backend looks for when it is imported. */
async function offerWebGPU(): Promise<void> {
  // Once per process: a second one would let the first, on which the backend runs, be collected.
  if ((globalThis.navigator as { gpu?: object } | undefined)?.gpu !== undefined) return;
  const { create, globals } = (await optional('webgpu').catch((cause: unknown) => {
    throw new Error("test/setup: the backend 'webgpu' needs the package webgpu in Node: npm install --no-save webgpu", { cause });
  })) as { create: (flags: string[]) => object; globals: object };
  Object.assign(globalThis, globals);
  const gpu = create([]) as { requestAdapter(): Promise<object | null> };
  if ((await gpu.requestAdapter()) === null) throw new Error("test/setup: the backend 'webgpu' found no GPU in Node. It needs a GPU with a Vulkan, Metal or D3D12 driver.");
  Object.defineProperty(globalThis, 'navigator', { value: { gpu, userAgent: 'node' }, configurable: true });
}

const backend = process.env.TFWS_BACKEND ?? 'cpu';
if (backend === 'cpu') await import('@tensorflow/tfjs-backend-cpu');
else if (backend === 'wasm') await import('@tensorflow/tfjs-backend-wasm');
else if (backend === 'tensorflow') await optional('@tensorflow', 'tfjs-node');
else if (backend === 'webgpu') {
  await offerWebGPU();
  await import('@tensorflow/tfjs-backend-webgpu');
} else throw new Error(`test/setup: unknown backend '${backend}'`);

beforeAll(async () => {
  // A failed switch is silent: the backend before it stays active.
  await tfc.setBackend(backend);
  await tfc.ready();
  expect(tfc.getBackend()).toBe(backend);
  if (backend === 'webgpu') prepareWebGPU(tfc.backend());
});
