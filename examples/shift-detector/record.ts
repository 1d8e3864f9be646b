/** What a run leaves behind, as plain JSON, and what is said of it. */
import type { Fitted } from './methods.js';
import type { Method, Settings } from './settings.js';

/** One strength with all seeds. */
export interface Trial {
  strength: number;
  fitted: Fitted[];
}

export interface MethodRecord {
  method: Method;
  trials: Trial[];
  /** Index of the trial that is best on the validation cases. */
  chosen: number;
}

export interface RunRecord {
  backend: string;
  settings: Settings;
  seeds: number[];
  methods: MethodRecord[];
}

export const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The trial with the most right answers on the validation cases, mean over seeds; test cases have no say. */
export function choose(trials: readonly Trial[]): number {
  const means = trials.map(({ fitted }) => mean(fitted.map(({ validation }) => validation)));
  return means.indexOf(Math.max(...means));
}

/** The last line of `--json`: percent of the test cases that are right, mean over seeds. */
export function summarize({ methods }: RunRecord): Record<string, { test: number; validation: number; strength: number }> {
  const round = (value: number) => Number(value.toFixed(2));
  return Object.fromEntries(
    methods.map(({ method, trials, chosen }) => {
      const { fitted, strength } = trials[chosen];
      return [method, { test: round(mean(fitted.map(({ test }) => test))), validation: round(mean(fitted.map(({ validation }) => validation))), strength }];
    }),
  );
}
