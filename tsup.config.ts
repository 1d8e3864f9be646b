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
    banner: { js: REQUIRE },
  },
]);
