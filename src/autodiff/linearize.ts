/**
 * The derivative of a function at a point as a linear map that can be applied many times: reverse mode from one recording of the function
 * (Griewank & Walther, Evaluating Derivatives, 2008, ch. 3), forward mode as the transpose of reverse mode.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import { traceProgram, type KernelProgram } from './kernel_program.js';
import { freeSaved, isRecording, record, tensorMark, type TapeNode } from './tape.js';

export interface Linearization {
  /** f(inputs); disposed of with the `tf.tidy` that {@link linearize} was called in. */
  readonly value: Tensor[];
  /**
   * Σ over outputs of cotangentᵀ·∂output/∂input, for each tensor of `wrt` (default: all inputs); zeros where an output does not depend on it.
   * @throws Error if a cotangent's shape is not its output's, if `wrt` names a tensor that was no input, or if an operation has no gradient.
   */
  vjp(cotangents: readonly Tensor[], wrt?: readonly Tensor[]): Tensor[];
  /**
   * Σ over the tensors of `wrt` of ∂output/∂input·tangent, for each output. Differentiates the backward pass: an operation whose gradient
   * has no gradient itself (pooling, say) throws.
   */
  jvp(tangents: readonly Tensor[], wrt?: readonly Tensor[]): Tensor[];
  /** Whether any output depends on `input` through operations that were recorded. */
  dependsOn(input: Tensor): boolean;
  /** Frees what was kept for {@link vjp} and {@link jvp}. */
  dispose(): void;
}

/** Where a derivative is wanted of an operation that has none. */
export class NoGradientError extends Error {
  constructor(readonly kernelName: string) {
    super(`linearize: the operation ${kernelName} has no gradient in this version of @tensorflow/tfjs-core. Compose it of operations that have one.`);
  }
}

/**
 * Runs `f(...inputs)` once and returns its value and its derivative there. Inputs are tensors or variables; what `f` merely closes over can be
 * an input too, if it is listed. May be called inside of `tf.grads`, of `tf.customGrad` and its gradient function, and of another `linearize`.
 *
 * Where a gradient evaluation is recording, `f` and the products are recorded too, so that second derivatives come out as the host's do.
 * Elsewhere the first {@link Linearization.vjp} for a given `wrt` leaves a program of the kernels that depend on the cotangents, which
 * the next ones run: k products cost less than one and k − 1 backward passes.
 *
 * ```js
 * const tangent = linearize((z) => tf.tanh(tf.matMul(z, w)), [z]);
 * const [step] = tangent.vjp([cotangent]); // cotangentᵀ ∂f/∂z
 * tangent.dispose();
 * ```
 */
export function linearize(f: (...inputs: Tensor[]) => Tensor | Tensor[], inputs: readonly Tensor[]): Linearization {
  const { result: value, nodes, shared } = record(() => {
    const outputs = f(...inputs);
    return Array.isArray(outputs) ? outputs : [outputs];
  });
  /** By the indices of `wrt`; null where every product must walk the tape. */
  const programs = new Map<string, KernelProgram | null>();
  const transposes = new Map<string, Linearization>();
  let disposed = false;

  const keyOf = (wrt: readonly Tensor[]): string => {
    if (disposed) throw new Error('linearize: this linearization was disposed of.');
    const indices = wrt.map((tensor) => inputs.indexOf(tensor));
    if (indices.includes(-1)) throw new Error('linearize: wrt names a tensor that is not among the inputs. Name the very tensors that were given as inputs.');
    return indices.join();
  };

  const transpose = (wrt: readonly Tensor[]): Linearization => {
    // vjp is linear in the cotangents: its derivative is the same at any of them.
    const anywhere = value.map(({ shape }) => tfc.zeros(shape));
    const linear = linearize((...cotangents) => pullBack(nodes, value, cotangents, wrt), anywhere);
    tfc.dispose([anywhere, linear.value]);
    return linear;
  };

  return {
    value,
    vjp(cotangents, wrt = inputs) {
      const key = keyOf(wrt);
      checkShapes('vjp', 'cotangents', cotangents, value);
      // Recorded once more, so that it stands in order on the tape.
      if (isRecording()) return record(() => pullBack(nodes, value, cotangents, wrt)).result;
      const program = programs.get(key);
      if (program != null) return program.run(cotangents);
      return tfc.tidy(() => {
        // Copies: none may be a tensor that the backward pass uses too.
        const seeds = cotangents.map((cotangent) => tfc.clone(cotangent));
        if (program === null) return pullBack(nodes, value, seeds, wrt);
        const traced = traceProgram((traceable) => pullBack(nodes, value, traceable, wrt), seeds);
        programs.set(key, traced.program);
        return traced.outputs;
      });
    },
    jvp(tangents, wrt = inputs) {
      const key = keyOf(wrt);
      checkShapes('jvp', 'tangents', tangents, wrt);
      if (isRecording()) return transpose(wrt).vjp(tangents);
      const linear = transposes.get(key) ?? transpose(wrt);
      transposes.set(key, linear);
      return linear.vjp(tangents);
    },
    dependsOn: (input) => leadingTo(nodes, value).has(input.id),
    dispose() {
      if (disposed) return;
      disposed = true;
      for (const program of programs.values()) program?.dispose();
      for (const linear of transposes.values()) linear.dispose();
      if (!shared) freeSaved(nodes);
    },
  };
}

