import { defineConfig } from 'vitest/config';

/** One project per backend: the same files, another `TFWS_BACKEND`. `test/run.mjs` picks the projects that can run. */
const project = (backend: string) => ({
  test: {
    name: backend,
    include: ['test/**/*.test.ts'],
    exclude: ['test/browser/**'],
    env: { TFWS_BACKEND: backend, TF_CPP_MIN_LOG_LEVEL: '3' },
    setupFiles: ['test/setup.ts'],
    pool: 'forks' as const,
    isolate: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});

export default defineConfig({ test: { projects: ['cpu', 'wasm', 'tensorflow'].map(project) } });
