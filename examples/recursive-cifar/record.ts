/** Everything one run leaves behind, as plain JSON: the report is rendered from it alone, also much later. */
import LinearRegression from 'ml-regression-multivariate-linear';
import { parsedRecord } from '../common/variant_runs.js';
import type { Directories, SetName } from './data.js';
import type { LayerSimilarity } from './library.js';
import type { Part, Settings } from './settings.js';
import { variantsOf, type Variant } from './variants.js';

export const RECORD_FORMAT = 'tfjs-weight-sharing/recursive-cifar/1';

/** `heldOut`: percent wrong. */
export interface EpochRecord {
  loss: number;
  heldOut: number;
}

export interface VariantRun {
  seed: number;
  /** The key of the variant. */
  variant: string;
  /** Trained ones. */
  parameters: number;
  epochs: EpochRecord[];
  /** Percent wrong after the last epoch; test images were read once, after that. */
  heldOut: number;
  test: number;
  /** With gates: mean over the images. */
  loops: { heldOut: number; test: number } | null;
  /** With several templates: how alike the layers on each bank became. Not in records of before. */
  similarities?: LayerSimilarity[];
  /** Of training, with that by which a grouping is learned, without the teacher's. */
  seconds: number;
}

export interface SetRecord {
  origin: string;
  train: number;
  heldOut: number;
  test: number;
}

export interface RunRecord {
  format: typeof RECORD_FORMAT;
  parts: Part[];
  sets: Partial<Record<SetName, SetRecord>>;
  directories: Directories;
  backend: string;
  settings: Settings;
  seeds: number[];
  runs: VariantRun[];
}

/** A variant with what its seeds gave on average. */
export interface Row extends Variant {
  parameters: number;
  heldOut: number;
  test: number;
  /** Of the test errors. */
  least: number;
  greatest: number;
  /** Loops on average: those of gates, or the fixed number. NaN where there are none. */
  loops: number;
  heldOutLoops: number;
  seconds: number;
}

export const setsOf = ({ sets }: RunRecord): SetName[] => Object.keys(sets) as SetName[];

export const plannedOf = (record: RunRecord): Variant[] => variantsOf(record.settings, record.parts, setsOf(record));

export const isFinished = (record: RunRecord): boolean => plannedOf(record).every(({ key }) => record.seeds.every((seed) => record.runs.some((run) => run.variant === key && run.seed === seed)));

const mean = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0) / values.length;

/** Of one part on one set: those that are trained. */
export function rowsOf(record: RunRecord, part: Part, set: SetName): Row[] {
  return plannedOf(record).filter((variant) => variant.spec.part === part && variant.set === set).flatMap((variant) => {
    const runs = record.runs.filter((run) => run.variant === variant.key);
    if (runs.length === 0) return [];
    const tests = runs.map(({ test }) => test);
    const fixed = variant.spec.part === 'dynamic' ? variant.spec.recursions : NaN;
    return {
      ...variant, parameters: runs[0].parameters, heldOut: mean(runs.map(({ heldOut }) => heldOut)),
      test: mean(tests), least: Math.min(...tests), greatest: Math.max(...tests),
      loops: mean(runs.map(({ loops }) => loops?.test ?? fixed)), heldOutLoops: mean(runs.map(({ loops }) => loops?.heldOut ?? fixed)), seconds: mean(runs.map(({ seconds }) => seconds)),
    };
  }); // prettier-ignore
}

/** What is compared in a part, in one number or a few; error in percent, differences in points. */
export type Finding = Record<string, number | null>;

/** The last line of `--json`: by set and part, means over the seeds; null where what is compared is not there. */
export interface Summary {
  findings: Partial<Record<SetName, Partial<Record<Part, Finding>>>>;
  seeds: number;
  seconds: number;
}

const rounded = (value: number): number => Number(value.toFixed(2));
const least = (rows: readonly Row[], value: (row: Row) => number): Row | null => (rows.length === 0 ? null : rows.reduce((best, row) => (value(row) < value(best) ? row : best)));

