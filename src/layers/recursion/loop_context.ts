/** What the parts of a recursion are told: which one it is, and who owns weights. */
import type { Tensor1D } from '@tensorflow/tfjs-core';
import type { Constraint, Initializer, InitializerIdentifier, LayerVariable, Regularizer } from '../../host.js';

export interface LoopContext {
  /** From 0. */
  recursion: number;
  training: boolean;
  /** 1 for each sample that a gate let in, [batch]; null where all are in. */
  entered: Tensor1D | null;
  /** False where a recursion is computed once more for its gradient: running statistics then stay. */
  first: boolean;
}

export interface WeightOptions {
  regularizer?: Regularizer | null;
  constraint?: Constraint | null;
  trainable?: boolean;
}

/** The layer that owns all weights, as its parts see it. */
export interface WeightOwner {
  add(name: string, shape: number[], initializer: Initializer | InitializerIdentifier, options?: WeightOptions): LayerVariable;
}
