/**
 * One training step (loss Σz², gradients of W and U) of the equilibrium z = tanh(zW + xU), W ~ N(0, 1)·0.4/√D, U ~ N(0, 1)/√D, x ~ N(0, 1),
 * z₀ = 0, to a relative tolerance of 1e-4 forward and backward, on the native backend (wasm where that is not installed).
 *
 * - `step`: milliseconds and iterations, per size and solver; `leastMs` is the fastest round's, which other work on the machine disturbs least.
 * - `unrolledVsDeq`: time of the step by unrolled weight-tied layers of the same accuracy, over that of the equilibrium, at 256 × 64.
 * - `memoryVsUnrolled`: peak bytes of the step with 60 iterations over those of 60 unrolled layers; `memory100Vs10`: with 100 iterations over
 *   with 10, at the same window. Bytes of tensors, and of the solver's own memory.
 * - `torchdeq`, where TORCHDEQ_PYTHON names a Python that has torch and torchdeq: its steps in turns with ours; `ratio` = ours / theirs, round by round, and
 *   `leastRatio` of the fastest rounds. Its threads wait passively (OMP_WAIT_POLICY): spinning ones take the processors from ours.
 */

import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-layers';
import { peakBytes } from '../examples/common/peak_memory.js';
import { anderson } from '../src/solvers/anderson.js';
import { broyden } from '../src/solvers/broyden.js';
import { equilibrium, type EquilibriumGradient } from '../src/solvers/equilibrium.js';
import { fixedPointIteration } from '../src/solvers/fixed_point_iteration.js';
import { implicit } from '../src/solvers/implicit.js';
import type { Solution, Solver, SolverArgs } from '../src/solvers/solver.js';
import { unrolled } from '../src/solvers/unrolled.js';
import { interleaved, median, significant } from './interleaved.js';
import { startNative } from './native_backend.js';
import { startPython } from './python_peer.js';
import type { BenchOptions } from './run.js';

const SIZES: [width: number, batch: number][] = [[64, 16], [256, 64], [1024, 128]]; // prettier-ignore
const LIMITS: SolverArgs = { tolerance: 1e-4, maxIterations: 60 };
const SOLVERS = { fixedPointIteration, anderson, broyden } as Record<string, (args: SolverArgs) => Solver>;
const TORCH_NAMES: Record<string, string> = { fixedPointIteration: 'fixed_point_iter', anderson: 'anderson', broyden: 'broyden' };

/** The step as a function, for one size. */
function problem(width: number, batch: number) {
  const W = tf.tidy(() => tf.variable(tf.mul(tf.randomNormal([width, width], 0, 1, 'float32', 1), 0.4 / Math.sqrt(width))));
  const U = tf.tidy(() => tf.variable(tf.mul(tf.randomNormal([width, width], 0, 1, 'float32', 2), 1 / Math.sqrt(width))));
  const x = tf.randomNormal([batch, width], 0, 1, 'float32', 3);
  const z0 = tf.zeros([batch, width]);
  const matMul = (a: tf.Tensor, b: tf.Tensor) => tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D);
  const step = (solver: Solver, gradient: EquilibriumGradient) => {
    const iterations: number[] = [];
    const count = ({ known }: Solution) => void iterations.push(known?.iterations ?? NaN);
    const { value, grads } = tf.variableGrads(() => {
      const injected = matMul(x, U);
      const [z] = equilibrium(([state]) => [tf.tanh(tf.add(matMul(state, W), injected))], [z0], { solver, gradient, wrt: [W, injected], onForward: count, onBackward: count });
      return tf.sum(tf.square(z));
    }, [W, U]);
    const results = [W, U].map(({ name }) => grads[name].dataSync());
    tf.dispose([value, grads]);
    return { results, iterations };
  };
  return { step, dispose: () => tf.dispose([W, U, x, z0]) };
}

/** The Python process with TorchDEQ in it, if there is one. */
function startPeer() {
  const python = startPython('TORCHDEQ_PYTHON', 'torchdeq_step.py', 'torch and torchdeq');
  return python === null ? null : {
    async step(width: number, batch: number, solver: string): Promise<{ milliseconds: number; iterations: number[] }> {
      const [milliseconds, ...iterations] = await python.ask(`${width} ${batch} ${TORCH_NAMES[solver]}`);
      return { milliseconds, iterations };
    },
    stop: python.stop,
  };
}

const relativeError = (a: ArrayLike<number>, b: ArrayLike<number>) => {
  let [difference, scale] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    difference = Math.max(difference, Math.abs(a[i] - b[i]));
    scale = Math.max(scale, Math.abs(b[i]));
  }
  return difference / scale;
};

