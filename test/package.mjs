/**
 * `node --test test/package.mjs`, after `npm run build`: the packed package as its consumers meet it, beside a copy of the host.
 * ESM, CommonJS, script tag, the small entry for loading, and a second copy of tfjs-layers.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import vm from 'node:vm';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const consumer = mkdtempSync(join(tmpdir(), 'tfws-consumer-'));
const installed = join(consumer, 'node_modules', 'tfjs-weight-sharing');
const require = createRequire(join(consumer, 'index.js'));

/** Every public name that has a value, from the front door's source. */
const publicNames = [...readFileSync(join(root, 'src/index.ts'), 'utf8').matchAll(/^export \{([^}]*)\}/gms)]
  .flatMap(([, names]) => names.split(','))
  .map((name) => name.trim())
  .filter((name) => name !== '' && !name.startsWith('type '))
  .map((name) => name.split(' as ').at(-1))
  .sort();

/** What `registerMissingKernels()` answers where the wasm backend is imported and no other. */
const MENDED_ON_WASM = [
  'BatchMatMul', '_FusedMatMul', 'GatherV2', 'UnsortedSegmentSum', 'Conv2DBackpropFilter', 'Conv2DBackpropInput', 'DepthwiseConv2dNativeBackpropFilter',
  'DepthwiseConv2dNativeBackpropInput', 'Conv3DBackpropInputV2', 'MaxPoolGrad', 'Identity', 'Sum',
].map((kernel) => `wasm/${kernel}`);

/** Runs `source` as a module of the consumer; returns what it prints. */
function run(source, { file = 'probe.mjs' } = {}) {
  writeFileSync(join(consumer, file), source);
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(consumer, file)], { cwd: consumer, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return stdout.trim().split('\n').at(-1);
}

