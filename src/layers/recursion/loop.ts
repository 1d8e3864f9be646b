/** The loop of a recursive layer: fixed, or with gates that let samples out. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor, Tensor1D } from '@tensorflow/tfjs-core';
import type { ChainStep } from '../../autodiff/checkpoint.js';
import { isRecording, withoutTape } from '../../autodiff/tape.js';
import { checkpointedLayers } from '../stand_ins.js';
import type { LoopContext } from './loop_context.js';
import { agreement, hard, mixed, type LoopGate } from './loop_gate.js';

export interface LoopArgs {
  recursions: number;
  training: boolean;
  gate: LoopGate | null;
  /** Whether a step sees all states, or the last one only. */
  seesAll: boolean;
  /** Compute recursions again in the gradient, of these variables; null: keep what they made. */
  checkpointed: readonly Tensor[] | null;
  /** h_d from x and h_1 … h_{d−1}, or from h_{d−1} alone. */
  step: (x: Tensor, states: readonly Tensor[], context: LoopContext) => Tensor;
  /** y_d of h_d; null: h_d itself. */
  head: ((h: Tensor, context: LoopContext) => Tensor) | null;
  /** Whether y_1 … y_D come out. */
  emits: boolean;
  /** The sum of what it makes of y_1 … y_D comes out; null: no sum. */
  term: ((y: Tensor, recursion: number) => Tensor) | null;
}

export interface LoopResult {
  /** h_D. */
  last: Tensor;
  /** y_1 … y_D where they come out. */
  outputs: Tensor[];
  total: Tensor | null;
  /** How many recursions each sample went through, in training by the softmax as weights: [batch]; null without gates. */
  depths: Tensor1D | null;
  /** How many recursions were computed. */
  computed: number;
}

/** Per sample: the product of all decisions so far, the same of hard decisions, and the sum of the former over the recursions. */
type GateState = [alive: Tensor1D, entered: Tensor1D, depth: Tensor1D];

/** What a run of recursions hands on: `gates` and `total` from run to run; `heads` and `states` are those of the run, with the last state at least. */
interface Run {
  gates: readonly Tensor[];
  total: readonly Tensor[];
  heads: readonly Tensor[];
  states: readonly Tensor[];
}

export function recur(x: Tensor, args: LoopArgs): LoopResult {
  const { gate, recursions, training } = args;
  if (gate !== null && !training) return inferred(x, gate, args);
  // Where nothing is recorded, states are freed on the way.
  const keeps = args.checkpointed === null && isRecording();
  // What comes out of a checkpointed chain passes through all of it: where states come out, each segment is a chain.
  const cut = args.checkpointed !== null && (args.emits || args.seesAll);
  const length = cut ? Math.ceil(Math.sqrt(recursions)) : recursions;
  let [gates, total]: (readonly Tensor[])[] = [gate === null ? [] : begun(x), []];
  const [states, heads]: Tensor[][] = [[], []];
  const counted = new Set<number>();
  for (let first = 0; first < recursions; first += length) {
    const count = Math.min(length, recursions - first);
    const chain = chainOf(args, first, count, counted);
    const inputs = [x, ...(args.seesAll ? states : states.slice(-1))];
    const end = keeps ? chain.reduce<readonly Tensor[]>((state, step) => step(state, inputs), [...gates, ...total]) : checkpointedLayers(chain, [...gates, ...total], { inputs, variables: args.checkpointed ?? [], segment: cut ? count : undefined });
    const run = runOf(args, end, first + count, count);
    [gates, total] = [run.gates, run.total];
    states.push(...run.states);
    heads.push(...run.heads);
  }
  return { last: states.at(-1)!, outputs: args.head === null ? states : heads, total: total[0] ?? null, depths: gate === null ? null : (gates[2] as Tensor1D), computed: recursions };
}

const begun = (x: Tensor): GateState => [tfc.ones([x.shape[0]]), tfc.ones([x.shape[0]]), tfc.zeros([x.shape[0]])];

