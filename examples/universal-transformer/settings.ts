/** Every hyper-parameter of the example in one place, chosen on the held-out lengths. */

export const TASKS = ['copy', 'reverse', 'addition'] as const;
export type Task = (typeof TASKS)[number];

export const MODELS = ['lstm', 'transformer', 'universal', 'adaptive'] as const;
export type ModelName = (typeof MODELS)[number];
export type VariantName = `${Task} ${ModelName}`;

export const LABELS: Record<ModelName, string> = {
  lstm: 'LSTM',
  transformer: 'Transformer, separate layers',
  universal: 'Universal Transformer',
  adaptive: 'Universal Transformer, ACT',
};

export interface Settings {
  data: {
    tasks: Task[];
    /** Longest question in training, in symbols. */
    trainLength: number;
    /** Lengths on which the settings were chosen; longer than those trained on. */
    heldOut: number[];
    /** Longer still; read once, at the end. */
    test: number[];
    /** Sequences for each of these lengths. */
    samples: number;
  };
  model: {
    width: number;
    /** Width of the Universal Transformers: twice that gives them as many parameters as four separate layers have. */
    universalWidth: number;
    heads: number;
    /** Steps in depth; layers of the Transformer with separate ones. */
    depth: number;
    lstmUnits: number;
  };
  adaptive: {
    /** Most steps. */
    steps: number;
    haltingBias: number;
    ponderWeight: number;
  };
  training: {
    steps: number;
    batchSize: number;
    /** Adam's rate: rises over the first twentieth of the steps, then falls along half a cosine to 0. */
    learningRate: number;
  };
}

export const SETTINGS: Settings = {
  data: { tasks: [...TASKS], trainLength: 12, heldOut: [14, 16], test: [18, 21, 24], samples: 100 },
  model: { width: 48, universalWidth: 96, heads: 4, depth: 4, lstmUnits: 128 },
  adaptive: { steps: 6, haltingBias: -3, ponderWeight: 0.01 },
  training: { steps: 600, batchSize: 64, learningRate: 3e-3 },
};

export const variantsOf = ({ data }: Settings): VariantName[] => data.tasks.flatMap((task) => MODELS.map((model): VariantName => `${task} ${model}`));

export function partsOf(variant: VariantName): { task: Task; model: ModelName } {
  const [task, model] = variant.split(' ') as [Task, ModelName];
  return { task, model };
}

export const widthOf = (name: ModelName, { width, universalWidth }: Settings['model']): number => (name === 'universal' || name === 'adaptive' ? universalWidth : width);

/** Share of the learning rate at step `step` of `steps`, counted from 0. */
export function rateAt(step: number, steps: number): number {
  const warmup = Math.max(1, Math.floor(steps / 20));
  return step < warmup ? (step + 1) / warmup : 0.5 * (1 + Math.cos((Math.PI * (step - warmup)) / (steps - warmup)));
}
