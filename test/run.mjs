/**
 * `npm test [-- files…]`: the same suites on every backend that loads here (cpu and wasm always, the native one when
 * `@tensorflow/tfjs-node` is installed). `npm run test:browser [-- files…]`: those that need no Node, in Chromium, on webgl, webgpu and
 * wasm with threads. The closing lines say which ran. `TFWS_REQUIRE_BACKENDS=tensorflow` makes a missing backend a failure;
 * `TFWS_BACKENDS=cpu,wasm` restricts the run.
 */
import { execFileSync } from 'node:child_process';
import { startVitest } from 'vitest/node';
import { compareWithTable, contractsOf, keepContracts } from './backend_table.mjs';

const nativeLoads = () => {
  try {
    execFileSync(process.execPath, ['-e', "require('@tensorflow/tfjs-node').ready()"], {
      stdio: 'ignore',
      env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: '3' },
    });
    return true;
  } catch {
    return false;
  }
};

const browser = process.argv[2] === '--browser';
const files = process.argv.slice(browser ? 3 : 2);
const usual = browser ? ['webgl', 'webgpu', 'wasm'] : ['cpu', 'wasm', 'tensorflow'];
const known = browser ? usual : [...usual, 'webgpu'];
const list = (variable) => process.env[variable]?.split(',').filter(Boolean);
const wanted = list('TFWS_BACKENDS') ?? usual;
const unknown = wanted.filter((backend) => !known.includes(backend));
if (unknown.length > 0) {
  console.error(`TFWS_BACKENDS: '${unknown.join(', ')}' is none of ${known.join(', ')}.`);
  process.exit(1);
}
const backends = wanted.filter((backend) => backend !== 'tensorflow' || nativeLoads());
const required = browser ? wanted : (list('TFWS_REQUIRE_BACKENDS') ?? []);

/** Exit status where there is no browser to run in. */
const NO_CHROMIUM = 3;

const options = { watch: false, project: backends, ...(browser ? { config: 'vitest.browser.config.ts' } : {}) };
const vitest = await startVitest('test', files, options).catch((error) => {
  if (!error.message.startsWith('test:browser: ')) throw error;
  console.error(error.message);
  process.exit(error.message.includes('no Chromium') ? NO_CHROMIUM : 1);
});
const ran = new Map(backends.map((backend) => [backend, 0]));
let passed = 0;
let failed = 0;
let skipped = 0;
const brokenFiles = [];
for (const file of vitest.state.getTestModules()) {
  if (file.state() === 'failed' && file.children.size === 0) brokenFiles.push(file.moduleId);
  for (const test of file.children.allTests()) {
    const state = test.result().state;
    if (state === 'passed') passed++;
    else if (state === 'failed') failed++;
    else skipped++;
    if (state !== 'skipped') ran.set(file.project.name, (ran.get(file.project.name) ?? 0) + 1);
  }
}
failed += brokenFiles.length + vitest.state.getUnhandledErrors().length;
const contracts = contractsOf(vitest.state.getTestModules());
await vitest.close();

const missing = [...wanted.filter((backend) => !(ran.get(backend) > 0))];
console.log(`\n${browser ? 'in Chromium, ' : ''}backends: ${[...ran].map(([backend, tests]) => `${backend} (${tests} tests)`).join(', ')}`);
if (!backends.includes('tensorflow') && wanted.includes('tensorflow')) {
  console.log('The native backend was NOT tested: @tensorflow/tfjs-node does not load here (npm install @tensorflow/tfjs-node).');
}
const absent = required.filter((backend) => missing.includes(backend) || !ran.get(backend));
if (absent.length > 0) {
  console.log(`required backends that did not run: ${absent.join(', ')}`);
  failed += absent.length;
}
// A whole run knows which contracts hold where: the README's table must not say more.
if (files.length === 0) {
  const place = browser ? 'page' : 'node';
  keepContracts(place, contracts);
  const { wrong, lacking } = compareWithTable(place, contracts);
  for (const sentence of wrong) console.log(sentence);
  if (wrong.length > 0) console.log('npm run test:table writes the table from what npm test and npm run test:browser saw.');
  if (lacking.length > 0) console.log(`README.md's table of backends lacks: ${lacking.join(', ')} (npm run test:table)`);
  failed += wrong.length;
}
if (passed + failed === 0) {
  console.log('no test ran');
  failed = 1;
}
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exit(failed > 0 ? 1 : 0);
