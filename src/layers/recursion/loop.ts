/** The loop of a recursive layer: fixed, or with gates that let samples out. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor, Tensor1D } from '@tensorflow/tfjs-core';
import { checkpointed, type ChainStep } from '../../autodiff/checkpoint.js';
import { isRecording, withoutTape } from '../../autodiff/tape.js';
import type { LoopContext } from './loop_context.js';
import { agreement, hard, mixed, type LoopGate } from './loop_gate.js';

export interface LoopArgs {
  recursions: number;
  training: boolean;
  gate: LoopGate | null;
  /** Whether a step sees all states, or the last one only. */
  keepsAll: boolean;
  /** Compute recursions again in the gradient, of these variables; null: keep what they made. */
  checkpointed: readonly Tensor[] | null;
  /** h_d from x and h_1 … h_{d−1}, or from h_{d−1} alone. */
  step: (x: Tensor, states: readonly Tensor[], context: LoopContext) => Tensor;
}

export interface LoopResult {
  /** h_1 … h_D, or h_D alone. */
  states: Tensor[];
  /** How many recursions each sample went through, in training by the softmax as weights: [batch]; null without gates. */
  depths: Tensor1D | null;
  /** How many recursions were computed. */
  computed: number;
}

/** Per sample: the product of all decisions so far, the same of hard decisions, and the sum of the former over the recursions. */
type GateState = [alive: Tensor1D, entered: Tensor1D, depth: Tensor1D];

export function recur(x: Tensor, args: LoopArgs): LoopResult {
  const { gate, recursions, training } = args;
  if (gate !== null && !training) return inferred(x, gate, args);
  const begin = gate === null ? [] : begun(x);
  const chain = chainOf(args);
  // Where nothing is recorded, states are freed on the way.
  const keeps = args.checkpointed === null && isRecording();
  const end = keeps ? chain.reduce<readonly Tensor[]>((state, step) => step(state, [x]), begin) : checkpointed(chain, begin, { inputs: [x], variables: args.checkpointed ?? [] });
  return { states: end.slice(begin.length), depths: gate === null ? null : (end[2] as Tensor1D), computed: recursions };
}

const begun = (x: Tensor): GateState => [tfc.ones([x.shape[0]]), tfc.ones([x.shape[0]]), tfc.zeros([x.shape[0]])];
const appended = (keepsAll: boolean, states: readonly Tensor[], h: Tensor): Tensor[] => (keepsAll ? [...states, h] : [h]);

/** The recursions as functions of the state alone, (gate state, states) → the same. */
function chainOf({ recursions, training, gate, keepsAll, step }: LoopArgs): ChainStep[] {
  const counted = new Set<number>();
  const contextOf = (recursion: number, entered: Tensor1D | null): LoopContext => {
    const first = !counted.has(recursion);
    counted.add(recursion);
    return { recursion, training, entered, first };
  };
  return Array.from({ length: recursions }, (_, recursion): ChainStep => {
    if (gate === null) return (states, [x]) => appended(keepsAll, states, step(x, states, contextOf(recursion, null)));
    return (state, [x]) => {
      const [before, states] = [state.slice(0, 3) as GateState, state.slice(3)];
      const [alive, entered, depth] = recursion === 0 ? counting(before) : decided(before, gate.decide(states.at(-1)!, recursion, training));
      // No gradient goes through who counts for statistics.
      const after = step(x, states, contextOf(recursion, withoutTape(() => tfc.clone(entered))));
      return [alive, entered, depth, ...appended(keepsAll, states, recursion === 0 ? after : mixed(alive, after, states.at(-1)!))];
    };
  });
}

const counting = ([alive, entered, depth]: GateState): GateState => [alive, entered, tfc.add(depth, alive)];

function decided([alive, entered, depth]: GateState, decision: Tensor1D): GateState {
  const on = tfc.mul(alive, decision) as Tensor1D;
  return counting([on, tfc.mul(entered, withoutTape(() => hard(decision))) as Tensor1D, depth]);
}

/** In inference decisions are hard: where all samples of a batch agree to leave, what remains is not computed. */
function inferred(x: Tensor, gate: LoopGate, { recursions, keepsAll, step }: LoopArgs): LoopResult {
  let states: Tensor[] = [];
  let gates = counting(begun(x));
  let computed = 0;
  for (let recursion = 0; recursion < recursions; recursion++) {
    const h = states.at(-1);
    if (h !== undefined) gates = decided(gates, gate.decide(h, recursion, false));
    const agreed = h === undefined ? 'all' : agreement(gates[0], recursion, gate.options.lookEvery);
    if (agreed === 'none') {
      // Whoever has left does not come back.
      if (keepsAll) states = [...states, ...Array.from({ length: recursions - recursion }, () => h!)];
      break;
    }
    const after = step(x, states, { recursion, training: false, entered: null, first: true });
    computed++;
    states = appended(keepsAll, states, agreed === 'all' ? after : mixed(gates[0], after, h!));
  }
  return { states, depths: gates[2], computed };
}
