/** What a training step of a network takes, and how a solver gets on in it. */
import * as tfc from '@tensorflow/tfjs-core';
import type * as tfl from '@tensorflow/tfjs-layers';
import type { ImageTensors } from '../common/compression/models.js';
import { peakBytes } from '../common/peak_memory.js';
import { median } from '../common/variant_runs.js';
import { anderson, broyden, fixedPointIteration, unrolled, type DEQLayer, type Solver } from './library.js';
import type { Settings, VariantName } from './settings.js';

const TIMED = 7;
/** No residual in float32 is so small: as many iterations as are allowed. */
const UNREACHED = 1e-12;
/** Of Anderson acceleration, where it is measured. */
const WINDOW = 5;

/** Loss and gradients of all weights on one batch, discarded. */
function step(model: tfl.LayersModel, { xs, ys }: ImageTensors): void {
  const { value, grads } = tfc.variableGrads(() => {
    const probabilities = model.apply(xs, { training: true }) as tfc.Tensor;
    return tfc.neg(tfc.mean(tfc.sum(tfc.mul(ys, tfc.log(tfc.add(probabilities, 1e-7))), -1))) as tfc.Scalar;
  });
  value.dataSync();
  tfc.dispose(grads);
  value.dispose();
}

/** Milliseconds (median) and peak bytes of a step as the network is trained. */
export async function stepOf(model: tfl.LayersModel, batch: ImageTensors): Promise<{ stepMilliseconds: number; stepBytes: number }> {
  const stepBytes = await peakBytes(() => step(model, batch));
  const times = Array.from({ length: TIMED }, () => {
    const start = performance.now();
    step(model, batch);
    return performance.now() - start;
  });
  return { stepMilliseconds: median(times), stepBytes };
}

/** Mean relative residual over the samples by iteration, for each solver. */
export async function residualsOf(model: tfl.LayersModel, deq: DEQLayer, { xs }: ImageTensors, { figures }: Settings): Promise<{ solver: string; values: number[] }[]> {
  const limits = { tolerance: UNREACHED, maxIterations: figures.iterations };
  const solvers: Record<string, Solver> = { 'fixed point': fixedPointIteration(limits), Anderson: anderson({ ...limits, window: WINDOW }), Broyden: broyden(limits) };
  const before = deq.inferenceSolver;
  const results: { solver: string; values: number[] }[] = [];
  await withoutWarnings(async () => {
    for (const [solver, inferenceSolver] of Object.entries(solvers)) {
      deq.configure({ inferenceSolver });
      tfc.dispose(model.predictOnBatch(xs));
      const { forward } = await deq.report();
      results.push({ solver, values: forward!.trace.map((residuals) => residuals.reduce((sum, residual) => sum + residual, 0) / residuals.length) });
    }
  });
  deq.configure({ inferenceSolver: before });
  return results;
}

/** Peak bytes of a step with `depth` evaluations of the cell: by the solver, or one after the other. */
export async function memoryByDepth(model: tfl.LayersModel, deq: DEQLayer, batch: ImageTensors, { figures }: Settings, variant: VariantName): Promise<{ depth: number; bytes: number }[]> {
  const { solver, gradient } = deq;
  const results: { depth: number; bytes: number }[] = [];
  await withoutWarnings(async () => {
    for (const depth of figures.depths) {
      if (variant === 'tied') deq.configure({ gradient: unrolled({ steps: depth }) });
      else deq.configure({ solver: anderson({ tolerance: UNREACHED, maxIterations: depth, window: WINDOW }) });
      results.push({ depth, bytes: await peakBytes(() => step(model, batch)) });
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
