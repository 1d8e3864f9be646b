/**
 * The weights λ_1 ≥ λ_2 ≥ … ≥ λ_n ≥ 0 of GrOWL, λ_1 for the row of the largest norm.
 * Zhang, Wang, Figueiredo & Balzano, ICLR 2018; the two variants of PLD are those of the authors' two published programs.
 */
import { checkChoice, checkNumber, describe, NON_NEGATIVE } from '../checks.js';

/**
 * With i = 1 … n and m = ⌊transition · n⌋:
 * - `oscar`: Λ1 + Λ2 (n − i).
 * - `pld` (OSCAR with a transition): Λ1 + Λ2 (m − i) for i ≤ m, then Λ1. The authors' VGG program.
 * - `pldSteep`: Λ1 + Λ2 (n − 1) (m − i) / (m − 1) for i ≤ m, then Λ1: m steps from n − 1 down to 0. The authors' MNIST program.
 * - `linear`: Λ1 + Λ2 (n − i) / n.
 * - `groupLasso`: Λ1, the plain group lasso: no tying.
 */
export type GrowlSchedule = 'oscar' | 'pld' | 'pldSteep' | 'linear' | 'groupLasso';

export const SCHEDULES: readonly GrowlSchedule[] = ['oscar', 'pld', 'pldSteep', 'linear', 'groupLasso'];

/** A schedule with all of its numbers, or the λ themselves (further rows take the last). */
export type Lambdas = { schedule: GrowlSchedule; lambda1: number; lambda2: number; transition: number } | readonly number[];

/** λ for a kernel of `rows` rows. `where` names the kernel in the error about a list that is longer than that. */
export function lambdasFor(lambdas: Lambdas, rows: number, where = `a kernel with ${rows} rows`): Float64Array {
  if (!('schedule' in lambdas)) {
    if (lambdas.length > rows) {
      throw new Error(`growl: schedule has ${lambdas.length} numbers, but ${where} has only ${rows} rows. Give at most one number per row (further rows take the last).`);
    }
    return Float64Array.from({ length: rows }, (_, i) => lambdas[Math.min(i, lambdas.length - 1)]);
  }
  const { schedule, lambda1, lambda2, transition } = lambdas;
  const m = Math.floor(transition * rows);
  const excess: Record<GrowlSchedule, (i: number) => number> = {
    oscar: (i) => rows - i,
    pld: (i) => Math.max(0, m - i),
    pldSteep: (i) => (m > 1 ? ((rows - 1) * Math.max(0, m - i)) / (m - 1) : i <= m ? rows - 1 : 0),
    linear: (i) => (rows - i) / rows,
    groupLasso: () => 0,
  };
  return Float64Array.from({ length: rows }, (_, i) => lambda1 + lambda2 * excess[schedule](i + 1));
}

/** The constants of the authors' programs. */
export const PRESETS = {
  mnist: { schedule: 'pldSteep', lambda1: 12, lambda2: 0.215, transition: 0.5 },
  vgg: { schedule: 'pld', lambda1: 11, lambda2: 0.1, transition: 0.1 },
} as const;

const UNIT = { expected: 'a number from 0 to 1', holds: (x: number) => x >= 0 && x <= 1 };

export interface ScheduleArgs {
  schedule?: GrowlSchedule | number[];
  lambda1?: number;
  lambda2?: number;
  transition?: number;
  preset?: keyof typeof PRESETS;
}

/** Checks the options of a schedule; one that the chosen schedule has no use for is an error. */
export function resolveLambdas(who: string, args: ScheduleArgs): Lambdas {
  const useless = (options: readonly (keyof ScheduleArgs)[], why: string) => {
    const given = options.find((option) => args[option] !== undefined);
    if (given !== undefined) throw new Error(`${who}: ${given} has no effect ${why}. Leave it out.`);
  };
  const { schedule: chosen } = args;
  if (Array.isArray(chosen)) {
    useless(['lambda1', 'lambda2', 'transition', 'preset'], 'beside a schedule that lists the λ');
    if (chosen.length === 0) throw new Error(`${who}: schedule must list at least one λ, got [].`);
    chosen.forEach((lambda, i) => checkNumber(who, `schedule[${i}]`, lambda, NON_NEGATIVE));
    const rise = chosen.findIndex((lambda, i) => i > 0 && lambda > chosen[i - 1]);
    if (rise > 0) throw new Error(`${who}: schedule must not increase, but schedule[${rise}] = ${chosen[rise]} follows ${chosen[rise - 1]}. The first λ is for the row of the largest norm.`);
    return [...chosen];
  }
  const preset = args.preset === undefined ? undefined : PRESETS[checkChoice(who, 'preset', args.preset, ['mnist', 'vgg'])];
  const schedule = checkChoice(who, 'schedule', chosen ?? preset?.schedule ?? 'oscar', SCHEDULES);
  if (schedule === 'groupLasso') useless(['lambda2', 'transition'], "with schedule: 'groupLasso'");
  if (schedule === 'oscar' || schedule === 'linear') useless(['transition'], `with schedule: '${schedule}'`);
  if (args.lambda1 === undefined && preset === undefined) {
    throw new Error(`${who}: lambda1 must be a finite number ≥ 0, got ${describe(args.lambda1)}. Give lambda1 (and lambda2, which ties rows), a preset, or the λ as schedule: [λ1, λ2, …].`);
  }
  return {
    schedule,
    lambda1: checkNumber(who, 'lambda1', args.lambda1 ?? preset?.lambda1, NON_NEGATIVE),
    lambda2: schedule === 'groupLasso' ? 0 : checkNumber(who, 'lambda2', args.lambda2 ?? preset?.lambda2 ?? 0, NON_NEGATIVE),
    transition: checkNumber(who, 'transition', args.transition ?? preset?.transition ?? 0.5, UNIT),
  };
}
