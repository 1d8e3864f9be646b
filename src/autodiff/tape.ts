/** The one place that looks into the engine's state (`tf.engine().state`). */
import * as tfc from '@tensorflow/tfjs-core';

interface EngineState {
  activeTape: object[] | null;
}

/**
 * The tape of the gradient evaluation that is running, or null outside of one. Its identity tells evaluations apart: every
 * outermost `tf.grads` / `optimizer.minimize` records on an array of its own.
 */
export function activeTape(): object | null {
  const state = (tfc.engine() as unknown as { state?: EngineState }).state;
  if (state === undefined || !('activeTape' in state)) {
    throw new Error(
      'tfjs-weight-sharing: this version of @tensorflow/tfjs-core has no engine().state.activeTape. Use @tensorflow/tfjs-core ^4.22.0.',
    );
  }
  return state.activeTape;
}
