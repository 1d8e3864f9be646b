/** Paths of the command line: relative to where the user called npm, not to this workspace. */
import type { Command } from 'commander';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export function userPath(path: string): string {
  return resolve(process.env.INIT_CWD ?? process.cwd(), path);
}

/** A path as a person would type it from where npm was called. */
export function shownPath(path: string): string {
  const base = `${process.env.INIT_CWD ?? process.cwd()}/`;
  return path.startsWith(base) ? path.slice(base.length) : path;
}

/** The folder for what an example writes where the user names none. */
export function defaultOutput(example: string): string {
  return fileURLToPath(new URL(`../out/${example}`, import.meta.url));
}

/** @throws Error if a folder of data is named on the command line, not by its environment variable, for a run that has its own. */
export function refuseData({ resume, reportOnly }: { resume?: boolean; reportOnly?: unknown }, command: Command, options: readonly string[]): void {
  if (!resume && reportOnly === undefined) return;
  const given = options.find((option) => command.getOptionValueSource(option) === 'cli');
  if (given !== undefined) throw new Error(`--${given}: a continued run and a report take the data of the run they belong to. Leave --${given} out.`);
}
