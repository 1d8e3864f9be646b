import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig, type Options } from 'tsup';

/** In the script-tag build the host is the global `tf` that the TensorFlow.js bundle defines. */
const hostFromGlobal: NonNullable<Options['esbuildPlugins']>[number] = {
  name: 'host-from-global-tf',
  setup(build) {
    build.onResolve({ filter: /^@tensorflow\/tfjs-(core|layers)$/ }, ({ path }) => ({ path, namespace: 'global-tf' }));
    build.onLoad({ filter: /.*/, namespace: 'global-tf' }, () => ({
      contents:
        'if (!globalThis.tf) throw new Error("tfjs-weight-sharing: the global `tf` is missing. Load TensorFlow.js with a script tag before this file.");\n' +
        'module.exports = globalThis.tf;',
      loader: 'js',
    }));
  },
};

const common: Options = { target: 'es2022', platform: 'neutral', treeshake: true };

/** Writes the licences of all packages that were bundled beside the bundle, as they ask for; fails where one has none. */
const licencesOfBundled: NonNullable<Options['esbuildPlugins']>[number] = {
  name: 'licences-of-bundled',
  setup(build) {
    build.initialOptions.metafile = true;
    build.onEnd(({ metafile }) => {
      if (metafile === undefined) return;
      const packages = new Set(Object.keys(metafile.inputs).flatMap((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []));
      const texts = [...packages].sort().map((directory) => {
        const file = readdirSync(directory).find((name) => /^licen[cs]e\b/i.test(name));
        if (file === undefined) throw new Error(`${directory} is bundled into the command and has no licence file.`);
        const { name, version } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as { name: string; version: string };
        return `${name} ${version}\n\n${readFileSync(join(directory, file), 'utf8').trim()}\n`;
      });
      mkdirSync('dist', { recursive: true });
      writeFileSync('dist/cli-licences.txt', `dist/cli.js contains these packages.\n\n${texts.join(`\n${'-'.repeat(80)}\n\n`)}`);
    });
  },
};

/** What esbuild leaves of CommonJS modules asks for these by `require`. */
const REQUIRE = "import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);";

export default defineConfig([
  {
    ...common,
    entry: ['src/index.ts', 'src/load.ts'],
    format: ['esm', 'cjs'],
    dts: true,
    sourcemap: true,
    external: [/^node:/],
  },
  {
    ...common,
    entry: { 'tfjs-weight-sharing': 'src/index.ts' },
    format: ['iife'],
    globalName: 'tfws',
    minify: true,
    noExternal: [/^@tensorflow/],
    external: [/^node:/],
    esbuildPlugins: [hostFromGlobal],
    outExtension: () => ({ js: '.min.js' }),
  },
  // The command. Its argument parser and progress bar are bundled: installing the library installs nothing else.
  {
    ...common,
    platform: 'node',
    entry: { cli: 'src/cli/bin.ts' },
    format: ['esm'],
    minifySyntax: true,
    esbuildPlugins: [licencesOfBundled],
    banner: { js: REQUIRE },
  },
]);
