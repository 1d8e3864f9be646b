/** Every hyper-parameter in one place, chosen on held-out training images. */

/** The networks that are compared: hashed element by element, hashed in tiles, and dense with as many parameters. */
export const METHODS = ['element', 'tile', 'dense'] as const;
export type Method = (typeof METHODS)[number];

/** Shares of inputs and of hidden units that are dropped while training. */
export interface Dropout {
  inputs: number;
  hidden: number;
}

export interface Settings {
  /** Hidden units of the virtual network 784-hidden-10. */
  hidden: number;
  /** Virtual weights per stored one, in both layers. */
  compressions: number[];
  /** Of the first layer's matrix, where tiles are hashed; the last layer is small and hashed by elements. */
  tile: [number, number];
  epochs: number;
  batchSize: number;
  /** Adam; falls to 0 along half a cosine. */
  learningRate: number;
  /** By compression, from the first that is at most it; for dense networks by the compression whose size they have. */
  dropout: Record<'hashed' | 'dense', Array<{ upTo: number; dropout: Dropout }>>;
}

const NONE: Dropout = { inputs: 0, hidden: 0 };

export const MNIST_SETTINGS: Settings = {
  hidden: 1000,
  compressions: [2, 4, 8, 16, 32, 64],
  tile: [1, 8],
  epochs: 16,
  batchSize: 256,
  learningRate: 4e-3,
  dropout: {
    hashed: [{ upTo: 8, dropout: { inputs: 0.2, hidden: 0.5 } }, { upTo: 16, dropout: { inputs: 0.1, hidden: 0.25 } }, { upTo: Infinity, dropout: { inputs: 0.05, hidden: 0.1 } }],
    dense: [{ upTo: 8, dropout: { inputs: 0.2, hidden: 0.5 } }, { upTo: Infinity, dropout: NONE }],
  },
};

/** For the digits that the example draws: the command without options ends within three minutes on wasm. */
export const RENDERED_SETTINGS: Settings = { ...MNIST_SETTINGS, hidden: 300, compressions: [8, 64], epochs: 6 };

/** Images that the example draws. */
export const RENDERED_COUNTS = { train: 12_000, validation: 2_000, test: 4_000 };

/** Errors in percent that Chen et al. (2015, table 1) report for their network of three layers on MNIST. */
export const PUBLISHED: ReadonlyArray<{ compression: number; error: number }> = [
  { compression: 8, error: 1.45 },
  { compression: 64, error: 2.79 },
];

export function dropoutOf({ dropout }: Settings, method: Method, compression: number): Dropout {
  const rows = dropout[method === 'dense' ? 'dense' : 'hashed'];
  const row = rows.find(({ upTo }) => compression <= upTo);
  if (row === undefined) throw new Error(`hashed-mnist: the settings say no dropout for compression ${compression}.`);
  return row.dropout;
}

/** Half a cosine from the first epoch's rate to nearly 0 in the last. */
export function learningRateAt(epoch: number, { epochs, learningRate }: Pick<Settings, 'epochs' | 'learningRate'>): number {
  return learningRate * 0.5 * (1 + Math.cos((Math.PI * epoch) / epochs));
}
