/** Logs how an equilibrium layer's solves go into the history of `model.fit`. */
import * as tfl from '@tensorflow/tfjs-layers';
import { checkKeys, checkNumber, integerAtLeast } from '../checks.js';
import { allLayers, checkSameHost } from '../host.js';
import { DEQLayer } from '../layers/deq_layer.js';
import type { DEQReport } from '../layers/deq_record.js';
import { heldByFit, type FitResource } from './fit_resources.js';

export interface DEQMonitorArgs {
  /** Vector–Jacobian products of the power method for the spectral radius at the end of each epoch; 0 leaves it out. Integer ≥ 0, not 1. Default 0. */
  spectralRadius?: number;
}

const WHO = 'deqMonitor';

/** Sums of one epoch. */
interface Totals {
  batches: number;
  iterations: number;
  residual: number;
  samples: number;
  unconverged: number;
  backwardSolves: number;
  backwardIterations: number;
}
const none = (): Totals => ({ batches: 0, iterations: 0, residual: 0, samples: 0, unconverged: 0, backwardSolves: 0, backwardIterations: 0 });

/** @throws Error if the model has no equilibrium layer. */
export function deqLayersOf(who: string, model: unknown): DEQLayer[] {
  checkSameHost(who, model);
  const found = allLayers(model).filter((layer): layer is DEQLayer => layer instanceof DEQLayer);
  if (found.length === 0) throw new Error(`${who}: the model has no deqLayer. Layers: ${allLayers(model).map(({ name }) => name).join(', ')}.`);
  return found;
}

/**
 * Puts into `history`, for each `deqLayer` of the model and each epoch, means over the training batches:
 * `NAME_iterations` (evaluations of the cell), `NAME_residual` (of the samples, as the solver measures it; NaN while the layer is unrolled),
 * `NAME_unconverged` (share of samples), `NAME_backwardIterations` (0 where nothing is solved backward), and with `spectralRadius`
 * `NAME_spectralRadius`: the largest of the epoch's last batch. A radius near 1 or iterations that rise from epoch to epoch announce
 * instability: see `jacobianPenalty` and `spectralNormalization`.
 *
 * ```js
 * const {history} = await model.fit(x, y, {epochs: 10, callbacks: [deqMonitor({spectralRadius: 30})]});
 * ```
 *
 * On webgl and webgpu a step's numbers are awaited after it.
 */
export class DEQMonitor extends tfl.Callback {
  readonly #products: number;
  #layers: DEQLayer[] = [];
  #totals = new Map<DEQLayer, Totals>();
  #fit: FitResource | null = null;

  constructor(args: DEQMonitorArgs = {}) {
    super();
    checkKeys(WHO, args, ['spectralRadius']);
    const range = { expected: '0 or an integer ≥ 2', holds: (x: number) => x === 0 || integerAtLeast(2).holds(x) };
    this.#products = checkNumber(WHO, 'spectralRadius', args.spectralRadius ?? 0, range);
    // The host unbinds the methods of callbacks that stand beside plain objects.
    this.onTrainBegin = this.onTrainBegin.bind(this);
    this.onEpochBegin = this.onEpochBegin.bind(this);
    this.onBatchEnd = this.onBatchEnd.bind(this);
    this.onEpochEnd = this.onEpochEnd.bind(this);
    this.onTrainEnd = this.onTrainEnd.bind(this);
  }

  override async onTrainBegin(): Promise<void> {
    const layers = deqLayersOf(WHO, this.model);
    this.#layers = layers;
    if (this.#products === 0) return;
    this.#fit?.end();
    const before = layers.map(({ keepsInputs }) => keepsInputs);
    this.#fit = heldByFit(this.model as tfl.LayersModel, () => layers.forEach((layer, i) => (layer.keepsInputs = before[i])));
    for (const layer of layers) layer.keepsInputs = true;
  }

  override async onEpochBegin(): Promise<void> {
    this.#totals = new Map(this.#layers.map((layer) => [layer, none()]));
  }

  override async onBatchEnd(): Promise<void> {
    await Promise.all(this.#layers.map(async (layer) => count(this.#totals.get(layer)!, await layer.report('training'))));
  }

  override async onEpochEnd(_epoch: number, logs: Record<string, unknown> = {}): Promise<void> {
    for (const layer of this.#layers) {
      const { batches, iterations, residual, samples, unconverged, backwardSolves, backwardIterations } = this.#totals.get(layer)!;
      const values: Record<string, number> = {
        iterations: iterations / batches,
        residual: residual / batches,
        unconverged: samples === 0 ? 0 : unconverged / samples,
        backwardIterations: backwardSolves === 0 ? 0 : backwardIterations / backwardSolves,
      };
      if (this.#products > 0) values['spectralRadius'] = await this.#radius(layer);
      for (const [key, value] of Object.entries(values)) logs[`${layer.name}_${key}`] = value;
    }
  }

  override async onTrainEnd(): Promise<void> {
    this.#fit?.end();
  }

  async #radius(layer: DEQLayer): Promise<number> {
    const radius = layer.spectralRadius('training', { iterations: this.#products });
    const values = await radius.data<'float32'>();
    radius.dispose();
    return Math.max(...values);
  }
}

function count(totals: Totals, { iterations, residual, forward, backward }: DEQReport): void {
  totals.batches++;
  totals.iterations += iterations;
  totals.residual += residual;
  totals.samples += forward?.samples.length ?? 0;
  totals.unconverged += forward?.samples.filter(({ reason }) => reason !== 'converged').length ?? 0;
  if (backward === null) return;
  totals.backwardSolves++;
  totals.backwardIterations += backward.iterations;
}

/** A callback that logs iterations, residuals and the spectral radius of equilibrium layers. See {@link DEQMonitor}. */
export const deqMonitor = (args?: DEQMonitorArgs): DEQMonitor => new DEQMonitor(args);
