/** What every hyper-parameter of the compression examples means, and how the command line changes one. */

export interface Settings {
  baseline: {
    epochs: number;
    batchSize: number;
    /** Adam; falls linearly to `finalLearningRate` over the second half of the epochs. */
    learningRate: number;
    finalLearningRate: number;
  };
  retraining: {
    epochs: number;
    batchSize: number;
    /** Adam's rate for the network's own weights; it stays until the first part is quantised, then falls linearly to `finalLearningRate`. */
    learningRate: number;
    finalLearningRate: number;
    /** Targets are (1 − s)·one-hot + s/10: retraining goes on long after every training image is right, and would overfit. */
    labelSmoothing: number;
    /** Pairs [epoch, share]: from that epoch on the zeros and that share of the other weights are quantised, while the rest trains. */
    incremental: [number, number][];
    /** One mixture over all weights, or one for each layer. */
    mixtures: 'one' | 'perLayer';
    components: number;
    /** Adam's rates for the mixture itself. They have to bring σ from 0.25 to about 0.01 within the epochs given. */
    meansRate: number;
    logVariancesRate: number;
    mixingRate: number;
    tau: number;
    /** τ falls to this share of it in the epoch of the second part: what is held cannot leave, and the rest may make up for it. */
    finalTauShare: number;
    /** Mixing proportion of the zero component. */
    zeroMixing: number;
    /** It is only where that proportion begins: for mixtures by layer, as layers are not equally sparse. */
    learnZeroMixing: boolean;
    /** Rate b of the Gamma(5000, b) on the zero component's precision: the smaller, the tighter the spike may become. */
    zeroRate: number;
    /** Rate b of the Gamma(250, b) on the other components' precisions: σ ≈ √(b / 249). */
    othersRate: number;
    /** Components nearer than this symmetric KL divergence are merged. */
    mergeThreshold: number;
    /** What a weight becomes: the mean of its component, or the mean of the weights assigned to it. */
    values: 'means' | 'centroids';
    /** Whether the prior takes biases in, so that they are quantised too. */
    biases: boolean;
  };
  /** The methods it is compared with, all on the same baseline and through the same file format. */
  comparison: {
    /** Fractions of weights that magnitude pruning removes; the smallest file within `tolerance` is taken. */
    sparsities: number[];
    /** Epochs of retraining the weights that pruning left. */
    retrainEpochs: number;
    /** Cluster counts of k-means per layer, non-zero clusters where pruned. */
    clusters: number[];
    /** Percentage points of validation error that a choice may cost. */
    tolerance: number;
  };
}

export interface RateSchedule {
  epochs: number;
  learningRate: number;
  finalLearningRate: number;
}

/** A rate that stays to epoch `start` (counted from 0), then falls linearly to `last` in the final one. */
export function learningRateAt(epoch: number, { epochs, learningRate: first, finalLearningRate: last }: RateSchedule, start = epochs / 2): number {
  return epoch <= start ? first : first + ((last - first) * (epoch - start)) / (epochs - 1 - start);
}

/** Settings with `section.name=value` assignments applied; unknown names and values of another kind are errors. */
export function overrideSettings(settings: Settings, assignments: readonly string[]): Settings {
  const result = structuredClone(settings) as unknown as Record<string, Record<string, unknown>>;
  for (const assignment of assignments) {
    const [, section, name, text] = /^(\w+)\.(\w+)=(.*)$/.exec(assignment) ?? [];
    if (section === undefined || !(name in (result[section] ?? {}))) {
      const known = Object.entries(result).flatMap(([key, values]) => Object.keys(values).map((inner) => `${key}.${inner}`));
      throw new Error(`--set: expected section.name=value with a known name, got '${assignment}'. Names: ${known.join(', ')}.`);
    }
    const old = result[section][name];
    const value = typeof old === 'string' ? text : parseJson(text);
    if (kind(value) !== kind(old)) throw new Error(`--set: ${section}.${name} must be a ${kind(old)} such as ${JSON.stringify(old)}, got '${text}'.`);
    result[section][name] = value;
  }
  return result as unknown as Settings;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function kind(value: unknown): string {
  return Array.isArray(value) ? 'list' : typeof value;
}
