/** The one place that looks into the engine's state (`tf.engine().state`) and at the way in which its kernels are called. */
import * as tfc from '@tensorflow/tfjs-core';
import type { NamedAttrMap, NamedTensorMap, Tensor } from '@tensorflow/tfjs-core';

/** An operation that the engine has recorded. */
export interface TapeNode {
  id: number;
  kernelName: string;
  inputs: Record<string, Tensor>;
  outputs: Tensor[];
  /** Gradients of the outputs → a gradient per input, each computed when asked for; absent where the operation has none. */
  gradient?: (dys: (Tensor | null)[]) => Record<string, () => Tensor>;
  /** What the gradient needs; the engine disposes of it when the outermost gradient evaluation ends. */
  saved: { dispose(): void }[];
}

interface EngineState {
  /** Set when the first recording begins. */
  activeTape?: TapeNode[] | null;
  activeScope?: object | null;
  gradientDepth: number;
  /** Above 0 inside of kernels and of `customGrad` functions, whose operations are not recorded. */
  kernelDepth: number;
  nextTapeNodeId: number;
  scopeStack: object[];
}

const USED = ['gradientDepth', 'kernelDepth', 'nextTapeNodeId', 'scopeStack'];

function state(): EngineState {
  const found = (tfc.engine() as unknown as { state?: EngineState }).state;
  if (found === undefined || USED.some((key) => !(key in found))) {
    throw new Error(
      'tfjs-weight-sharing: this version of @tensorflow/tfjs-core keeps its tape elsewhere (engine().state). Use @tensorflow/tfjs-core ^4.22.0.',
    );
  }
  return found;
}

/**
 * The tape of the gradient evaluation that is running, or null outside of one. Its identity tells evaluations apart: every
 * outermost `tf.grads` / `optimizer.minimize` records on an array of its own. (An evaluation that throws leaves its tape behind.)
 */
export const activeTape = (): object | null => {
  const { activeTape: tape, gradientDepth } = state();
  return gradientDepth > 0 ? (tape ?? null) : null;
};

/** The innermost `tf.tidy` that is running, or null outside of one; a model adds up its losses inside one. */
export const activeScope = (): object | null => state().activeScope ?? null;

/** Whether an operation called now would be recorded. */
export const isRecording = (): boolean => {
  const { gradientDepth, kernelDepth } = state();
  return gradientDepth > 0 && kernelDepth === 0;
};

/** Runs `f` with another tape and puts the engine's own back, also when `f` throws. */
function withTape<T>(tape: TapeNode[] | null, f: () => T): T {
  const engine = state();
  const { activeTape: tapeBefore, gradientDepth, kernelDepth } = engine;
  engine.activeTape = tape;
  engine.gradientDepth = tape === null ? 0 : 1;
  engine.kernelDepth = 0;
  try {
    return f();
  } finally {
    Object.assign(engine, { activeTape: tapeBefore, gradientDepth, kernelDepth });
  }
}

/** Runs `f` as if no gradient evaluation were running: nothing is recorded, and `f` may call `tf.grads` even inside of `tf.customGrad`. */
export const withoutTape = <T>(f: () => T): T => withTape(null, f);

export interface Recording<T> {
  result: T;
  nodes: TapeNode[];
  /** Whether the nodes stand on the engine's tape too, which then frees what they saved; else whoever recorded them must. */
  shared: boolean;
}

/**
 * Runs `f` inside a `tf.tidy` and returns the operations it called, each after those whose results it uses. Where a gradient evaluation is
 * recording, they stand on its tape too (so that higher orders see them); elsewhere they stand on a tape of their own.
 */
export function record<T extends tfc.TensorContainer>(f: () => T): Recording<T> {
  const engine = state();
  if (isRecording()) {
    const tape = engine.activeTape as TapeNode[];
    const first = tape.length;
    engine.gradientDepth++;
    try {
      const result = tfc.tidy(f);
      const nodes = inOrder(tape.slice(first));
      tape.splice(first, nodes.length, ...nodes);
      return { result, nodes, shared: true };
    } finally {
      engine.gradientDepth--;
    }
  }
  const nodes: TapeNode[] = [];
  try {
    const result = withTape(nodes, () => tfc.tidy(f));
    return { result, nodes: inOrder(nodes), shared: false };
  } catch (error) {
    freeSaved(nodes); // what had been recorded by then
    throw error;
  }
}

/**
 * Moves each operation behind those whose results it uses. The engine notes the copy of an output that it saves for a gradient (of exp, tanh,
 * sigmoid …) before the operation itself; second derivatives, for which it goes through the tape once, then miss that the copy depends on it.
 */
