/** Argument checks shared by every public constructor: who, what was expected, what came, how to fix it. */

/** Throws if `args` is no object, or has a key outside `known`; suggests the nearest one, so that a misspelt option is never ignored. */
export function checkKeys(who: string, args: object, known: readonly string[]): void {
  if (typeof args !== 'object' || args === null || Array.isArray(args)) throw new Error(`${who}: expected an options object, got ${describe(args)}. Options: ${known.join(', ')}.`);
  for (const key of Object.keys(args)) {
    if (known.includes(key)) continue;
    const nearest = known.reduce((best, name) => (editDistance(name, key) < editDistance(best, key) ? name : best), known[0] ?? '');
    const hint = nearest !== '' && editDistance(nearest, key) <= 3 ? ` Did you mean '${nearest}'?` : '';
    throw new Error(`${who}: unknown option '${key}'.${hint} Options: ${known.join(', ')}.`);
  }
}

/** A numeric range in words and as a predicate, e.g. `{ expected: '> 0', holds: (x) => x > 0 }`. */
export interface NumberRange {
  expected: string;
  holds: (x: number) => boolean;
}

export const POSITIVE: NumberRange = { expected: 'a finite number > 0', holds: (x) => x > 0 };
export const NON_NEGATIVE: NumberRange = { expected: 'a finite number ≥ 0', holds: (x) => x >= 0 };
export const OPEN_UNIT: NumberRange = { expected: 'a number strictly between 0 and 1', holds: (x) => x > 0 && x < 1 };
export const integerAtLeast = (least: number): NumberRange => ({
  expected: `an integer ≥ ${least}`,
  holds: (x) => Number.isInteger(x) && x >= least,
});

/** Returns `value` if it is a finite number inside `range`; otherwise throws, naming the option and how to mend it. */
export function checkNumber(who: string, option: string, value: unknown, range: NumberRange, fix = ''): number {
  if (typeof value === 'number' && Number.isFinite(value) && range.holds(value)) return value;
  throw new Error(`${who}: ${option} must be ${range.expected}, got ${describe(value)}.${fix ? ` ${fix}` : ''}`);
}

/** Returns `value` if it is one of `choices`; otherwise throws and lists them. */
export function checkChoice<T extends string>(who: string, option: string, value: unknown, choices: readonly T[]): T {
  if (choices.includes(value as T)) return value as T;
  throw new Error(`${who}: ${option} must be one of ${choices.map((c) => `'${c}'`).join(', ')}, got ${describe(value)}.`);
}

/** Returns `value` if it is true or false; a string such as 'no' must not count as true. */
export function checkBoolean(who: string, option: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw new Error(`${who}: ${option} must be true or false, got ${describe(value)}.`);
}

/** Returns `value` if it is an array of strings. */
export function checkNames(who: string, option: string, value: unknown): string[] {
  if (Array.isArray(value) && value.every((name) => typeof name === 'string')) return value as string[];
  throw new Error(`${who}: ${option} must be an array of layer names, got ${describe(value)}.`);
}

/** Returns `value` if it is an object with this method. */
export function checkHas<T>(who: string, option: string, value: T, method: keyof T & string, expected: string): T {
  if (typeof value === 'object' && value !== null && typeof value[method] === 'function') return value;
  const got = typeof value === 'function' ? `a function; call it: ${value.name}()` : describe(value);
  throw new Error(`${who}: ${option} must be ${expected}, got ${got}.`);
}

/** A short form of any value for an error message. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`;
  if (Array.isArray(value)) return `[${value.slice(0, 6).map(describe).join(', ')}${value.length > 6 ? ', …' : ''}]`;
  if (typeof value === 'object' && value !== null) return value.constructor?.name ?? 'an object';
  return String(value);
}

/** A shape in an error message. */
export const shownShape = (shape: ReadonlyArray<number | null>): string => `[${shape.map((length) => length ?? 'null').join(', ')}]`;

const warned = new Set<string>();

/** Warns on the console the first time it is called with `key`. */
export function warnOnce(key: string, message: string): void {
  if (warned.has(key)) return;
  warned.add(key);
  console.warn(message);
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}
