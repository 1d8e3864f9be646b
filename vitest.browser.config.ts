import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { playwright } from '@vitest/browser-playwright';
import { defineConfig } from 'vitest/config';
import { chromiumFlags, findChromium } from './test/browser/chromium.js';
import { BACKEND_FREE, NODE_ONLY, SLOW_WITHOUT_GPU } from './test/suites.js';

const HOST = ['core', 'layers', 'backend-cpu', 'backend-wasm', 'backend-webgl', 'backend-webgpu'].map((part) => `@tensorflow/tfjs-${part}`);
/** Without these two a page gets no SharedArrayBuffer, and wasm no threads. */
const ISOLATION = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };

function isolate(_request: IncomingMessage, response: ServerResponse, next: () => void): void {
  for (const [name, value] of Object.entries(ISOLATION)) response.setHeader(name, value);
  next();
}

/** What was PUT at an address comes back from there, so that a suite can load from a server what it has made. */
function shelf(): (request: IncomingMessage, response: ServerResponse) => void {
  const files = new Map<string, Buffer>();
  return (request, response) => {
    const path = (request.url ?? '').replace(/\?.*/, '');
    if (request.method !== 'PUT') return void response.writeHead(files.has(path) ? 200 : 404).end(files.get(path));
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => {
      files.set(path, Buffer.concat(chunks));
      response.end();
    });
  };
}

/** Scripts of this folder as a web server would give them: vite rewrites those that it serves itself. */
function script(request: IncomingMessage, response: ServerResponse): void {
  readFile(new URL(`.${request.url}`, import.meta.url)).then(
    (bytes) => response.writeHead(200, { 'Content-Type': 'text/javascript' }).end(bytes),
    () => response.writeHead(404).end(),
  );
}

/** One instance of Chromium per backend: the same files as in Node, without those that cannot run in a page. `test/run.mjs --browser` starts it. */
export default defineConfig({
  // These and no others: looking for more would find those of the examples, native modules among them.
  optimizeDeps: { include: HOST, noDiscovery: true },
  server: { headers: ISOLATION },
  plugins: [
    {
      name: 'isolated-pages-files-and-scripts',
      configureServer: ({ middlewares }) => void middlewares.use(isolate).use('/files', shelf()).use('/scripts', script),
    },
  ],
  test: {
    include: ['test/**/*.test.ts'],
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
      instances: ['webgl', 'webgpu', 'wasm'].map((name) => ({
        browser: 'chromium' as const,
        name,
        provide: { backend: name, gpu: process.env.TFWS_GPU ?? '' },
        exclude: [
          ...Object.keys(NODE_ONLY),
          ...(name === 'wasm' ? [] : BACKEND_FREE),
          ...(process.env.TFWS_GPU ? [] : (SLOW_WITHOUT_GPU[name] ?? [])),
        ],
      })),
    },
  },
});