export async function run({ print }: BenchOptions): Promise<Record<string, unknown>> {
  const backend = await startNative(print);
  const peer = startPeer();
  const step: Record<string, Record<string, object>> = {};
  const torchdeq: Record<string, Record<string, object>> = {};
  print(`${'size'.padEnd(10)} ${'solver'.padEnd(20)}       ms  iterations${peer ? '   TorchDEQ ms  iterations  ours / theirs  least' : ''}`);
  for (const [width, batch] of SIZES) {
    const size = `${width}x${batch}`;
    const { step: once, dispose } = problem(width, batch);
    const rounds = width > 500 ? 11 : 31;
    step[size] = {};
    if (peer) torchdeq[size] = {};
    for (const [name, make] of Object.entries(SOLVERS)) {
      const [solver, gradient] = [make(LIMITS), implicit()];
      const { iterations } = once(solver, gradient);
      const theirs: number[] = [];
      const ours: number[] = [];
      let peerIterations: number[] = [];
      for (let round = -3; round < rounds; round++) {
        const start = performance.now();
        once(solver, gradient);
        const elapsed = performance.now() - start;
        const other = await peer?.step(width, batch, name);
        peerIterations = other?.iterations ?? [];
        if (round < 0) continue;
        ours.push(elapsed);
        if (other) theirs.push(other.milliseconds);
      }
      const ms = median(ours);
      step[size][name] = { ms: significant(ms), leastMs: significant(Math.min(...ours)), iterations: iterations[0], backwardIterations: iterations[1] };
      let line = `${size.padEnd(10)} ${name.padEnd(20)} ${ms.toFixed(2).padStart(8)}  ${iterations.join(' + ').padEnd(10)}`;
      if (peer) {
        const ratio = median(ours.map((time, i) => time / theirs[i]));
        torchdeq[size][name] = {
          ms: significant(median(theirs)), leastMs: significant(Math.min(...theirs)), iterations: peerIterations[0], backwardIterations: peerIterations[1],
          ratio: significant(ratio), leastRatio: significant(Math.min(...ours) / Math.min(...theirs)),
        }; // prettier-ignore
        line += `   ${median(theirs).toFixed(2).padStart(11)}  ${peerIterations.join(' + ').padEnd(10)}  ${ratio.toFixed(2).padStart(13)}  ${(Math.min(...ours) / Math.min(...theirs)).toFixed(2).padStart(5)}`;
      }
      print(line);
    }
    dispose();
  }
  peer?.stop();

  const { step: once, dispose } = problem(256, 64);
  const exact = once(anderson({ tolerance: 1e-6, maxIterations: 60 }), implicit()).results;
  const deq = { solver: fixedPointIteration(LIMITS), gradient: implicit() };
  const accuracy = Math.max(...once(deq.solver, deq.gradient).results.map((values, i) => relativeError(values, exact[i])));
  let depth = 1;
  const errorAt = (steps: number) => Math.max(...once(deq.solver, unrolled({ steps })).results.map((values, i) => relativeError(values, exact[i])));
  while (errorAt(depth) > accuracy) depth++;
  const layers = unrolled({ steps: depth });
  const timing = await interleaved({ deq: () => void once(deq.solver, deq.gradient), unrolled: () => void once(deq.solver, layers) }, { rounds: 31 });
  const unrolledVsDeq = significant(timing.ratio('unrolled', 'deq'));
  print(`unrolled, ${depth} layers (gradients within ${accuracy.toExponential(1)}, as the equilibrium's): ${timing.milliseconds.unrolled.toFixed(2)} ms, ${unrolledVsDeq} times the equilibrium's`);

  // A tolerance that is not reached: as many iterations as are allowed.
  const forced = (maxIterations: number) => () => void once(anderson({ tolerance: 1e-12, maxIterations, window: 6 }), implicit());
  const sixty = await peakBytes(() => void once(deq.solver, unrolled({ steps: 60 })));
  const [ours, ten, hundred] = [await peakBytes(forced(60)), await peakBytes(forced(10)), await peakBytes(forced(100))];
  const memoryVsUnrolled = significant(ours / sixty);
  const memory100Vs10 = significant(hundred / ten, 4);
  print(`peak memory with 60 iterations: ${(ours / 2 ** 20).toFixed(2)} MiB, of 60 unrolled layers ${(sixty / 2 ** 20).toFixed(2)} MiB (${memoryVsUnrolled}); with 100 iterations ${memory100Vs10} times that with 10`);
  dispose();
  return { backend, step, unrolledVsDeq, memoryVsUnrolled, memory100Vs10, ...(peer ? { torchdeq } : {}) };
}
