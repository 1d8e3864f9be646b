/** Every hyper-parameter of the example in one place, chosen on held-out text. */
import type { TrainingSettings } from '../common/text_model.js';

/** No layer shares attention, each two neighbours do, and those that a comparison of their attention weights found alike. */
export const VARIANTS = ['unshared', 'pairs', 'chosen'] as const;
export type VariantName = (typeof VARIANTS)[number];

export const LABELS: Record<VariantName, string> = { unshared: 'unshared', pairs: 'adjacent pairs', chosen: 'chosen by divergence' };

export interface Settings {
  model: {
    width: number;
    heads: number;
    layers: number;
    dropout: number;
    /** Predictions in a row of a batch. */
    length: number;
  };
  training: TrainingSettings & {
    /** Rows of a batch's length that an epoch sees. */
    rows: number;
  };
  sharing: {
    /** Least similarity of a block, 1 − divergence in nats. At 0.9 nothing is shared, at 0.72 two pairs. */
    threshold: number;
    /** Epoch after which layers are compared for the first time; then after each. At first all of them look everywhere, and are alike. */
    from: number;
    /** Rows of the held-out text on which attention is compared. */
    rows: number;
  };
  decoding: {
    /** Sequences at a time. */
    batch: number;
    /** Positions that are there when timing begins. */
    prompt: number;
    /** Steps of decoding that are timed in one go. */
    steps: number;
    rounds: number;
  };
}

export const SETTINGS: Settings = {
  model: { width: 64, heads: 4, layers: 6, dropout: 0, length: 96 },
  training: { epochs: 6, patience: 6, batchSize: 16, learningRate: 2e-3, rows: 1600 },
  sharing: { threshold: 0.68, from: 3, rows: 64 },
  decoding: { batch: 8, prompt: 64, steps: 16, rounds: 41 },
};

/** For the sentences that the example makes up. */
export const GENERATED: Settings = { ...SETTINGS, model: { ...SETTINGS.model, width: 32, length: 24 }, training: { ...SETTINGS.training, epochs: 4, rows: 800 }, sharing: { ...SETTINGS.sharing, from: 2 }, decoding: { ...SETTINGS.decoding, prompt: 16, steps: 8, rounds: 9 } };

/** Blocks of two layers, and a last one of one where their number is odd. */
export const pairs = (layers: number): number[] => [...Array<number>(layers >> 1).fill(2), ...(layers % 2 === 1 ? [1] : [])];
