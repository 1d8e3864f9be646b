/** What is known of an equilibrium layer's last calls, in training and in inference: inputs, and solves forward and backward. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import { withoutTape } from '../autodiff/tape.js';
import { LateChecks } from '../solvers/late_checks.js';
import { failureOf, type Solution, type SolveReport, type Solver, type StopReason } from '../solvers/solver.js';

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

/** Calls that are kept apart: training, with what the backward pass adds, is not to be mistaken for the validation after it. */
export type CallKind = 'training' | 'inference';

/** What a layer was called with. */
export interface CallInputs {
  inputs: readonly Tensor[];
  mask: Tensor | null;
}

/** Holds the solves of a call until the next of its kind. */
export class CallRecord {
  /** Copies, if they are kept. */
  readonly given: CallInputs | null;
  readonly #solutions: { forward: Solution | null; backward: Solution | null } = { forward: null, backward: null };
  #disposed = false;

  constructor(
    readonly kind: CallKind,
    readonly solver: Solver,
    /** Steps of a network of fixed depth, or null where a solver is at work. */
    readonly steps: number | null,
    readonly checks: LateChecks,
    given: CallInputs | null,
  ) {
    const kept = (tensor: Tensor) => tfc.keep(withoutTape(() => tfc.clone(tensor)));
    this.given = given && { inputs: given.inputs.map(kept), mask: given.mask && kept(given.mask) };
  }

  /** Takes over a solve. The backward pass of a call comes after a later call where the layer is applied twice in a step. */
  add(which: 'forward' | 'backward', solution: Solution): void {
    this.checks.look(`${this.kind} ${which}`, solution);
    this.#solutions[which]?.dispose();
    this.#solutions[which] = solution;
    if (this.#disposed) this.dispose();
  }

  async report(): Promise<DEQReport> {
    const { forward, backward } = this.#solutions;
    return this.#make(...(await Promise.all([forward?.report() ?? null, backward?.report() ?? null])));
  }

  /** Null where it must be awaited. */
  known(): DEQReport | null {
    const { forward, backward } = this.#solutions;
    if (forward?.known === null || backward?.known === null) return null;
    return this.#make(forward?.known ?? null, backward?.known ?? null);
  }

  dispose(): void {
    this.#disposed = true;
    for (const which of ['forward', 'backward'] as const) {
      this.#solutions[which]?.dispose();
      this.#solutions[which] = null;
    }
    tfc.dispose([...(this.given?.inputs ?? []), this.given?.mask ?? null] as tfc.TensorContainer);
  }

  #make(forward: SolveReport | null, backward: SolveReport | null): DEQReport {
    const { kind, steps, solver } = this;
    const residuals = forward?.samples.map(({ residual, relativeResidual }) => (solver.limits.stop === 'relative' ? relativeResidual : residual)) ?? [];
    return {
      training: kind === 'training',
      solver: steps === null ? solver.getClassName() : 'Unrolled',
      iterations: forward?.iterations ?? steps ?? 0,
      reason: forward?.reason ?? null,
      residual: residuals.reduce((sum, residual) => sum + residual, 0) / residuals.length,
      forward,
      backward,
    };
  }
}

/** How a failed solve of a layer is told. */
export function layerFailure(layer: string, kind: CallKind, report: SolveReport, solver: Solver): string | null {
  return failureOf(`DEQLayer '${layer}' (${kind}, ${solver.getClassName()})`, report, solver.limits);
}
