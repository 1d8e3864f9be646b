/** Every hyper-parameter of the example in one place. */
import type { TrainingSettings } from '../common/text_model.js';

/** The equilibrium of a Transformer cell; the cell applied a fixed number of times; as many different cells, one after the other. */
export const VARIANTS = ['equilibrium', 'tied', 'standard'] as const;
export type VariantName = (typeof VARIANTS)[number];

export const LABELS: Record<VariantName, string> = { equilibrium: 'equilibrium', tied: 'weight-tied', standard: 'standard' };

export interface Settings {
  model: {
    width: number;
    heads: number;
    /** Applications of the cell in the weight-tied network, cells of the standard one. */
    depth: number;
    /** Predictions in a row of a batch. */
    length: number;
  };
  solver: {
    /** Relative residual, forward and backward. */
    tolerance: number;
    maxIterations: number;
  };
  /** What keeps the cell near a contraction. */
  stability: {
    /** γ of the penalty on the norm of the Jacobian. */
    jacobianPenalty: number;
    /** Of the cell's kernels, in all networks: none, weight or spectral. */
    normalization: string;
    /** First epochs in which the equilibrium is trained as the weight-tied network. */
    unrolledEpochs: number;
  };
  training: TrainingSettings & {
    /** Rows of the training text that an epoch sees; 0: all. */
    rows: number;
  };
  /** What is measured of the trained networks. */
  figures: {
    /** Iterations of each solver. */
    iterations: number;
    /** Depths at which memory is measured. */
    depths: number[];
  };
}

export const SETTINGS: Settings = {
  model: { width: 64, heads: 4, depth: 6, length: 64 },
  solver: { tolerance: 1e-2, maxIterations: 24 },
  // Of penalties 0, 0.1 and 1 and spectral normalisation, by held-out text after 300 steps: 1 and the normalisation hold learning up; without a penalty the text is predicted a little
  // better, but iterations rise from epoch to epoch and plain iteration no longer converges.
  stability: { jacobianPenalty: 0.1, normalization: 'none', unrolledEpochs: 1 },
  training: { epochs: 8, patience: 3, batchSize: 16, learningRate: 2e-3, rows: 1600 },
  figures: { iterations: 40, depths: [1, 2, 4, 8, 16, 32] },
};

/** For the sentences that the example makes up. */
export const GENERATED: Settings = {
  ...SETTINGS,
  model: { width: 32, heads: 4, depth: 4, length: 24 },
  training: { ...SETTINGS.training, epochs: 3, rows: 1200 },
};
