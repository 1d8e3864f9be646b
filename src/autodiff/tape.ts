/** The one place that looks into the engine's state (`tf.engine().state`). */
import * as tfc from '@tensorflow/tfjs-core';

interface EngineState {
  /** Set when the first recording begins. */
  activeTape?: object[] | null;
  activeScope?: object | null;
  gradientDepth: number;
  scopeStack: object[];
}

function state(): EngineState {
  const found = (tfc.engine() as unknown as { state?: EngineState }).state;
  if (found === undefined || !('gradientDepth' in found) || !('scopeStack' in found)) {
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
