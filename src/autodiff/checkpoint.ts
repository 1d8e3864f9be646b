/**
 * Chains of computations whose gradient computes their insides a second time instead of keeping them.
 * Chen, Xu, Zhang & Guestrin, Training Deep Nets with Sublinear Memory Cost, 2016 (arXiv 1604.06174), algorithm 1.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import { checkKeys, checkNumber, describe, integerAtLeast } from '../checks.js';
import { freshSeed, withFixedDraws } from './fixed_draws.js';
import { joined, parted } from './joined.js';
import { linearize, pulledBack } from './linearize.js';
import { isRecording, tensorMark } from './tape.js';

/**
 * One step: state and inputs to the next state, of whatever shapes. It is called again in the gradient, with other tensors of the same values, and
 * must then do the same; it closes over nothing but variables and numbers.
 */
export type ChainStep = (state: readonly Tensor[], inputs: readonly Tensor[]) => Tensor[];

export interface CheckpointedArgs {
  /** Tensors that all steps get as their second argument, kept for the gradient: masks, signals, the output of an encoder. Default none. */
  inputs?: readonly Tensor[];
  /** Variables that the steps close over and that gradients are wanted for. One that is not listed gets none. Default none. */
  variables?: readonly Tensor[];
  /** Steps per segment, of which only the state at the start is kept. Integer ≥ 1. Default ⌈√n⌉ for n steps. */
  segment?: number;
}

/**
 * The state after all `steps`, as `steps.reduce((state, step) => step(state, inputs), state)`, with the same gradients, to the last bit. Kept for the
 * gradient are the states at the start of segments of k steps; it then runs one segment at a time again, which costs each step one more evaluation.
 * Memory: (n/k) states and the insides of k steps instead of the insides of n. The default k = √n is best where what a step keeps is of the
 * size of a state; where it is much more, as in a Transformer layer, `segment: 1` takes less.
 *
 * State and inputs are tensors; float32 ones get gradients. Random operations draw the same numbers again (`Math.random` is fixed during each step).
 * May be called inside of `tf.grads`, `tf.customGrad`, `linearize` and another `checkpointed`. Where a gradient of the gradient is being
 * recorded, all steps are recorded: second derivatives are right, and take the memory of the plain chain. A step that counts or
 * writes (running statistics) does so twice.
 *
 * ```js
 * const [h] = checkpointed(Array(12).fill(([h]) => [layer.apply(h, {training: true})]), [x], {variables: layer.trainableWeights.map((w) => w.read())});
 * ```
 *
 * @throws Error if there is no step, if a step does not return tensors, or if the last state is not float32.
 */
export function checkpointed(steps: readonly ChainStep[], state: readonly Tensor[], args: CheckpointedArgs = {}): Tensor[] {
  const who = 'checkpointed';
  checkKeys(who, args, ['inputs', 'variables', 'segment']);
  if (!Array.isArray(steps) || steps.length === 0 || !steps.every((step) => typeof step === 'function')) {
    throw new Error(`${who}: expected a list of one or more functions (state, inputs) => next state, got ${describe(steps)}.`);
  }
  const segment = checkNumber(who, 'segment', args.segment ?? Math.ceil(Math.sqrt(steps.length)), integerAtLeast(1));
  const inputs = args.inputs ?? [];
  const variables = [...new Set(args.variables ?? [])];
  const seeded = steps.map((step) => withSeed(step, freshSeed()));
  if (!isRecording()) return tfc.tidy(() => along(seeded, state, inputs));

  const segments = Array.from({ length: Math.ceil(steps.length / segment) }, (_, s) => seeded.slice(s * segment, (s + 1) * segment));
  const mark = tensorMark();
  let last: { shape: number[]; size: number }[] = [];
  const value = tfc.customGrad((...given: unknown[]) => {
    const save = given.pop() as (tensors: Tensor[]) => void;
    const starts = [[...state]];
    segments.forEach((part, s) => starts.push(along(part, starts[s], inputs)));
    const end = starts.pop()!;
    last = end.map(({ shape, size, dtype }) => {
      if (dtype !== 'float32') throw new Error(`${who}: the last state must be float32, one part is ${dtype}. Hand what is not differentiated on in inputs.`);
      return { shape, size };
    });
    const lengths = starts.map(({ length }) => length);
    // Copies of their own: the state given may be gone by then.
    save([...starts.flat(), ...inputs]);
    const gradFunc = (dy: Tensor, saved: Tensor[]) => {
      const kept = lengths.map((length, s) => saved.slice(sum(lengths.slice(0, s)), sum(lengths.slice(0, s)) + length));
      const keptInputs = saved.slice(sum(lengths));
      return tfc.tidy(() => {
        const cotangents = parted(dy, last as Tensor[]);
        return isRecording() ? recorded(seeded, kept[0], keptInputs, variables, cotangents) : recomputed(segments, kept, keptInputs, variables, cotangents);
      });
    };
    return { value: joined(end.map((part) => (part.id < mark ? tfc.clone(part) : part))), gradFunc };
  })(...[...state, ...inputs, ...variables]);
  const parts = parted(value, last as Tensor[]);
  if (parts.length > 1) value.dispose();
  return parts;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

const withSeed = (step: ChainStep, seed: number): ChainStep => (state, inputs) => withFixedDraws(seed, () => step(state, inputs));

/** The state after `steps`; frees what each step leaves behind, and the states on the way. */
function along(steps: readonly ChainStep[], state: readonly Tensor[], inputs: readonly Tensor[]): Tensor[] {
  const mark = tensorMark();
  return steps.reduce<Tensor[]>((before, step) => {
    const after = tfc.tidy(() => checkState(step(before, inputs)));
    before.forEach((part) => part.id > mark && !after.includes(part) && part.dispose());
    return after;
  }, [...state]);
}

function checkState(state: unknown): Tensor[] {
  if (Array.isArray(state) && state.every((part) => part instanceof tfc.Tensor)) return state as Tensor[];
  throw new Error(`checkpointed: a step must return a list of tensors, got ${describe(state)}.`);
}

/** Gradients of state, inputs and variables, one segment after the other from the last. */
function recomputed(segments: readonly ChainStep[][], starts: readonly Tensor[][], inputs: readonly Tensor[], variables: readonly Tensor[], cotangents: Tensor[]): Tensor[] {
  const others = [...inputs, ...variables];
  let sums: (Tensor | undefined)[] = others.map(() => undefined);
  let backwards = cotangents;
  for (let s = segments.length - 1; s >= 0; s--) {
    const count = starts[s].length;
    const run = (...given: Tensor[]) => segments[s].reduce<Tensor[]>((state, step) => step(state, given.slice(count, count + inputs.length)), given.slice(0, count));
    const gradients = pulledBack(run, [...starts[s], ...others], backwards, [...starts[s].map(() => undefined), ...sums]);
    if (s < segments.length - 1) tfc.dispose(backwards);
    backwards = gradients.slice(0, count);
    sums = gradients.slice(count);
  }
  return [...backwards, ...(sums as Tensor[])];
}

/** The same as functions of all they depend on, for second derivatives. */
function recorded(steps: readonly ChainStep[], state: readonly Tensor[], inputs: readonly Tensor[], variables: readonly Tensor[], cotangents: Tensor[]): Tensor[] {
  const count = state.length;
  const run = (...given: Tensor[]) => steps.reduce<Tensor[]>((before, step) => step(before, given.slice(count, count + inputs.length)), given.slice(0, count));
  return linearize(run, [...state, ...inputs, ...variables]).vjp(cotangents);
}
