/** Logs how long the positions of Universal Transformers run into the history of `model.fit`. */
import * as tfl from '@tensorflow/tfjs-layers';
import { allLayers, checkSameHost } from '../host.js';
import { UniversalTransformer } from '../layers/depth/universal_transformer.js';

const WHO = 'haltingMonitor';

/**
 * Puts into `history`, for each `universalTransformer` with recurrence 'act' and each epoch, means over the training batches: `NAME_steps` (of the
 * positions), `NAME_remainder`, and `NAME_unhalted`, the share of positions that ran to the last step without halting.
 *
 * ```js
 * const {history} = await model.fit(x, y, {epochs: 10, callbacks: [haltingMonitor()]});
 * ```
 *
 * On webgl and webgpu a step's numbers are awaited after it.
 */
export class HaltingMonitor extends tfl.Callback {
  #layers: UniversalTransformer[] = [];
  #sums = new Map<UniversalTransformer, { batches: number; steps: number; remainder: number; unhalted: number }>();

  constructor() {
    super();
    // The host unbinds the methods of callbacks that stand beside plain objects.
    this.onTrainBegin = this.onTrainBegin.bind(this);
    this.onEpochBegin = this.onEpochBegin.bind(this);
    this.onBatchEnd = this.onBatchEnd.bind(this);
    this.onEpochEnd = this.onEpochEnd.bind(this);
  }

  override async onTrainBegin(): Promise<void> {
    checkSameHost(WHO, this.model);
    const all = allLayers(this.model);
    this.#layers = all.filter((layer): layer is UniversalTransformer => layer instanceof UniversalTransformer && layer.settings.adaptive !== null);
    if (this.#layers.length === 0) throw new Error(`${WHO}: the model has no universalTransformer with recurrence 'act'. Layers: ${all.map(({ name }) => name).join(', ')}.`);
  }

  override async onEpochBegin(): Promise<void> {
    this.#sums = new Map(this.#layers.map((layer) => [layer, { batches: 0, steps: 0, remainder: 0, unhalted: 0 }]));
  }

  override async onBatchEnd(): Promise<void> {
    for (const [layer, sums] of this.#sums) {
      const { meanUpdates, meanRemainder, unhalted } = await layer.report();
      sums.batches++;
      sums.steps += meanUpdates;
      sums.remainder += meanRemainder;
      sums.unhalted += unhalted;
    }
  }

  override async onEpochEnd(_epoch: number, logs: Record<string, unknown> = {}): Promise<void> {
    for (const [layer, { batches, ...sums }] of this.#sums) for (const [key, sum] of Object.entries(sums)) logs[`${layer.name}_${key}`] = sum / batches;
  }
}

/** A callback that logs steps and remainders of adaptive computation. See {@link HaltingMonitor}. */
export const haltingMonitor = (): HaltingMonitor => new HaltingMonitor();
