/** Every hyper-parameter of the job in one place, chosen on held-out training images. */
import type { Settings } from '../common/compression/settings.js';

export const MNIST_SETTINGS: Settings = {
  baseline: { epochs: 20, batchSize: 256, learningRate: 1e-3, finalLearningRate: 1e-4 },
  retraining: {
    epochs: 42,
    batchSize: 256,
    // It stays while weights gather at zero: falling rates leave a network that needs its many small weights together.
    learningRate: 5e-4,
    finalLearningRate: 1e-4,
    labelSmoothing: 0.1,
    incremental: [[32, 0], [36, 0.5], [38, 0.75], [40, 0.9]], // prettier-ignore
    mixtures: 'one',
    components: 17,
    meansRate: 1e-4,
    logVariancesRate: 3e-3,
    mixingRate: 3e-3,
    tau: 2e-2,
    finalTauShare: 1,
    zeroMixing: 0.99,
    learnZeroMixing: false,
    zeroRate: 2,
    othersRate: 0.1,
    mergeThreshold: 0.5,
    values: 'means',
    biases: true,
  },
  comparison: { sparsities: [0.9, 0.93, 0.95], retrainEpochs: 5, clusters: [4, 8, 16, 32], tolerance: 0.1 },
};

/** A shorter schedule for the digits that the example draws: the command without options ends within three minutes on wasm. */
export const RENDERED_SETTINGS: Settings = {
  baseline: { ...MNIST_SETTINGS.baseline, epochs: 8, batchSize: 128, learningRate: 1e-3, finalLearningRate: 1e-4 },
  // Few images and few steps: weights and mixture move faster, so that both have converged when training ends.
  retraining: {
    ...MNIST_SETTINGS.retraining,
    epochs: 20,
    batchSize: 128,
    learningRate: 2e-3,
    finalLearningRate: 1e-4,
    incremental: [[14, 0], [16, 0.5], [18, 0.8]], // prettier-ignore
    tau: 2e-2,
    finalTauShare: 1,
    zeroMixing: 0.98,
    meansRate: 1e-3,
    logVariancesRate: 1e-2,
    mixingRate: 1e-2,
    biases: false,
  },
  comparison: { ...MNIST_SETTINGS.comparison, sparsities: [0.93], retrainEpochs: 2, clusters: [4, 8, 16] },
};