before(() => {
  assert.ok(existsSync(join(root, 'dist/index.js')), 'dist/ is missing: npm run build');
  const [{ filename }] = JSON.parse(execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', consumer], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  mkdirSync(installed, { recursive: true });
  execFileSync('tar', ['-xzf', join(consumer, filename), '-C', installed, '--strip-components=1']);
  mkdirSync(join(consumer, 'node_modules/@tensorflow'));
  for (const name of ['tfjs-core', 'tfjs-layers', 'tfjs-backend-cpu', 'tfjs-backend-wasm']) {
    symlinkSync(join(root, 'node_modules/@tensorflow', name), join(consumer, 'node_modules/@tensorflow', name));
  }
});
after(() => rmSync(consumer, { recursive: true, force: true }));

describe('the packed package', () => {
  it('has every public name in ESM and in CommonJS, and the same ones', () => {
    assert.ok(publicNames.length > 0);
    const names = `Object.keys(tfws).filter((name) => name !== 'default' && name !== 'module.exports' && name !== '__esModule').sort()`;
    const esm = JSON.parse(run(`import * as tfws from 'tfjs-weight-sharing'; console.log(JSON.stringify(${names}))`));
    const cjs = JSON.parse(run(`const tfws = require('tfjs-weight-sharing'); console.log(JSON.stringify(${names}))`, { file: 'probe.cjs' }));
    assert.deepEqual(esm, publicNames);
    assert.deepEqual(cjs, publicNames);
  });

  it('gives layers a regularizer that they accept, in ESM and in CommonJS', () => {
    const use = `const layer = tfl.layers.dense({ units: 2, kernelRegularizer: tfws.gmmPrior({ trainingExamples: 10 }) }); console.log(layer.kernelRegularizer.getClassName());`;
    assert.equal(run(`import * as tfl from '@tensorflow/tfjs-layers'; import * as tfws from 'tfjs-weight-sharing'; ${use}`), 'GmmPrior');
    assert.equal(run(`const tfl = require('@tensorflow/tfjs-layers'); const tfws = require('tfjs-weight-sharing'); ${use}`, { file: 'probe.cjs' }), 'GmmPrior');
  });

  it('changes no kernel by being imported', () => {
    assert.equal(run(`
      import * as tf from '@tensorflow/tfjs-core';
      import '@tensorflow/tfjs-backend-cpu';
      const before = new Map(tf.getKernelsForBackend('cpu').map((kernel) => [kernel.kernelName, kernel.kernelFunc]));
      await import('tfjs-weight-sharing');
      console.log([...before].every(([name, f]) => tf.getKernel(name, 'cpu').kernelFunc === f));`), 'true');
  });

  it('mends the wasm backend before it is set, and finds nothing to mend before it is imported', () => {
    assert.equal(run(`
      import * as tf from '@tensorflow/tfjs-core';
      import { registerMissingKernels } from 'tfjs-weight-sharing';
      const early = registerMissingKernels();
      await import('@tensorflow/tfjs-backend-wasm');
      const registered = registerMissingKernels();
      await tf.setBackend('wasm');
      const [a, b] = [tf.ones([70, 50]), tf.ones([70, 60])];
      const product = tf.matMul(a, b, true).dataSync();
      console.log(JSON.stringify([early, registered, tf.getBackend(), product.length, product.every((value) => value === 70)]));`),
    JSON.stringify([[], MENDED_ON_WASM, 'wasm', 3000, true]));
  });

  it('loads models by an entry that registers no class and stays under 6 kB of gzip', async () => {
    const added = JSON.parse(run(`
      import { serialization } from '@tensorflow/tfjs-core';
      import '@tensorflow/tfjs-layers';
      const names = () => Object.keys(serialization.SerializationMap.getMap().classNameMap);
      const before = names();
      const load = await import('tfjs-weight-sharing/load');
      console.log(JSON.stringify({ classes: names().filter((name) => !before.includes(name)), names: Object.keys(load) }));`));
    assert.deepEqual(added.classes, []);
    assert.ok(added.names.includes('compressed'), `exports ${added.names.join(', ') || 'nothing'}`);
    // As a page gets it: bundled and minified, without the host.
    const { outputFiles } = await build({ entryPoints: [join(installed, 'dist/load.js')], bundle: true, minify: true, format: 'esm', external: ['@tensorflow/*', 'node:*'], write: false });
    const total = gzipSync(outputFiles[0].contents, { level: 9 }).length;
    assert.ok(total <= 6_000, `${total} bytes of gzip`);
  });

  it('has a command that compresses, verifies and needs no package but the host', () => {
    const { bin, dependencies } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
    assert.equal(dependencies, undefined);
    const command = (...args) => spawnSync(process.execPath, [join(installed, bin['tfjs-weight-sharing']), ...args], { cwd: consumer, encoding: 'utf8' });
    run(`
      import { writeFileSync, mkdirSync } from 'node:fs';
      import * as tfl from '@tensorflow/tfjs-layers';
      import * as tf from '@tensorflow/tfjs-core';
      import '@tensorflow/tfjs-backend-cpu';
      const model = tfl.sequential({ layers: [tfl.layers.dense({ units: 50, inputShape: [40] })] });
      await model.save(tf.io.withSaveHandler(async ({ weightData, weightSpecs, ...rest }) => {
        mkdirSync('model', { recursive: true });
        writeFileSync('model/weights.bin', Buffer.from(Array.isArray(weightData) ? weightData[0] : weightData));
        writeFileSync('model/model.json', JSON.stringify({ ...rest, weightsManifest: [{ paths: ['weights.bin'], weights: weightSpecs }] }));
        return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON' } };
      }));`);
    const compressed = command('compress', 'model', 'small.tfws', '--ratio', '8', '--json');
    assert.equal(compressed.status, 0, compressed.stderr);
    assert.ok(JSON.parse(compressed.stdout).ratio >= 8 / 1.02);
    const verified = command('verify', 'model', 'small.tfws', '--backend', 'cpu', '--tolerance', '0.3', '--json');
    assert.equal(verified.status, 0, verified.stderr);
    assert.ok(JSON.parse(verified.stdout).outputs[0].maxDeviation > 0);
    assert.equal(command('verify', 'model', 'small.tfws', '--backend', 'cpu', '--tolerance', '0').status, 1);
    assert.equal(command('inspect', 'nothing.json').status, 2);
    const licences = readFileSync(join(installed, 'dist/cli-licences.txt'), 'utf8');
    for (const name of ['commander', 'cli-progress', 'csv-parse']) assert.match(licences, new RegExp(`^${name} [0-9]`, 'm'));
    const version = command('--version');
    assert.equal(version.stdout.trim(), JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')).version);
  });

  const script = () => readFileSync(join(installed, 'dist/tfjs-weight-sharing.min.js'), 'utf8');

  it('works as a script tag with the host from the global tf', () => {
    const tf = { ...require('@tensorflow/tfjs-core'), ...require('@tensorflow/tfjs-layers') };
    const { queueMicrotask, setTimeout, clearTimeout, performance, TextEncoder, TextDecoder } = globalThis;
    const page = vm.createContext({ tf, console, queueMicrotask, setTimeout, clearTimeout, performance, TextEncoder, TextDecoder, URL });
    vm.runInContext(script(), page);
    assert.deepEqual(JSON.parse(vm.runInContext('JSON.stringify(Object.keys(tfws).sort())', page)), publicNames);
    const name = vm.runInContext(`tf.layers.dense({ units: 2, kernelRegularizer: tfws.gmmPrior({ trainingExamples: 10 }) }).kernelRegularizer.getClassName()`, page);
    assert.equal(name, 'GmmPrior');
    assert.equal(vm.runInContext('JSON.stringify(tfws.registerMissingKernels())', page), '[]');
    require('@tensorflow/tfjs-backend-wasm');
    assert.deepEqual(JSON.parse(vm.runInContext('JSON.stringify(tfws.registerMissingKernels())', page)), MENDED_ON_WASM);
  });

  it('says what is missing when the script tag of TensorFlow.js is', () => {
    const page = vm.createContext({ console });
    assert.throws(() => vm.runInContext(script(), page), { message: 'tfjs-weight-sharing: the global `tf` is missing. Load TensorFlow.js with a script tag before this file.' });
  });

  it('says so when two copies of tfjs-layers are loaded, instead of "Improper config"', () => {
    const other = join(consumer, 'other');
    const copy = join(other, 'node_modules/@tensorflow/tfjs-layers');
    mkdirSync(join(copy, 'dist'), { recursive: true });
    const original = join(root, 'node_modules/@tensorflow/tfjs-layers');
    for (const file of ['package.json', ...readdirSync(join(original, 'dist')).filter((name) => /^tf-layers\.node\.js$/.test(name)).map((name) => `dist/${name}`)]) {
      cpSync(join(original, file), join(copy, file));
    }
    const output = run(`
      import { createRequire } from 'node:module';
      const second = createRequire(${JSON.stringify(join(other, 'index.js'))})('@tensorflow/tfjs-layers');
      const first = await import('@tensorflow/tfjs-layers');
      await import('@tensorflow/tfjs-backend-cpu');
      const tf = await import('@tensorflow/tfjs-core');
      const { gmmPrior, attachRegularizer, klMergeQuantization } = await import('tfjs-weight-sharing');
      const message = (f) => { try { f(); return 'no error'; } catch (error) { return error.message; } };
      const prior = gmmPrior({ trainingExamples: 10 });
      const model = second.sequential({ layers: [second.layers.dense({ units: 2, inputShape: [3] })] });
      model.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
      console.log(JSON.stringify([
        second.layers.Layer === first.layers.Layer ? 'one copy' : 'two copies',
        message(() => second.layers.dense({ units: 2, kernelRegularizer: prior })),
        message(() => attachRegularizer(model, prior)),
        await model.fit(tf.ones([4, 3]), tf.ones([4, 2]), { verbose: 0, callbacks: klMergeQuantization({ prior }) }).then(() => 'no error', (error) => error.message),
      ]));`);
    const [copies, regularizer, attached, fitted] = JSON.parse(output);
    assert.equal(copies, 'two copies');
    for (const message of [regularizer, attached, fitted]) {
      assert.match(message, /two copies of @tensorflow\/tfjs-layers are loaded/);
      assert.match(message, /npm ls @tensorflow/);
      assert.doesNotMatch(message, /Improper config/);
    }
  });
});
