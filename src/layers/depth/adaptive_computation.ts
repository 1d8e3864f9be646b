/**
 * Adaptive computation time for each position of a sequence (pure).
 * Graves 2016 (arXiv 1603.08983), equations 3 to 13; per position and by interpolation as in Universal Transformers (Dehghani et al., ICLR 2019, appendix C).
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Scalar, Tensor } from '@tensorflow/tfjs-core';
import { withoutTape } from '../../autodiff/tape.js';
import { seenOf } from '../attention.js';

/** How far the positions of a batch are, [batch, time] each. */
export interface Halting {
  /** Σ of the probabilities so far, of the steps before the halting one. */
  probability: Tensor;
  /** 1 − that sum, where a position has halted; else 0. */
  remainder: Tensor;
  /** Steps that were taken. */
  updates: Tensor;
  /** 1 where a position goes on, 0 where it has halted (or is padding). */
  running: Tensor;
}

/** @param mask positions that there are, numbers ≠ 0; the others never run. */
export function startHalting(batch: number, time: number, mask: Tensor | null = null): Halting {
  const zeros = () => tfc.zeros([batch, time]);
  const running = mask === null ? tfc.ones([batch, time]) : seenOf(mask);
  return { probability: zeros(), remainder: zeros(), updates: zeros(), running };
}

/**
 * One step: positions for which Σp with this step's `p` exceeds 1 − ε halt, and give it what remains of 1; others give it p.
 * @returns the weight of this step's state for each position, 0 where it had halted before.
 */
export function haltingStep({ probability, remainder, updates, running }: Halting, p: Tensor, epsilon: number): { halting: Halting; weight: Tensor } {
  // Who halts has no derivative, and the host no gradient for asking.
  const [halts, goesOn, taken] = withoutTape(() => {
    const over = tfc.mul(tfc.cast(tfc.greater(tfc.add(probability, p), 1 - epsilon), 'float32'), running);
    return [over, tfc.sub(running, over), tfc.add(updates, running)];
  });
  const given = tfc.mul(p, goesOn);
  const rest = tfc.mul(halts, tfc.sub(1, probability));
  return {
    weight: tfc.add(given, rest),
    halting: { probability: tfc.add(probability, given), remainder: tfc.add(remainder, rest), updates: taken, running: goesOn },
  };
}

/** `accumulated`: Σ_t w_t s_t (Graves); `interpolated`: y ← w_t s_t + (1 − w_t) y from y = 0, as the authors' code has it by default. */
export type Combination = 'accumulated' | 'interpolated';

export interface AdaptiveComputationArgs {
  /** From s_{t−1} and t = 0, 1 … to s_t, and the probability [batch, time] of halting, read from s_{t−1}. */
  step: (state: Tensor, t: number) => { state: Tensor; probability: Tensor };
  /** Steps at most. */
  maxSteps: number;
  epsilon: number;
  combine: Combination;
  mask?: Tensor | null;
  /** Whether to look, after each step, if all positions have halted, and to stop then; else all steps are taken, with weight 0. */
  looks: boolean;
}

/**
 * Combines s_1 … s_N of each position, N its own. A position that has not halted after `maxSteps` keeps what it has: its weights then add up to less than 1.
 * @returns `output` as the state, how the positions halted, and the number of steps that were computed.
 */
export function adaptiveComputation(start: Tensor, { step, maxSteps, epsilon, combine, mask = null, looks }: AdaptiveComputationArgs): { output: Tensor; halting: Halting; steps: number } {
  const [batch, time] = start.shape as [number, number];
  let state = start;
  let output: Tensor = tfc.zerosLike(start);
  let halting = startHalting(batch, time, mask);
  for (let t = 0; t < maxSteps; t++) {
    const next = step(state, t);
    const taken = haltingStep(halting, next.probability, epsilon);
    const weight = tfc.expandDims(taken.weight, -1);
    const share = tfc.mul(weight, next.state);
    output = tfc.add(share, combine === 'accumulated' ? output : tfc.mul(tfc.sub(1, weight), output));
    ({ state } = next);
    ({ halting } = taken);
    if (looks && t + 1 < maxSteps && halting.running.dataSync().every((running) => running === 0)) return { output, halting, steps: t + 1 };
  }
  return { output, halting, steps: maxSteps };
}

/**
 * Mean over the positions that there are of N + R: the steps taken and what remained of 1 before the last (Graves' equation 10). For a position that
 * has not halted R is 1 − Σp, so that more probability costs less there too.
 */
export function ponderCost({ probability, updates }: Halting, mask: Tensor | null = null): Scalar {
  const cost = tfc.add(updates, tfc.sub(1, probability));
  if (mask === null) return tfc.mean(cost);
  const counted = seenOf(mask);
  return tfc.div(tfc.sum(tfc.mul(cost, counted)), tfc.maximum(tfc.sum(counted), 1));
}