/**
 * The product cotangentᵀ·∂f/∂input for each of `inputs`, once: from a recording whose parts are freed as soon as they have been used, which takes
 * the least memory. `sums[i]`, where given, is a gradient to which that of input i is added; it is disposed of. Not while a gradient
 * evaluation is recording.
 */
export function pulledBack(f: (...inputs: Tensor[]) => Tensor[], inputs: readonly Tensor[], cotangents: readonly Tensor[], sums: readonly (Tensor | undefined)[] = []): Tensor[] {
  const mark = tensorMark();
  const { result, nodes } = record(() => f(...inputs));
  try {
    // Values of the outputs are not needed; their ids are.
    tfc.dispose(result.filter(({ id }) => id > mark));
    return tfc.tidy(() => pullBack(nodes, result, cotangents, inputs, { sums }));
  } finally {
    freeSaved(nodes);
  }
}

/** Ids of the tensors that some output was computed from. */
function leadingTo(nodes: readonly TapeNode[], outputs: readonly Tensor[]): Set<number> {
  const leading = new Set(outputs.map(({ id }) => id));
  for (let i = nodes.length - 1; i >= 0; i--) {
    const { inputs, outputs: made } = nodes[i];
    if (made.some(({ id }) => leading.has(id))) Object.values(inputs).forEach((input) => leading.add(input.id));
  }
  return leading;
}

/** Ids of the tensors that were computed from some input. */
function computedFrom(nodes: readonly TapeNode[], inputs: readonly Tensor[]): Set<number> {
  const computed = new Set(inputs.map(({ id }) => id));
  for (const { inputs: used, outputs } of nodes) {
    if (Object.values(used).some(({ id }) => computed.has(id))) outputs.forEach(({ id }) => computed.add(id));
  }
  return computed;
}

/** For a single product: gradients that are added to those of `wrt`, and disposed of as all else that is not needed any more. */
interface Once {
  sums: readonly (Tensor | undefined)[];
}

/** Back-propagates `cotangents` of `outputs` over recorded operations: a gradient for each tensor of `wrt`, none of them the same object. */
function pullBack(nodes: readonly TapeNode[], outputs: readonly Tensor[], cotangents: readonly Tensor[], wrt: readonly Tensor[], once?: Once): Tensor[] {
  const relevant = computedFrom(nodes, wrt);
  const gradients = new Map<number, Tensor>();
  const mark = tensorMark();
  const wanted = new Set(wrt.map(({ id }) => id));
  const owners = new Map<Tensor, number>(cotangents.map((cotangent) => [cotangent, 1]));
  const own = (gradient: Tensor, by: number) => owners.set(gradient, (owners.get(gradient) ?? 0) + by);
  const release = (gradient: Tensor) => {
    own(gradient, -1);
    if (once !== undefined && owners.get(gradient) === 0) gradient.dispose();
  };
  const accumulate = (id: number, gradient: Tensor) => {
    const before = gradients.get(id);
    const sum = before === undefined ? gradient : tfc.add(before, gradient);
    own(sum, 1);
    gradients.set(id, sum);
    if (before === undefined) return;
    own(gradient, 1);
    release(gradient);
    release(before);
  };
  wrt.forEach(({ id }, i) => once?.sums[i] !== undefined && accumulate(id, once.sums[i]));
  outputs.forEach(({ id }, i) => accumulate(id, cotangents[i]));
  for (let i = nodes.length - 1; i >= 0; i--) {
    const { kernelName, inputs, outputs: made, gradient, saved } = nodes[i];
    const names = Object.keys(inputs).filter((name) => relevant.has(inputs[name].id));
    if (names.length === 0 || !made.some(({ id }) => gradients.has(id))) continue;
    if (gradient === undefined) throw new NoGradientError(kernelName);
    const terms = gradient(made.map(({ id }) => gradients.get(id) ?? null));
    for (const name of names) {
      if (!(name in terms)) throw new Error(`linearize: the operation ${kernelName} has no gradient with respect to its input '${name}'.`);
      const given = tfc.tidy(() => terms[name]());
      // What a gradient hands out as it is, though it belongs to someone else, must outlive its release here.
      const term = once !== undefined && given.id < mark && !owners.has(given) ? tfc.clone(given) : given;
      const { id, shape } = inputs[name];
      if (!tfc.util.arraysEqual(term.shape, shape)) {
        throw new Error(`linearize: the gradient of ${kernelName} with respect to its input '${name}' has shape [${term.shape}], expected [${shape}].`);
      }
      accumulate(id, term);
    }
    if (once === undefined) continue;
    saved.forEach((tensor) => tensor.dispose());
    for (const { id } of made) {
      const used = gradients.get(id);
      if (used === undefined || wanted.has(id)) continue;
      gradients.delete(id);
      release(used);
    }
  }
  const given = new Set<Tensor>(cotangents);
  return wrt.map(({ id, shape }) => {
    const gradient = gradients.get(id) ?? tfc.zeros(shape);
    if (given.has(gradient)) return tfc.clone(gradient);
    given.add(gradient);
    return gradient;
  });
}

function checkShapes(product: string, what: string, given: readonly Tensor[], expected: readonly Tensor[]): void {
  const shapes = (tensors: readonly Tensor[]) => tensors.map(({ shape }) => `[${shape}]`).join(', ');
  if (given.length === expected.length && given.every(({ shape }, i) => tfc.util.arraysEqual(shape, expected[i].shape))) return;
  throw new Error(`linearize: ${product} expects ${what} of shapes ${shapes(expected)}, got ${shapes(given)}.`);
}
