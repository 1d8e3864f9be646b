/** Every hyper-parameter of the example in one place, chosen on held-out training images. */

/** The equilibrium of a cell; the cell applied a fixed number of times; different cells, one after the other. */
export const VARIANTS = ['equilibrium', 'tied', 'explicit'] as const;
export type VariantName = (typeof VARIANTS)[number];

export const LABELS: Record<VariantName, string> = { equilibrium: 'equilibrium', tied: 'weight-tied', explicit: 'explicit' };

export interface Settings {
  model: {
    /** Channels of the state, of 28/stride × 28/stride positions. */
    filters: number;
    /** Of the convolution before the cell; divides 28. */
    stride: number;
    /** Times that the weight-tied network applies its cell. */
    tiedDepth: number;
    /** Cells of the explicit network, which have fewer channels: as many as give it no fewer parameters than the others. */
    explicitDepth: number;
  };
  solver: {
    /** Relative residual, forward and backward. */
    tolerance: number;
    maxIterations: number;
  };
  training: {
    epochs: number;
    batchSize: number;
    /** Adam; falls to 0 along half a cosine. */
    learningRate: number;
  };
  /** What is measured of the trained networks. */
  figures: {
    /** Iterations of each solver. */
    iterations: number;
    /** Depths at which memory is measured. */
    depths: number[];
  };
}

export const MNIST_SETTINGS: Settings = {
  model: { filters: 16, stride: 4, tiedDepth: 8, explicitDepth: 4 },
  solver: { tolerance: 1e-2, maxIterations: 30 },
  training: { epochs: 6, batchSize: 128, learningRate: 4e-3 },
  figures: { iterations: 40, depths: [1, 2, 4, 8, 16, 32] },
};

export const RENDERED_SETTINGS: Settings = { ...MNIST_SETTINGS, training: { ...MNIST_SETTINGS.training, epochs: 8 } };

/** Images that the example draws: with them the command ends within about two minutes on the native backend. */
export const RENDERED_COUNTS = { train: 5_000, validation: 1_000, test: 4_000 };
