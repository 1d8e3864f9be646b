/** Every hyper-parameter of the job in one place, chosen on held-out training images. */
import type { Settings } from '../common/compression/settings.js';

export const LENET5_SETTINGS: Settings = {
  baseline: { epochs: 8, batchSize: 128, learningRate: 1e-3, finalLearningRate: 1e-4 },
  retraining: {
    epochs: 30,
    batchSize: 128,
    learningRate: 5e-4,
    finalLearningRate: 5e-5,
    labelSmoothing: 0.05,
    incremental: [[16, 0], [19, 0.5], [22, 0.75], [24, 0.9], [26, 0.97], [28, 0.99]], // prettier-ignore
    mixtures: 'one',
    components: 17,
    meansRate: 2e-4,
    logVariancesRate: 5e-3,
    mixingRate: 3e-3,
    tau: 1.27e-2,
    finalTauShare: 0.315,
    zeroMixing: 0.995,
    learnZeroMixing: false,
    zeroRate: 2,
    othersRate: 0.1,
    mergeThreshold: 0.5,
    values: 'means',
    biases: true,
  },
  comparison: { sparsities: [0.95, 0.97, 0.98], retrainEpochs: 3, clusters: [4, 8, 16, 32], tolerance: 0.1 },
};

/** A shorter schedule for the digits that the example draws. */
export const RENDERED_SETTINGS: Settings = {
  baseline: { ...LENET5_SETTINGS.baseline, epochs: 4 },
  // Few images and few steps: weights and mixture move faster, so that both have converged when training ends.
  retraining: {
    ...LENET5_SETTINGS.retraining,
    epochs: 20,
    labelSmoothing: 0.1,
    learningRate: 2e-3,
    finalLearningRate: 1e-4,
    incremental: [[14, 0], [16, 0.5], [18, 0.8]], // prettier-ignore
    meansRate: 1e-3,
    logVariancesRate: 1e-2,
    mixingRate: 1e-2,
  },
  comparison: { ...LENET5_SETTINGS.comparison, sparsities: [0.95], retrainEpochs: 2, clusters: [4, 8, 16] },
};
