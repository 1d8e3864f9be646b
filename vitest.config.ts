import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { BACKEND_FREE, BROWSER_ONLY } from './test/suites.js';

/**
 * One project per backend: the same files, another `TFWS_BACKEND`. `test/run.mjs` picks the projects that can run; webgpu only when it is
 * asked for.
 */
const project = (backend: string) => ({
  // Examples import the package by its name. Suites share a process: a second copy from dist/ would register its classes over these.
  resolve: { alias: [{ find: /^tfjs-weight-sharing$/, replacement: fileURLToPath(new URL('src/index.ts', import.meta.url)) }] },
  test: {
    name: backend,
    include: ['test/**/*.test.ts'],
    exclude: [...BROWSER_ONLY, ...(backend === 'cpu' ? [] : BACKEND_FREE)],
    env: { TFWS_BACKEND: backend, TF_CPP_MIN_LOG_LEVEL: '3' },
    setupFiles: ['test/setup.ts'],
    pool: 'forks' as const,
    isolate: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});

export default defineConfig({ test: { projects: ['cpu', 'wasm', 'tensorflow', 'webgpu'].map(project) } });
