/** Failures of solves whose reports must be awaited: seen after the step, told then, and thrown by the next solve where that is asked for. */
import type { Solution, Solver } from './solver.js';

/** Every so many solves one is looked at, beside the 1st, 2nd, 4th, 8th … */
const EVERY = 100;

const isSpot = (count: number): boolean => (count & (count - 1)) === 0 || count % EVERY === 0;

/** Of one layer, or of one solver. */
export class LateChecks {
  readonly #solves = new Map<string, number>();
  #failure: Error | null = null;

  /** @throws the failure that was found since, if there is one. */
  raise(): void {
    const failure = this.#failure;
    this.#failure = null;
    if (failure !== null) throw failure;
  }

  /**
   * Has `solution` report after the step: each one whose failure is to be thrown, of the others some, which are counted for each `kind`. It may be
   * disposed of at once.
   */
  look(kind: string, solution: Solution): void {
    if (solution.known !== null) return;
    const count = (this.#solves.get(kind) ?? 0) + 1;
    this.#solves.set(kind, count);
    if (!solution.throws && !isSpot(count)) return;
    solution.report().catch((error: Error) => {
      console.warn(error.message);
      if (solution.throws) this.#failure = error;
    });
  }
}

const bySolver = new WeakMap<Solver, LateChecks>();

/** Those of the equilibria that belong to no layer. */
export function lateChecksOf(solver: Solver): LateChecks {
  const checks = bySolver.get(solver) ?? new LateChecks();
  bySolver.set(solver, checks);
  return checks;
}