/** The parts of the list that a chain hands on, after `done` recursions in all and `count` of the run. */
function runOf({ gate, term, head, emits }: LoopArgs, list: readonly Tensor[], done: number, count: number): Run {
  const lengths = [gate === null ? 0 : 3, term === null || done === 0 ? 0 : 1, head === null || !emits ? 0 : count];
  const ends = lengths.map((_, i) => lengths.slice(0, i + 1).reduce((sum, length) => sum + length));
  return { gates: list.slice(0, ends[0]), total: list.slice(ends[0], ends[1]), heads: list.slice(ends[1], ends[2]), states: list.slice(ends[2]) };
}

/** `run` with the state h after it, and with what comes out of that. */
function gathered({ seesAll, head, emits, term }: LoopArgs, run: Run, gates: readonly Tensor[], h: Tensor, context: LoopContext): Run {
  const y = head !== null && (emits || term !== null) ? head(h, context) : h;
  const added = term === null ? [] : [term(y, context.recursion)];
  return {
    gates,
    total: added.map((each) => (run.total.length === 0 ? each : tfc.add(run.total[0], each))),
    heads: head !== null && emits ? [...run.heads, y] : [],
    states: seesAll || (emits && head === null) ? [...run.states, h] : [h],
  };
}

/** Recursions first … first + count − 1 as functions of the state alone; inputs are x and earlier states, all or the last. */
function chainOf(args: LoopArgs, start: number, count: number, counted: Set<number>): ChainStep[] {
  const { training, gate, step } = args;
  return Array.from({ length: count }, (_, i): ChainStep => (list, [x, ...earlier]) => {
    const recursion = start + i;
    const first = !counted.has(recursion);
    counted.add(recursion);
    const run = runOf(args, list, recursion, i);
    const states = [...earlier, ...run.states];
    const gates = gate === null ? null : recursion === 0 ? counting(run.gates as GateState) : decided(run.gates as GateState, gate.decide(states.at(-1)!, recursion, training));
    // No gradient goes through who counts for statistics.
    const context: LoopContext = { recursion, training, entered: gates && withoutTape(() => tfc.clone(gates[1])), first };
    const after = step(x, states, context);
    const h = gates === null || recursion === 0 ? after : mixed(gates[0], after, states.at(-1)!);
    const { gates: g, total, heads, states: made } = gathered(args, run, gates ?? [], h, context);
    return [...g, ...total, ...heads, ...made];
  }); // prettier-ignore
}

const counting = ([alive, entered, depth]: GateState): GateState => [alive, entered, tfc.add(depth, alive)];

function decided([alive, entered, depth]: GateState, decision: Tensor1D): GateState {
  const on = tfc.mul(alive, decision) as Tensor1D;
  return counting([on, tfc.mul(entered, withoutTape(() => hard(decision))) as Tensor1D, depth]);
}

/** In inference decisions are hard: where all samples of a batch agree to leave, what remains is not computed. */
function inferred(x: Tensor, gate: LoopGate, args: LoopArgs): LoopResult {
  const { recursions, head, step } = args;
  let run: Run = { gates: counting(begun(x)), total: [], heads: [], states: [] };
  let computed = 0;
  for (let recursion = 0; recursion < recursions; recursion++) {
    const context: LoopContext = { recursion, training: false, entered: null, first: true };
    const h = run.states.at(-1);
    const before = run.gates as GateState;
    const gates = h === undefined ? before : decided(before, gate.decide(h, recursion, false));
    const agreed = h === undefined ? 'all' : agreement(gates[0], recursion, gate.options.lookEvery);
    if (agreed === 'none') {
      // Whoever has left does not come back.
      for (let left = recursion; left < recursions; left++) run = gathered(args, run, gates, h!, { ...context, recursion: left });
      break;
    }
    const after = step(x, run.states, context);
    computed++;
    run = gathered(args, run, gates, agreed === 'all' ? after : mixed(gates[0], after, h!), context);
  }
  return { last: run.states.at(-1)!, outputs: [...(head === null ? run.states : run.heads)], total: run.total[0] ?? null, depths: run.gates[2] as Tensor1D, computed };
}
