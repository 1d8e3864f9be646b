/** Every hyper-parameter of the example in one place, chosen on held-out training text. */
import type { Level } from '../common/text.js';
import type { TrainingSettings } from '../common/text_model.js';

export const VARIANTS = ['untied', 'tied', 'augmented'] as const;
export type VariantName = (typeof VARIANTS)[number];

export interface Settings {
  model: {
    /** Length of the vectors, in and out. */
    width: number;
    /** Channels of the convolution. */
    hidden: number;
    /** Tokens that a prediction sees. */
    context: number;
    /** Predictions in a row of a batch. */
    length: number;
    /** Of vectors, of hidden channels, and before the output. */
    dropout: number;
  };
  training: TrainingSettings;
  /** The augmented loss of the variant of that name. */
  augmented: { temperature: number; gamma: number };
}

const WORDS: Settings = {
  model: { width: 128, hidden: 256, context: 5, length: 35, dropout: 0.4 },
  training: { epochs: 20, patience: 2, batchSize: 16, learningRate: 1e-3 },
  augmented: { temperature: 20, gamma: 0.65 },
};

const CHARACTERS: Settings = {
  model: { width: 64, hidden: 256, context: 12, length: 64, dropout: 0.1 },
  training: { epochs: 8, patience: 2, batchSize: 32, learningRate: 2e-3 },
  augmented: { temperature: 20, gamma: 0.65 },
};

/** A smaller network for the sentences that the example makes up: the command without options ends soon, also on wasm. */
const GENERATED: Settings = {
  model: { ...WORDS.model, width: 48, hidden: 96, context: 4, length: 20, dropout: 0.2 },
  training: { ...WORDS.training, epochs: 6 },
  augmented: WORDS.augmented,
};

export const settingsFor = (level: Level, generated: boolean): Settings => (generated ? GENERATED : level === 'word' ? WORDS : CHARACTERS);