/** Everything that is chosen here is chosen by held-out images. */
export function findingOf(rows: readonly Row[], part: Part): Finding {
  switch (part) {
    case 'lru': {
      const [first, last] = [rows[0], rows[rows.length - 1]];
      const best = least(rows, ({ heldOut }) => heldOut)!;
      return { first: rounded(first.test), last: rounded(last.test), chosen: rounded(best.test), gain: rounded(first.test - last.test), gainOfChosen: rounded(first.test - best.test) };
    }
    case 'templates': {
      const unshared = rows.find(({ spec }) => spec.part === 'templates' && spec.templates === null);
      const shared = rows.filter((row) => row !== unshared);
      const lost = shared.map((row): [string, number | null] => [`lost${(row.spec as { templates: number }).templates}`, unshared === undefined ? null : rounded(row.test - unshared.test)]);
      return { unshared: unshared === undefined ? null : rounded(unshared.test), ...Object.fromEntries(lost) };
    }
    case 'dynamic': {
      const gated = ({ spec }: Row) => spec.part === 'dynamic' && spec.cost !== null;
      const fixed = least(rows.filter((row) => !gated(row)), ({ heldOut }) => heldOut);
      // As good on held-out images, with the fewest loops; else the best.
      const asGood = rows.filter((row) => gated(row) && fixed !== null && row.heldOut <= fixed.heldOut);
      const chosen = least(asGood, ({ heldOutLoops }) => heldOutLoops) ?? least(rows.filter(gated), ({ heldOut }) => heldOut);
      return {
        fixedLoops: fixed && rounded(fixed.loops), fixed: fixed && rounded(fixed.test), gatedLoops: chosen && rounded(chosen.loops), gated: chosen && rounded(chosen.test),
        lost: fixed && chosen && rounded(chosen.test - fixed.test),
      }; // prettier-ignore
    }
    case 'banks':
      return bankFinding(rows);
    case 'eigen':
      return eigenFinding(rows);
  }
}

/** By budget what the choice that is best on held-out images loses to own kernels; then what each single choice changes, on average over the pairs that differ in it alone. */
function bankFinding(rows: readonly Row[]): Finding {
  const own = rows.find(({ spec }) => spec.part === 'banks' && spec.bank === null);
  const of = rows.flatMap((row) => (row.spec.part === 'banks' && row.spec.bank !== null ? [{ ...row, ...row.spec.bank, distilled: row.spec.distilled }] : []));
  type Choice = Pick<(typeof of)[number], 'combination' | 'grouping' | 'distilled'>;
  const changed = (from: Partial<Choice>, to: Partial<Choice>) => {
    const fits = (row: Choice, wanted: Partial<Choice>) => Object.entries(wanted).every(([key, value]) => row[key as keyof Choice] === value);
    const pairs = of.filter((a) => fits(a, from)).flatMap((a) => of.filter((b) => b.budget === a.budget && fits(b, { combination: a.combination, grouping: a.grouping, distilled: a.distilled, ...to })).map((b) => b.test - a.test));
    return pairs.length === 0 ? null : rounded(mean(pairs));
  };
  const lost = [...new Set(of.map(({ budget }) => budget))].map((budget): [string, number | null] => {
    const best = least(of.filter((row) => row.budget === budget), ({ heldOut }) => heldOut)!;
    return [`lost${budget}`, own === undefined ? null : rounded(best.test - own.test)];
  });
  return {
    own: own === undefined ? null : rounded(own.test), ...Object.fromEntries(lost),
    average: changed({ combination: 'learnedWeights' }, { combination: 'average' }), layerEmbedding: changed({ combination: 'learnedWeights' }, { combination: 'layerEmbedding' }),
    randomGroups: changed({ grouping: 'one' }, { grouping: 'random' }), learnedGroups: changed({ grouping: 'one' }, { grouping: 'learned' }), distilled: changed({ distilled: false }, { distilled: true }),
  }; // prettier-ignore
}

/**
 * Points of test error that one more doubling gives, the other two held, and their standard errors: test error = c + Σ slope · log₂(each), least squares
 * over all networks. Eigen et al. §4 compare pairs; of those that differ in maps alone there are too few.
 */
function eigenFinding(rows: readonly Row[]): Finding {
  const names = ['layers', 'parameters', 'maps'] as const;
  const of = rows.flatMap((row) => (row.spec.part === 'eigen' ? [{ ...row, ...row.spec }] : []));
  const varies = (value: (row: (typeof of)[number]) => number | boolean, among = of) => new Set(among.map(value)).size > 1;
  const told = of.length > 4 && varies(({ maps }) => maps) && varies(({ layers }) => layers) && varies(({ tied }) => tied, of.filter(({ layers }) => layers > 1));
  if (!told) return Object.fromEntries(names.flatMap((name) => [[name, null], [`${name}Error`, null]])); // prettier-ignore
  const fitted = new LinearRegression(of.map((row) => names.map((name) => Math.log2(row[name]))), of.map(({ test }) => [test])); // prettier-ignore
  return Object.fromEntries(names.flatMap((name, i) => [[name, rounded(fitted.weights[i][0])], [`${name}Error`, rounded(fitted.stdErrors[i])]])); // prettier-ignore
}

export function summarize(record: RunRecord): Summary {
  const findings: Summary['findings'] = {};
  for (const set of setsOf(record)) {
    findings[set] = {};
    for (const part of record.parts) {
      const rows = rowsOf(record, part, set);
      if (rows.length > 0) findings[set][part] = findingOf(rows, part);
    }
  }
  return { findings, seeds: record.seeds.length, seconds: Math.round(record.runs.reduce((total, { seconds }) => total + seconds, 0)) };
}

/** @throws Error for what is no record of this example. `name` is for the message. */
export const parseRecord = (text: string, name: string): RunRecord => parsedRecord<RunRecord>('recursive-cifar', RECORD_FORMAT, text, name);
