/** Every hyper-parameter of the job in one place, chosen on held-out training images. */
import type { GmmPriorArgs, GrOWLArgs } from 'tfjs-weight-sharing';
import type { RowClustering } from './clustering.js';
import type { NetworkName } from './networks.js';

export const METHODS = ['plain', 'weightDecay', 'groupLasso', 'growl', 'growlL2'] as const;
export type Method = (typeof METHODS)[number];

export const METHOD_TITLES: Record<Method, string> = {
  plain: 'none',
  weightDecay: 'weight decay',
  groupLasso: 'group lasso',
  growl: 'GrOWL',
  growlL2: 'GrOWL + L2',
};

/** What a method puts on the kernels. */
export interface Penalty {
  growl: GrOWLArgs | null;
  /** Decoupled, on the same kernels. */
  weightDecay: number;
}

export interface Schedule {
  epochs: number;
  /** Momentum 0.9; stays for half of the epochs, then falls linearly to `finalLearningRate`. */
  learningRate: number;
  finalLearningRate: number;
}

export interface NetworkSettings {
  batchSize: number;
  training: Schedule;
  /** The second stage: rows tied. */
  retraining: Schedule;
  clustering: RowClustering;
  methods: Partial<Record<Method, Penalty>>;
}

export interface ParetoSettings {
  /** Factors on the penalty of GrOWL + L2 on LeNet-300-100. */
  strengths: number[];
  /** Of the prior. */
  taus: number[];
  prior: Omit<GmmPriorArgs, 'trainingExamples' | 'tau'>;
  /** `zeroMixing` where rows are tied already: few weights are left that could be zero. */
  tiedZeroMixing: number;
  /** Adam. The rate falls, and quantising in parts begins, at the first entry of `incremental`. */
  retraining: Schedule & { incremental: [epoch: number, share: number][] };
}

export interface Settings {
  networks: Record<NetworkName, NetworkSettings>;
  /** Training images of the VGG-like network. */
  vggImages: number;
  correlated: CorrelatedSettings;
  pareto: ParetoSettings;
}

export interface CorrelatedSettings {
  factors: number;
  copies: number;
  noiseColumns: number;
  /** Standard deviation of the noise on each copy; a factor has 1. */
  noise: number;
  samples: number;
  epochs: number;
  retrainEpochs: number;
  batchSize: number;
  learningRate: number;
  preference: number;
  /** The one with the least held-out loss after both stages is taken. */
  candidates: { groupLasso: GrOWLArgs[]; growl: GrOWLArgs[] };
}

const strengths = [0.5, 1, 2, 4];
const CORRELATED: CorrelatedSettings = {
  factors: 8, copies: 5, noiseColumns: 40, noise: 0.3, samples: 1000,
  epochs: 60, retrainEpochs: 60, batchSize: 50, learningRate: 0.02, preference: 0.7,
  candidates: {
    groupLasso: strengths.map((lambda1) => ({ schedule: 'groupLasso', lambda1 })),
    growl: strengths.map((lambda1) => ({ schedule: 'oscar', lambda1, lambda2: 0.02 * lambda1 })),
  },
}; // prettier-ignore

const groupLasso = (lambda1: number): GrOWLArgs => ({ schedule: 'groupLasso', lambda1 });
const steep = (lambda1: number, lambda2: number): GrOWLArgs => ({ schedule: 'pldSteep', lambda1, lambda2, transition: 0.5 });
/** The five of the paper. */
const methods = (lambda1: number, lambda2: number, lasso: number, weightDecay: number): NetworkSettings['methods'] => ({
  plain: { growl: null, weightDecay: 0 },
  weightDecay: { growl: null, weightDecay: 10 * weightDecay },
  groupLasso: { growl: groupLasso(lasso), weightDecay: 0 },
  growl: { growl: steep(lambda1, lambda2), weightDecay: 0 },
  growlL2: { growl: steep(lambda1, lambda2), weightDecay },
});

export const MNIST_SETTINGS: Settings = {
  networks: {
    mlp: {
      batchSize: 256,
      training: { epochs: 13, learningRate: 0.02, finalLearningRate: 0.002 },
      retraining: { epochs: 20, learningRate: 0.01, finalLearningRate: 0.0005 },
      // Fewer than are alike, 784 / 32 = 24.5: rows are tied that have much in common, and retraining makes up for it.
      clustering: { wardClusters: { dense_1: 32 } },
      methods: methods(5, 0.005, 7, 0.02),
    },
    // Of five settings of GrOWL + L2, by the error of seed 1 on held-out images at about this ratio.
    lenet: {
      batchSize: 256,
      training: { epochs: 16, learningRate: 0.02, finalLearningRate: 0.002 },
      retraining: { epochs: 28, learningRate: 0.01, finalLearningRate: 0.0005 },
      clustering: { wardClusters: { dense_1: 40, dense_2: 60 } },
      methods: methods(3, 0.004, 4, 0.02),
    },
    // Of two strengths of each penalty, by held-out images. With a steeper GrOWL no row of the dense kernel is left.
    vgg: {
      batchSize: 128,
      training: { epochs: 10, learningRate: 0.02, finalLearningRate: 0.002 },
      retraining: { epochs: 8, learningRate: 0.005, finalLearningRate: 0.0005 },
      clustering: { wardClusters: { conv_2: 6, conv_3: 12, conv_4: 12, dense_1: 128 } },
      methods: { plain: { growl: null, weightDecay: 0 }, groupLasso: { growl: groupLasso(2), weightDecay: 0 }, growl: { growl: steep(1.5, 0.0015), weightDecay: 0 } },
    },
  },
  vggImages: 6000,
  correlated: CORRELATED,
  pareto: {
    strengths: [0.7, 1.2],
    taus: [1e-2, 2e-2],
    // As in compress-mnist, for fewer epochs.
    prior: {
      components: 17, zeroMixing: 0.98, learningRates: { means: 2e-4, logVariances: 5e-3, mixingLogits: 5e-3 },
      zeroHyperprior: { shape: 5000, rate: 2 }, othersHyperprior: { shape: 250, rate: 0.1 },
    }, // prettier-ignore
    tiedZeroMixing: 0.6,
    retraining: { epochs: 28, learningRate: 7e-4, finalLearningRate: 1e-4, incremental: [[20, 0], [23, 0.5], [25, 0.75], [27, 0.9]] },
  },
}; // prettier-ignore

/** The digits that the example draws: fewer images, fewer epochs; they want less tying than MNIST does for the ratio of the paper. */
export const DRAWN_SETTINGS: Settings = {
  ...MNIST_SETTINGS,
  networks: {
    ...MNIST_SETTINGS.networks,
    mlp: {
      ...MNIST_SETTINGS.networks.mlp,
      batchSize: 128,
      training: { epochs: 12, learningRate: 0.02, finalLearningRate: 0.004 },
      retraining: { epochs: 4, learningRate: 0.01, finalLearningRate: 0.001 },
      clustering: { preference: 0.1 },
    },
  },
  correlated: { ...CORRELATED, epochs: 40, retrainEpochs: 40, candidates: { groupLasso: CORRELATED.candidates.groupLasso.slice(0, 3), growl: CORRELATED.candidates.growl.slice(0, 3) } },
};
