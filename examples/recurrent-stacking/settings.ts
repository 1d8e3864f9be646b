/** Every hyper-parameter of the example in one place, chosen on held-out text. */
import type { TrainingSettings } from '../common/text_model.js';

/** Which of its layers a network uses at which depth. */
export const VARIANTS = ['one', 'shared', 'groups2', 'groups3', 'distinct'] as const;
export type VariantName = (typeof VARIANTS)[number];

export interface Settings {
  model: {
    width: number;
    heads: number;
    /** Layers of the deep networks, in depth. */
    depth: number;
    dropout: number;
    /** Predictions in a row of a batch. */
    length: number;
  };
  training: TrainingSettings & {
    /** Characters of the training text that are used; 0: all. */
    tokens: number;
  };
  compression: {
    /** Of a weight, for the file that is made smaller without training. */
    bits: number;
  };
}

export const SETTINGS: Settings = {
  model: { width: 64, heads: 4, depth: 6, dropout: 0, length: 64 },
  training: { epochs: 1, patience: 2, batchSize: 16, learningRate: 2e-3, tokens: 0 },
  compression: { bits: 5 },
};

/** For the sentences that the example makes up. */
export const GENERATED: Settings = { ...SETTINGS, model: { ...SETTINGS.model, width: 32, length: 24 }, training: { ...SETTINGS.training, epochs: 2 } };

/** Distinct layers and applications in depth. */
export function depthOf(variant: VariantName, depth: number): { layers: number; steps: number } {
  if (variant === 'one') return { layers: 1, steps: 1 };
  const layers = { shared: 1, groups2: 2, groups3: 3, distinct: depth }[variant];
  if (depth % layers !== 0) throw new Error(`recurrent-stacking: model.depth must be a multiple of 6 for groups of layers, got ${depth}.`);
  return { layers, steps: depth };
}

export function labelOf(variant: VariantName, depth: number): string {
  const { layers, steps } = depthOf(variant, depth);
  if (variant === 'one') return '1 layer';
  if (variant === 'distinct') return `${depth} layers`;
  return variant === 'shared' ? `1 layer ${depth} times` : `${layers} layers ${steps / layers} times each`;
}
