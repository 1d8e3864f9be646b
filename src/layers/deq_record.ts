/** What is known of an equilibrium layer's last call: its solves forward and backward. */
import { failureOf, isSpotCheck, type Solution, type SolveReport, type Solver, type StopReason } from '../solvers/solver.js';

/** The last call of an equilibrium layer, in training its backward pass too. */
export interface DEQReport {
  training: boolean;
  /** Class of the solver, e.g. `Anderson`; `Unrolled` where the layer was run as a network of fixed depth. */
  solver: string;
  /** Evaluations of the cell. */
  iterations: number;
  /** Worst of the samples; null where nothing was solved. */
  reason: StopReason | null;
  /** Mean over the samples of the residual that the solver stops by; NaN where nothing was solved. */
  residual: number;
  forward: SolveReport | null;
  /** Null in inference, before the backward pass, and for gradients that solve nothing. */
  backward: SolveReport | null;
}

/** Holds the solves of a call until the next. */
export class CallRecord {
  readonly #solutions: { forward: Solution | null; backward: Solution | null } = { forward: null, backward: null };
  /** Reports that are being awaited: what they read must not be disposed of. */
  readonly #pending = new Map<Solution, Promise<unknown>>();

  constructor(
    readonly training: boolean,
    readonly solver: Solver,
    /** Steps of a network of fixed depth, or null where a solver is at work. */
    readonly steps: number | null,
  ) {}

  add(which: 'forward' | 'backward', solution: Solution): void {
    this.#free(this.#solutions[which]);
    this.#solutions[which] = solution;
    // Has failures told that must be awaited.
    if (isSpotCheck(solution)) queueMicrotask(() => void this.#read(solution).catch((error: Error) => console.warn(error.message)));
  }

  async report(): Promise<DEQReport> {
    const { forward, backward } = this.#solutions;
    return this.#make(forward && (await this.#read(forward)), backward && (await this.#read(backward)));
  }

  /** Null where it must be awaited. */
  known(): DEQReport | null {
    const { forward, backward } = this.#solutions;
    if (forward?.known === null || backward?.known === null) return null;
    return this.#make(forward?.known ?? null, backward?.known ?? null);
  }

  dispose(): void {
    for (const which of ['forward', 'backward'] as const) {
      this.#free(this.#solutions[which]);
      this.#solutions[which] = null;
    }
  }

  #make(forward: SolveReport | null, backward: SolveReport | null): DEQReport {
    const { training, steps, solver } = this;
    const residuals = forward?.samples.map(({ residual, relativeResidual }) => (solver.limits.stop === 'relative' ? relativeResidual : residual)) ?? [];
    return {
      training,
      solver: steps === null ? solver.getClassName() : 'Unrolled',
      iterations: forward?.iterations ?? steps ?? 0,
      reason: forward?.reason ?? null,
      residual: residuals.reduce((sum, residual) => sum + residual, 0) / residuals.length,
      forward,
      backward,
    };
  }

  #read(solution: Solution): Promise<SolveReport> {
    const report = solution.report();
    this.#pending.set(solution, report);
    return report.finally(() => this.#pending.delete(solution));
  }

  #free(solution: Solution | null): void {
    if (solution === null) return;
    const pending = this.#pending.get(solution);
    if (pending === undefined) solution.dispose();
    else void pending.finally(() => solution.dispose()).catch(() => {});
  }
}

/** How a failed solve of a layer is told. */
export function layerFailure(layer: string, training: boolean, report: SolveReport, solver: Solver): string | null {
  return failureOf(`DEQLayer '${layer}' (${training ? 'training' : 'inference'}, ${solver.getClassName()})`, report, solver.limits);
}
