/** The page in Vite: served while one works on it, or built as static files. */
import { fileURLToPath } from 'node:url';
import { build, createServer, preview, type InlineConfig, type PreviewServer, type ViteDevServer } from 'vite';

export const PAGE = fileURLToPath(new URL('page/', import.meta.url));

const config: InlineConfig = { configFile: false, root: PAGE, base: './', worker: { format: 'es' } };

/** Serves the sources; changes show at once. */
export async function servePage({ port, host }: { port: number; host: boolean }): Promise<ViteDevServer> {
  const server = await createServer({ ...config, logLevel: 'warn', server: { port, host } });
  return server.listen();
}

/** Writes the page for any web server, also one that serves it from a subfolder. */
export async function buildPage(outDir: string): Promise<void> {
  await build({ ...config, logLevel: 'warn', build: { outDir, emptyOutDir: false, target: 'es2022', chunkSizeWarningLimit: 2000, rolldownOptions: { checks: { pluginTimings: false } } } });
}

/** Serves what `buildPage` wrote. */
export async function serveBuilt(outDir: string, port: number): Promise<PreviewServer> {
  return preview({ ...config, logLevel: 'warn', build: { outDir }, preview: { port, host: '127.0.0.1' } });
}
