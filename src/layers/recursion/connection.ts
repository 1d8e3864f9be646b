/** How the input comes back into a recursion (pure): what its block is given, and what is added to what the block makes of it. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';

/**
 * With body f, input x and h₀ = x: `none` h_d = f(h_{d−1}); `residual` h_d = f(h_{d−1}) + h_{d−1} (LruNet, MemNet's units); `inputSkip`
 * h_d = f(h_{d−1}) + x (DRRN); `dense` h_d = f([x, h_1 … h_{d−1}]) (RDN).
 */
export type Connection = 'none' | 'residual' | 'inputSkip' | 'dense';
export const CONNECTIONS: readonly Connection[] = ['none', 'residual', 'inputSkip', 'dense'];

/** Channels that the block sees at each recursion. */
export const blockInputs = (connection: Connection, recursions: number, inputs: number, growth: number): number[] =>
  Array.from({ length: recursions }, (_, d) => (connection === 'dense' ? inputs + d * growth : inputs));

/** h_d of the block f, from x and h_1 … h_{d−1}, of which all but `dense` need the last only. */
export function connected(connection: Connection, f: (h: Tensor) => Tensor, x: Tensor, states: readonly Tensor[]): Tensor {
  const h = states.at(-1) ?? x;
  if (connection === 'dense') return f(states.length === 0 ? x : tfc.concat([x, ...states], x.rank - 1));
  const y = f(h);
  if (connection === 'none') return y;
  return tfc.add(y, connection === 'residual' ? h : x);
}
