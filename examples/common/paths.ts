/** Paths of the command line: relative to where the user called npm, not to this workspace. */
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
