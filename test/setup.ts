/** Chooses the backend of this project before any test runs, and proves that it is the active one. */
import * as tfc from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-layers';
import { beforeAll, expect } from 'vitest';

const backend = process.env.TFWS_BACKEND ?? 'cpu';
if (backend === 'cpu') await import('@tensorflow/tfjs-backend-cpu');
else if (backend === 'wasm') await import('@tensorflow/tfjs-backend-wasm');
// The specifier is held in a variable because the package is optional: its types need not be there.
else if (backend === 'tensorflow') await import(/* @vite-ignore */ ['@tensorflow', 'tfjs-node'].join('/'));
else throw new Error(`test/setup: unknown backend '${backend}'`);

beforeAll(async () => {
  await tfc.setBackend(backend);
  await tfc.ready();
  expect(tfc.getBackend()).toBe(backend);
});
