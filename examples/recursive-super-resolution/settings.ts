/** Every hyper-parameter of the example in one place. Chosen beforehand and, where at all, on held-out training images. */

export const VARIANTS = ['untied', 'drrn', 'drcn', 'memNet', 'rdn'] as const;
export type VariantName = (typeof VARIANTS)[number];

export const LABELS: Record<VariantName, string> = { untied: 'untied DRRN', drrn: 'DRRN', drcn: 'DRCN', memNet: 'MemNet', rdn: 'RDN' };

export const SCALES = [2, 3, 4] as const;

export interface Settings {
  model: {
    /** Channels of DRRN, DRCN and MemNet. */
    filters: number;
    /** Residual units of DRRN, tied and untied. */
    units: number;
    /** Recursions of DRCN. */
    recursions: number;
    /** Memory blocks of MemNet, and recursions in each. */
    memoryBlocks: number;
    memoryRecursions: number;
    /** Dense blocks of RDN, convolutions in each, and their channels. */
    denseBlocks: number;
    denseLayers: number;
    denseFilters: number;
  };
  training: {
    /** Minutes of processor time that each network trains, all threads together. */
    minutes: number;
    batchSize: number;
    /** Side of the patches. */
    patch: number;
    /** Of Adam at the start; it falls to a hundredth along a cosine. */
    learningRate: number;
    /** Largest norm of all gradients together; greater ones are scaled down. */
    clip: number;
    /** Share of the budget until the supervision of recursions is gone. */
    supervision: number;
    /** How often held-out images are looked at: the weights that are best on them are kept. */
    looks: number;
  };
  data: {
    /** Training images that are held out. */
    heldOut: number;
  };
}

export const SETTINGS: Settings = {
  model: { filters: 32, units: 11, recursions: 9, memoryBlocks: 3, memoryRecursions: 3, denseBlocks: 3, denseLayers: 4, denseFilters: 24 },
  training: { minutes: 20, batchSize: 8, patch: 24, learningRate: 2e-3, clip: 0.1, supervision: 0.6, looks: 10 },
  data: { heldOut: 8 },
};

/** For the images that the example makes up: the command without options ends soon. */
export const GENERATED: Settings = {
  model: { ...SETTINGS.model, filters: 12, units: 11, recursions: 4, memoryBlocks: 2, memoryRecursions: 2, denseBlocks: 2, denseLayers: 2, denseFilters: 8 },
  training: { ...SETTINGS.training, minutes: 0.25, looks: 3 },
  data: { heldOut: 2 },
};
