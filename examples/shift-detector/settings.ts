/** Every hyper-parameter of the comparison, chosen on validation cases. */
import type { GmmPriorArgs } from 'tfjs-weight-sharing';

export const METHODS = ['back-propagation', 'weight decay', 'soft sharing, 5', 'soft sharing, 10'] as const;
export type Method = (typeof METHODS)[number];

export interface Settings {
  cases: { train: number; validation: number; test: number };
  hidden: number;
  /** Epochs of `fit`, each of which passes the training cases `passes` times as one batch. */
  epochs: number;
  passes: number;
  /** Adam. */
  learningRate: number;
  /** Strengths to choose from by validation: L2 penalty, or τ, of which 1 is the posterior. */
  strengths: Record<Method, number[]>;
  prior: Omit<GmmPriorArgs, 'trainingExamples' | 'components' | 'tau' | 'dataNoise'>;
}

export const SETTINGS: Settings = {
  cases: { train: 100, validation: 900, test: 1000 },
  hidden: 10,
  epochs: 40,
  passes: 50,
  learningRate: 1e-2,
  strengths: {
    'back-propagation': [0],
    'weight decay': [1e-3, 3e-3, 1e-2],
    'soft sharing, 5': [0.7, 1, 1.4],
    'soft sharing, 10': [0.7, 1, 1.4],
  },
  prior: {
    initialStd: 0.5,
    zeroMixing: 0.5,
    learnZeroMixing: true,
    // Weak beside two hundred weights: the paper has none, but a component must not shrink onto a single weight.
    hyperprior: 'gammaPrecision',
    zeroHyperprior: { shape: 2, rate: 0.01 },
    othersHyperprior: { shape: 2, rate: 0.01 },
    learningRates: { means: 1e-2, logVariances: 1e-2, mixingLogits: 1e-2 },
    tauWarmup: 100,
  },
};
