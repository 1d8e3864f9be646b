/** Runs an area on webgl or webgpu: in headless Chromium, from vite's server, the way that the suites run there. */
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright';
import { createViteServer } from 'vitest/node';
import { chromiumFlags, findChromium } from '../test/browser/chromium.js';

export const BROWSER_BACKENDS = ['webgl', 'webgpu'];

/** What `area.run` gives in a page; its lines go to `print`, the first of them says what draws. */
export async function runInBrowser(file: string, backend: string, print: (line: string) => void): Promise<Record<string, unknown>> {
  const server = await createViteServer({
    root: dirname(dirname(fileURLToPath(import.meta.url))),
    configFile: false,
    logLevel: 'error',
    appType: 'custom',
    cacheDir: 'node_modules/.vite-benchmarks',
    optimizeDeps: { noDiscovery: true, include: ['core', 'layers', 'backend-webgl', 'backend-webgpu'].map((part) => `@tensorflow/tfjs-${part}`) },
    plugins: [{ name: 'blank-page', configureServer: ({ middlewares }) => void middlewares.use('/blank', (_request, response) => void response.setHeader('Content-Type', 'text/html').end('<!doctype html>')) }],
  });
  await server.listen();
  const browser = await chromium.launch({ executablePath: findChromium(), args: chromiumFlags() });
  try {
    const page = await browser.newPage();
    page.on('console', (message) => void (message.type() === 'log' && print(message.text())));
    page.on('pageerror', (error) => print(String(error)));
    await page.goto(new URL('/blank', server.resolvedUrls!.local[0]).href);
    return await page.evaluate(
      async ([module, ...args]) => ((await import(module)) as { measure: (file: string, backend: string) => Promise<Record<string, unknown>> }).measure(...args),
      ['/benchmarks/in_page.ts', file, backend] as [string, string, string],
    );
  } finally {
    await browser.close();
    await server.close();
  }
}
