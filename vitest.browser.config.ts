import { playwright } from '@vitest/browser-playwright';
import { defineConfig } from 'vitest/config';
import { chromiumFlags, findChromium } from './test/browser/chromium.js';
import { NODE_ONLY } from './test/browser/node_only.js';

const HOST = ['core', 'layers', 'backend-cpu', 'backend-wasm', 'backend-webgl', 'backend-webgpu'].map((part) => `@tensorflow/tfjs-${part}`);
/** Without these two a page gets no SharedArrayBuffer, and wasm no threads. */
const ISOLATION = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };

/** One instance of Chromium per backend: the same files as in Node, without those that cannot run in a page. `test/run.mjs --browser` starts it. */
export default defineConfig({
  // All at once, so that no page is reloaded in the middle because another dependency turned up.
  optimizeDeps: { include: HOST },
  server: { headers: ISOLATION },
  plugins: [{ name: 'isolate-every-page', configureServer: ({ middlewares }) => void middlewares.use((_request, response, next) => {
    for (const [name, value] of Object.entries(ISOLATION)) response.setHeader(name, value);
    next();
  }) }],
  test: {
    include: ['test/**/*.test.ts'],
    exclude: Object.keys(NODE_ONLY),
    setupFiles: ['test/browser/setup.ts'],
    isolate: false,
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    browser: {
      enabled: true,
      headless: true,
      screenshotFailures: false,
      provider: playwright({ launchOptions: { executablePath: findChromium(), args: chromiumFlags() } }),
      instances: ['webgl', 'webgpu', 'wasm'].map((name) => ({ browser: 'chromium' as const, name, provide: { backend: name } })),
    },
  },
});
