/**
 * A function of tensors reduced to the kernels that depend on its inputs: what depends on none of them is computed once and kept. For a
 * vector–Jacobian product that is most of the work: of tanh's (1 − y²)·dy and zW's dy·Wᵀ two kernels of five remain.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { NamedAttrMap, NamedTensorMap, Tensor } from '@tensorflow/tfjs-core';
import { tensorMark, watchKernels, withoutTape } from './tape.js';

/** A value of a run (by its slot) or one that is the same in each. */
type Operand = number | Tensor;

interface Step {
  kernelName: string;
  /** Names of the inputs, or null where the kernel takes a list. */
  names: string[] | null;
  operands: Operand[];
  attrs: NamedAttrMap | undefined;
  outputs: number[];
  /** Slots that nothing after this step needs. */
  last: number[];
}

export interface KernelProgram {
  /** As the function that was traced, for other inputs of the same shapes; the results are the caller's to dispose of. */
  run(inputs: readonly Tensor[]): Tensor[];
  /** Kernels per run. */
  readonly length: number;
  dispose(): void;
}

export interface Traced {
  outputs: Tensor[];
  /** Null where `f` looked at values that depend on its inputs, so that another run might have taken another course. */
  program: KernelProgram | null;
}

/**
 * Runs `f(inputs)` in a `tf.tidy`, with nothing recorded for gradients, and returns its outputs together with the program of its kernels.
 * `f` must not depend on anything that changes between runs except its inputs.
 */
export function traceProgram(f: (inputs: readonly Tensor[]) => Tensor[], inputs: readonly Tensor[]): Traced {
  const steps: Step[] = [];
  const slots = new Map<number, number>();
  const dependentData = new Set<object>();
  /** The host clones tensors that it saves for a gradient: ids by those of their clones. */
  const cloned = new Map<number, number>();
  const clonedData = new Map<object, object>();
  const constants = new Map<number, Tensor>();
  let looked = false;
  const mark = tensorMark();

  const slotOf = (tensor: Tensor): number => {
    const known = slots.get(tensor.id);
    if (known !== undefined) return known;
    const slot = slots.size;
    named(tensor, slot);
    return slot;
  };
  const named = (tensor: Tensor, slot: number): void => {
    slots.set(tensor.id, slot);
    dependentData.add(tensor.dataId);
  };
  /** The slot of a tensor, or of what it is a clone of. */
  const known = ({ id }: Tensor): number | undefined => {
    let origin: number | undefined = id;
    while (origin !== undefined && !slots.has(origin)) origin = cloned.get(origin);
    return origin === undefined ? undefined : slots.get(origin);
  };
  /** What `f` makes on its way is gone when it ends, so a copy is kept; what was there before stays its owner's. */
  const constant = (tensor: Tensor): Tensor => {
    if (tensor.id < mark) return tensor;
    const known = constants.get(tensor.id);
    if (known !== undefined) return known;
    const copy = tfc.keep(tfc.clone(tensor));
    constants.set(tensor.id, copy);
    return copy;
  };
  const operand = (tensor: Tensor): Operand => known(tensor) ?? constant(tensor);
  const freeConstants = () => {
    for (const tensor of constants.values()) tensor.dispose();
    constants.clear();
  };

  inputs.forEach(slotOf);
  const trace = () =>
    tfc.tidy(() =>
      watchKernels(
        {
          onKernel: ({ kernelName, inputs: given, attrs }, run) => {
            // An optional input (a bias) may be undefined.
            const entries = Object.entries(given as Record<string, Tensor | undefined>).filter((entry): entry is [string, Tensor] => entry[1] != null);
            if (!entries.some(([, tensor]) => known(tensor) !== undefined)) return run();
            const operands = entries.map(([, tensor]) => operand(tensor));
            const result = run();
            if (isSame(kernelName, entries[0][1], result)) {
              // No step of the program: its output is its input under another name.
              named(result, operands[0] as number);
              return result;
            }
            const outputs = (Array.isArray(result) ? result : [result]).map(slotOf);
            steps.push({ kernelName, names: Array.isArray(given) ? null : entries.map(([name]) => name), operands, attrs, outputs, last: [] });
            return result;
          },
          onClone: (from, to) => {
            cloned.set(to.id, from.id);
            if (to.dataId !== from.dataId) clonedData.set(to.dataId, from.dataId);
          },
          onRead: (dataId) => {
            for (let data: object | undefined = dataId; data !== undefined; data = clonedData.get(data)) looked ||= dependentData.has(data);
          },
        },
        () => f(inputs),
      ),
    );

  try {
    const outputs = withoutTape(trace);
    if (looked) {
      freeConstants();
      return { outputs, program: null };
    }
    const results = outputs.map(operand);
    const needed = keepNeeded(steps, results);
    markLastUses(needed, results, inputs.length);
    return { outputs, program: { run: (values) => runProgram(needed, results, values), length: needed.length, dispose: freeConstants } };
  } catch (error) {
    freeConstants();
    throw error;
  }
}

/** Whether a kernel has given back what it was given, as a clone or in the shape that it had (the host's gradient of a sum ends so). */
function isSame(kernelName: string, input: Tensor, output: Tensor | Tensor[]): output is Tensor {
  return (kernelName === 'Reshape' || kernelName === 'Identity') && !Array.isArray(output) && tfc.util.arraysEqual(output.shape, input.shape);
}

/** Leaves out the steps that lead to no result. */
function keepNeeded(steps: Step[], results: Operand[]): Step[] {
  const wanted = new Set<Operand>(results);
  return steps.reduceRight<Step[]>((kept, step) => {
    if (!step.outputs.some((slot) => wanted.has(slot))) return kept;
    step.operands.forEach((operand) => wanted.add(operand));
    return [step, ...kept];
  }, []);
}

function markLastUses(steps: Step[], results: Operand[], inputs: number): void {
  const live = new Set<Operand>(results);
  for (const step of [...steps].reverse()) {
    for (const slot of [...step.operands, ...step.outputs]) {
      // Inputs are the caller's.
      if (typeof slot !== 'number' || slot < inputs || live.has(slot)) continue;
      live.add(slot);
      step.last.push(slot);
    }
  }
}

function runProgram(steps: Step[], results: Operand[], inputs: readonly Tensor[]): Tensor[] {
  const engine = tfc.engine();
  const values: Tensor[] = [...inputs];
  const valueOf = (operand: Operand) => (typeof operand === 'number' ? values[operand] : operand);
  for (const { kernelName, names, operands, attrs, outputs, last } of steps) {
    const given = names === null ? operands.map(valueOf) : Object.fromEntries(operands.map((operand, i) => [names[i], valueOf(operand)]));
    const made = engine.runKernel<Tensor | Tensor[]>(kernelName, given as unknown as NamedTensorMap, attrs);
    if (Array.isArray(made)) made.forEach((tensor, i) => (values[outputs[i]] = tensor));
    else values[outputs[0]] = made;
    for (const slot of last) values[slot].dispose();
  }
  const given = new Set<Tensor>();
  return results.map((result) => {
    const value = valueOf(result);
    // The caller may dispose of each result by itself: an input, a constant, or a second mention is copied.
    if (typeof result !== 'number' || result < inputs.length || given.has(value)) return tfc.clone(value);
    given.add(value);
    return value;
  });
}