function inOrder(nodes: TapeNode[]): TapeNode[] {
  const makers = new Map<number, TapeNode>();
  for (const node of nodes) for (const { id } of node.outputs) makers.set(id, node);
  const ordered = new Set<TapeNode>();
  const place = (node: TapeNode) => {
    if (ordered.has(node)) return;
    for (const { id } of Object.values(node.inputs)) {
      const maker = makers.get(id);
      // The copies use nothing else: that is as deep as this goes.
      if (maker !== undefined && maker !== node) place(maker);
    }
    ordered.add(node);
  };
  nodes.forEach(place);
  return [...ordered];
}

/** Puts the tape that is being recorded on in order, see {@link inOrder}: for whoever differentiates once more through saved outputs. */
export function orderTape(): void {
  const tape = state().activeTape;
  if (isRecording() && tape != null) tape.splice(0, tape.length, ...inOrder([...tape]));
}

/** Runs `f`, which a gradient evaluation records, so that an operation of it that has no gradient says what `explain` does where one is wanted. */
export function explaining<T extends tfc.TensorContainer>(f: () => T, explain: (kernelName: string) => string): T {
  const { result, nodes } = record(f);
  for (const node of nodes) {
    node.gradient ??= () => {
      throw new Error(explain(node.kernelName));
    };
  }
  return result;
}

/** Disposes of what `nodes` saved for their gradients. */
export function freeSaved(nodes: readonly TapeNode[]): void {
  for (const { saved } of nodes) for (const tensor of saved) tensor.dispose();
}

/** Has `owned` disposed of when the gradient evaluation that is running is over, whether or not its backward pass comes by. */
export function disposeWithTape(owned: { dispose(): void }): void {
  const engine = state();
  if (engine.gradientDepth === 0 || engine.activeTape == null) {
    throw new Error('tfjs-weight-sharing: disposeWithTape was called outside of a gradient evaluation.');
  }
  engine.activeTape.push({ id: engine.nextTapeNodeId++, kernelName: 'Owned', inputs: {}, outputs: [], saved: [owned] });
}

/** A kernel as the engine runs it. */
export interface KernelCall {
  kernelName: string;
  inputs: NamedTensorMap | Tensor[];
  attrs: NamedAttrMap | undefined;
}

export interface KernelWatcher {
  /** Called instead of a kernel that `f` runs directly (not one that another kernel runs); `run` runs it. */
  onKernel(call: KernelCall, run: () => Tensor | Tensor[]): Tensor | Tensor[];
  /** Called for a clone that a kernel makes, as where the host saves its inputs and outputs for a gradient: before the kernel has ended. */
  onClone(from: Tensor, to: Tensor): void;
  /** Called when values are read synchronously. */
  onRead(dataId: object): void;
}

/** Those that watch now, outermost first. */
const watchers: KernelWatcher[] = [];

/** Tells them of a read that goes past the engine, to the backend's own memory. */
export const announceRead = ({ dataId }: Tensor): void => watchers.forEach((watcher) => watcher.onRead(dataId));

interface EngineMethods {
  runKernelFunc(call: Partial<KernelCall>): Tensor | Tensor[];
  readSync(dataId: object): unknown;
  nextTensorId(): number;
}

/** Runs `f` while `watcher` sees every kernel call and every synchronous read. */
export function watchKernels<T>(watcher: KernelWatcher, f: () => T): T {
  const engine = tfc.engine() as unknown as EngineMethods;
  if (typeof engine.runKernelFunc !== 'function' || typeof engine.readSync !== 'function') {
    throw new Error('tfjs-weight-sharing: this version of @tensorflow/tfjs-core runs kernels elsewhere. Use @tensorflow/tfjs-core ^4.22.0.');
  }
  const before = Object.getOwnPropertyDescriptors(engine);
  const { runKernelFunc, readSync } = engine;
  let inKernel = false;
  engine.runKernelFunc = (call) => {
    const run = () => runKernelFunc.call(engine, call);
    if (inKernel && call.kernelName === 'Identity') {
      const clone = run() as Tensor;
      watcher.onClone((call.inputs as NamedTensorMap)['x'] as Tensor, clone);
      return clone;
    }
    // The functions of `customGrad` come by without a name; the kernels inside of them are seen.
    if (inKernel || call.kernelName === undefined) return run();
    return watcher.onKernel(call as KernelCall, () => {
      inKernel = true;
      try {
        return run();
      } finally {
        inKernel = false;
      }
    });
  };
  engine.readSync = (dataId) => {
    if (!inKernel) watcher.onRead(dataId);
    return readSync.call(engine, dataId);
  };
  watchers.push(watcher);
  try {
    return f();
  } finally {
    watchers.pop();
    for (const name of ['runKernelFunc', 'readSync'] as const) {
      if (before[name]) Object.defineProperty(engine, name, before[name]);
      else delete (engine as Partial<EngineMethods>)[name];
    }
  }
}

/** A number above the ids of all tensors that exist and below those of all that will be made. */
export const tensorMark = (): number => (tfc.engine() as unknown as EngineMethods).nextTensorId();
