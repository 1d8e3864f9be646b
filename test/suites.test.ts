import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BACKEND_FREE, BROWSER_ONLY, NODE_ONLY, SLOW_WITHOUT_GPU } from './suites.js';

/** The test files that a pattern `folder/**` or `file` names. */
function filesOf(pattern: string): string[] {
  const path = pattern.replace(/\/\*\*$/, '');
  if (!existsSync(path) || !statSync(path).isDirectory()) return existsSync(path) ? [path] : [];
  return readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.test.ts')).map((file) => join(path, file));
}

/** The sources that a file imports from beside it, itself first. */
function sourcesOf(file: string, found = new Set<string>()): Set<string> {
  if (found.has(file) || !existsSync(file)) return found;
  found.add(file);
  for (const [, path] of readFileSync(file, 'utf8').matchAll(/^(?:import|export) (?!type )[^;]*?from '(\.[^']+)\.js'/gms)) sourcesOf(`${join(file, '..', path)}.ts`, found);
  return found;
}
const imports = (file: string, what: RegExp) => [...sourcesOf(file)].some((source) => what.test(readFileSync(source, 'utf8')));

describe('the lists of suites', () => {
  it.each([...Object.keys(NODE_ONLY), ...BROWSER_ONLY, ...BACKEND_FREE, ...Object.values(SLOW_WITHOUT_GPU).flat()])('name files that are there: %s', (pattern) => {
    expect(filesOf(pattern)).not.toEqual([]);
  });

  it.each(Object.keys(NODE_ONLY).flatMap(filesOf))('keep out of the page only what needs Node or a program of ours: %s', (file) => {
    expect(imports(file, /^import (?!type )[^;]*from '(node:|playwright'|\.\.\/\.\.\/(examples|benchmarks))/m)).toBe(true);
  });
});
