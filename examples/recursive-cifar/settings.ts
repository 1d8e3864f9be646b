/** Every hyper-parameter of the example in one place: set by time, and where chosen, on held-out training images. */

export const PARTS = ['lru', 'templates', 'dynamic', 'banks', 'eigen'] as const;
export type Part = (typeof PARTS)[number];

export const PART_TITLES: Record<Part, string> = {
  lru: 'LruNet: recursions',
  templates: 'Convolutions made of K templates',
  dynamic: 'Depth by gates',
  banks: 'Banks of parameters',
  eigen: 'Layers, maps and parameters',
};

interface PartSettings {
  epochs: number;
}

export interface Settings {
  data: {
    /** Training images, at most; besides those held out. */
    train: number;
    heldOut: number;
    /** Test images, at most: the first. */
    test: number;
  };
  training: {
    batchSize: number;
    /** Of Adam; falls to 0 along half a cosine. */
    learningRate: number;
    /** Images of objects are mirrored at random, and moved by so many pixels at most. */
    shift: number;
  };
  lru: PartSettings & {
    /** N of each block. */
    recursions: number[];
    /** 1: the published channels. */
    width: number;
    dropout: number;
  };
  templates: PartSettings & {
    /** K. */
    templates: number[];
    /** Channels of each stage. */
    widths: number[];
    /** Convolutions of a stage that share a bank: an even number, two for each residual block. */
    layers: number;
  };
  dynamic: PartSettings & {
    /** Fixed numbers of loops; a gate decides up to the last. */
    depths: number[];
    /** Of the mean share of loops, added to the loss; one gated network for each. */
    costs: number[];
    width: number;
  };
  banks: PartSettings & {
    /** Weights of the network for each number of its banks. */
    budgets: number[];
    /** All combinations × groupings × distillation at all budgets, instead of one changed at a time. */
    product: boolean;
    /** Channels of each pair of convolutions. */
    widths: number[];
    /** Windows of the bank that a layer combines. */
    candidates: number;
    /** Of layers, each with a bank, unless there is one bank for all. */
    groups: number;
    /** By which the grouping is learned. */
    probeEpochs: number;
    /** Of distillation: T, and the weight of the labels. The teacher is the network without sharing. */
    temperature: number;
    alpha: number;
  };
  eigen: PartSettings & {
    maps: number[];
    layers: number[];
  };
}

/** By processor time: with 3,500 images each part ends within about 15 minutes on one quiet core, for each set. */
export const SETTINGS: Settings = {
  data: { train: 3500, heldOut: 500, test: 5000 },
  training: { batchSize: 64, learningRate: 4e-3, shift: 3 },
  lru: { epochs: 6, recursions: [1, 4, 14], width: 0.25, dropout: 0.1 },
  templates: { epochs: 10, templates: [1, 2, 4], widths: [16, 32, 64], layers: 6 },
  dynamic: { epochs: 8, depths: [1, 2, 4, 6], costs: [0.03, 0.1, 0.3], width: 32 },
  banks: { epochs: 6, budgets: [2, 8, 20], product: false, widths: [16, 32, 64], candidates: 2, groups: 3, probeEpochs: 2, temperature: 4, alpha: 0.1 },
  eigen: { epochs: 8, maps: [16, 32, 64], layers: [1, 2, 4, 8] },
};

/** For the digits that the example draws: the command without options ends soon. */
export const DRAWN: Settings = {
  data: { train: 1000, heldOut: 300, test: 500 },
  training: { batchSize: 50, learningRate: 1e-2, shift: 0 },
  lru: { epochs: 2, recursions: [1, 3], width: 0.125, dropout: 0 },
  templates: { epochs: 2, templates: [1, 2], widths: [8, 16], layers: 4 },
  dynamic: { epochs: 2, depths: [1, 3], costs: [0.1], width: 12 },
  banks: { epochs: 2, budgets: [2, 8], product: false, widths: [8, 16], candidates: 2, groups: 2, probeEpochs: 1, temperature: 4, alpha: 0.1 },
  eigen: { epochs: 2, maps: [8, 16], layers: [1, 3] },
};
