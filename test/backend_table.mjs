/**
 * `npm run test:table`: writes the README's table of backends from what the last whole runs of `npm test` and `npm run test:browser` saw of
 * the contracts (test/contract). Every whole run checks the table's claims about the backends that it ran on.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const RESULTS = join(root, 'node_modules/.cache/tfjs-weight-sharing/contracts.json');
const README = join(root, 'README.md');
const BEGIN = '<!-- backends: written by npm run test:table -->';
const END = '<!-- backends end -->';

/** Column → the runs that must all have passed for a ✓. */
const COLUMNS = {
  cpu: ['node:cpu'],
  wasm: ['node:wasm', 'page:wasm'],
  webgl: ['page:webgl'],
  webgpu: ['page:webgpu'],
  tensorflow: ['node:tensorflow'],
};
const KINDS = ['layer', 'regularizer', 'callback'];

const readJson = (path, otherwise) => {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT') return otherwise;
    throw error;
  }
};

/** What a run saw: a row per class, `passed` if all checks of its contract passed wherever it was called. */
export function contractsOf(modules) {
  const seen = {};
  for (const module of modules) {
    for (const test of module.children.allTests()) {
      const { kind, name } = test.meta().contract ?? {};
      if (!name) continue;
      const runs = (seen[`${module.project.name}`] ??= {});
      const row = (runs[name] ??= { kind, passed: true });
      row.passed &&= test.result().state === 'passed';
    }
  }
  return seen;
}

/** Keeps what a whole run saw, for the table. `place` is 'node' or 'page'. */
export function keepContracts(place, seen) {
  const all = readJson(RESULTS, {});
  for (const [backend, rows] of Object.entries(seen)) all[`${place}:${backend}`] = rows;
  mkdirSync(dirname(RESULTS), { recursive: true });
  writeFileSync(RESULTS, `${JSON.stringify(all, null, 1)}\n`);
}

/** The public factories whose class has the same name but for case, by class. */
function publicFactories() {
  const names = [...readFileSync(join(root, 'src/index.ts'), 'utf8').matchAll(/^export \{([^}]*)\}/gms)]
    .flatMap(([, list]) => list.split(','))
    .map((name) => name.trim().split(' as ').at(-1))
    .filter((name) => name !== '' && !name.startsWith('type '));
  const pairs = names.filter((name) => /^[A-Z]/.test(name)).map((name) => [name, names.find((other) => other !== name && other.toLowerCase() === name.toLowerCase())]);
  return new Map(pairs.filter(([, factory]) => factory !== undefined));
}

function sections(readme) {
  const [start, end] = [readme.indexOf(BEGIN), readme.indexOf(END)];
  if (start < 0 || end < start) throw new Error(`README.md lacks the lines '${BEGIN}' and '${END}'.`);
  return [readme.slice(0, start + BEGIN.length), readme.slice(start + BEGIN.length, end), readme.slice(end)];
}

/** What the README says: factory → column → whether there is a ✓. */
function claimedTable() {
  const rows = sections(readFileSync(README, 'utf8'))[1].split('\n').filter((line) => line.startsWith('| `'));
  return new Map(rows.map((line) => {
    const [name, , ...cells] = line.split('|').slice(1, -1).map((cell) => cell.trim());
    return [name.replaceAll('`', ''), Object.fromEntries(Object.keys(COLUMNS).map((column, i) => [column, cells[i] === '✓']))];
  }));
}

/** The claims of the README's table that a whole run contradicts, and what the table lacks, as sentences. */
export function compareWithTable(place, seen) {
  const claimed = claimedTable();
  const wrong = [];
  const lacking = [];
  for (const [className, factory] of publicFactories()) {
    for (const [column, runs] of Object.entries(COLUMNS)) {
      for (const run of runs.filter((each) => each.startsWith(`${place}:`) && seen[each.split(':')[1]] !== undefined)) {
        const passed = seen[run.split(':')[1]][className]?.passed === true;
        const says = claimed.get(factory)?.[column] === true;
        if (says && !passed) wrong.push(`README.md says that ${factory} works on ${column}, but its contract ${seen[run.split(':')[1]][className] ? 'failed' : 'did not run'} there (${run}).`);
        if (!says && passed) lacking.push(`${factory} on ${column}`);
      }
    }
  }
  const known = new Set(publicFactories().values());
  for (const factory of claimed.keys()) if (!known.has(factory)) wrong.push(`README.md's table of backends names ${factory}, which src/index.ts does not export with its class.`);
  return { wrong, lacking };
}

function writeTable() {
  const all = readJson(RESULTS, {});
  const missing = Object.values(COLUMNS).flat().filter((run) => all[run] === undefined);
  if (missing.length > 0) throw new Error(`No whole run has been seen on ${missing.join(', ')}: run npm test and npm run test:browser first.`);
  const rows = [...publicFactories()].flatMap(([className, factory]) => {
    const kind = Object.values(all).map((rows) => rows[className]?.kind).find(Boolean);
    const cells = Object.values(COLUMNS).map((runs) => (runs.every((run) => all[run][className]?.passed) ? '✓' : '–'));
    return kind === undefined ? [] : [{ kind, factory, line: `| \`${factory}\` | ${kind} | ${cells.join(' | ')} |` }];
  });
  rows.sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind) || a.factory.localeCompare(b.factory));
  const header = [`| | | ${Object.keys(COLUMNS).join(' | ')} |`, `| --- | --- |${' --- |'.repeat(Object.keys(COLUMNS).length)}`];
  const [before, , after] = sections(readFileSync(README, 'utf8'));
  writeFileSync(README, `${before}\n${[...header, ...rows.map(({ line }) => line)].join('\n')}\n${after}`);
  console.log(`README.md: ${rows.length} rows`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    writeTable();
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
