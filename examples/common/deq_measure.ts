/** What a training step of an equilibrium, and of networks beside it, takes; and how solvers get on in it. */
import { anderson, type Anderson } from '../../src/solvers/anderson.js';
import { broyden } from '../../src/solvers/broyden.js';
import { fixedPointIteration } from '../../src/solvers/fixed_point_iteration.js';
import type { Solver } from '../../src/solvers/solver.js';
import { Unrolled, unrolled } from '../../src/solvers/unrolled.js';
import type { DEQLayer } from '../../src/layers/deq_layer.js';
import { peakBytes } from './peak_memory.js';
import { median } from './variant_runs.js';

export interface SolverTrace {
  solver: string;
  /** Mean relative residual over the samples, by iteration. */
  values: number[];
}

export interface MemoryAtDepth {
  /** Evaluations of the cell. */
  depth: number;
  /** At the peak of a step. */
  bytes: number;
}

const TIMED = 7;
/** No residual in float32 is so small: as many iterations as are allowed. */
const UNREACHED = 1e-12;
/** Of Anderson acceleration, where it is measured. */
const WINDOW = 5;

const fixedDepth = (maxIterations: number): Anderson => anderson({ tolerance: UNREACHED, maxIterations, window: WINDOW });

/** Milliseconds (median) and peak bytes of `step`, which disposes of what it makes. */
export async function stepOf(step: () => void): Promise<{ stepMilliseconds: number; stepBytes: number }> {
  const stepBytes = await peakBytes(step);
  const times = Array.from({ length: TIMED }, () => {
    const start = performance.now();
    step();
    return performance.now() - start;
  });
  return { stepMilliseconds: median(times), stepBytes };
}

/** The residual by iteration when `predict` calls the layer, for each solver. */
export async function residualsOf(deq: DEQLayer, predict: () => void, iterations: number): Promise<SolverTrace[]> {
  const limits = { tolerance: UNREACHED, maxIterations: iterations };
  const solvers: Record<string, Solver> = { 'fixed point': fixedPointIteration(limits), Anderson: fixedDepth(iterations), Broyden: broyden(limits) };
  const before = deq.inferenceSolver;
  const results: SolverTrace[] = [];
  await withoutWarnings(async () => {
    for (const [solver, inferenceSolver] of Object.entries(solvers)) {
      deq.configure({ inferenceSolver });
      predict();
      const { forward } = await deq.report();
      results.push({ solver, values: forward!.trace.map((residuals) => residuals.reduce((sum, residual) => sum + residual, 0) / residuals.length) });
    }
  });
  deq.configure({ inferenceSolver: before });
  return results;
}

/** Peak bytes of a step with so many evaluations of the cell: by the solver or, where the layer is unrolled, one after the other. */
export async function memoryByDepth(deq: DEQLayer, step: () => void, depths: readonly number[]): Promise<MemoryAtDepth[]> {
  const { solver, gradient } = deq;
  const results: MemoryAtDepth[] = [];
  await withoutWarnings(async () => {
    for (const depth of depths) {
      deq.configure(gradient instanceof Unrolled ? { gradient: unrolled({ steps: depth }) } : { solver: fixedDepth(depth) });
      results.push({ depth, bytes: await peakBytes(step) });
    }
  });
  deq.configure({ solver, gradient });
  return results;
}

/** A solver that is made to use all of its iterations would warn that it has not converged. */
async function withoutWarnings(work: () => Promise<void>): Promise<void> {
  const { warn } = console;
  console.warn = () => {};
  try {
    await work();
  } finally {
    console.warn = warn;
  }
}
