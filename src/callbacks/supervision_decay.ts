/** Takes the supervision of recursions back as training goes on (Kim, Lee & Lee, DRCN, CVPR 2016, section 3.2). */
import * as tfl from '@tensorflow/tfjs-layers';
import { checkKeys, checkNumber, describe, integerAtLeast } from '../checks.js';
import { SHARE, type RecursiveSupervision } from '../losses/recursive_supervision.js';

export interface SupervisionDecayArgs {
  /** Of which α is moved. Required. */
  supervision: RecursiveSupervision;
  /** Epochs until α has come from `from` to `to`. Integer ≥ 1. Required. */
  epochs: number;
  /** α in the first epoch, in [0, 1]. Default: α as it is when this callback is made. */
  from?: number;
  /** α from epoch `epochs` on, in [0, 1]. Default 0. */
  to?: number;
}

const WHO = 'supervisionDecay';

/**
 * Sets α of a `recursiveSupervision` at the beginning of each epoch e (from 0): α = from + (to − from) · min(1, e / epochs), and logs it as
 * `supervision_alpha`. A fit that begins at a later epoch (`initialEpoch`) begins with that epoch's α.
 *
 * ```js
 * await model.fit(x, supervision.targets(y), {epochs: 40, callbacks: [supervisionDecay({supervision, epochs: 25})]});
 * ```
 */
export class SupervisionDecay extends tfl.Callback {
  readonly #args: Required<SupervisionDecayArgs>;

  constructor(args: SupervisionDecayArgs) {
    super();
    checkKeys(WHO, args, ['supervision', 'epochs', 'from', 'to']);
    const { supervision } = args;
    if (!Array.isArray(supervision?.losses)) throw new Error(`${WHO}: supervision must be what recursiveSupervision made, got ${describe(supervision)}.`);
    this.#args = {
      supervision,
      epochs: checkNumber(WHO, 'epochs', args.epochs, integerAtLeast(1)),
      from: checkNumber(WHO, 'from', args.from ?? supervision.alpha, SHARE),
      to: checkNumber(WHO, 'to', args.to ?? 0, SHARE),
    };
    // The host unbinds the methods of callbacks that stand beside plain objects.
    this.onTrainBegin = this.onTrainBegin.bind(this);
    this.onEpochBegin = this.onEpochBegin.bind(this);
    this.onEpochEnd = this.onEpochEnd.bind(this);
  }

  override async onTrainBegin(): Promise<void> {
    // Undefined where the host hands over no model, beside plain objects.
    const model = this.model as tfl.LayersModel | undefined;
    const losses: unknown[] = typeof model?.loss === 'object' ? Object.values(model.loss) : [model?.loss];
    if (model && !losses.some((loss) => this.#args.supervision.losses.includes(loss as never))) {
      console.warn(`${WHO}: the model was not compiled with the losses of this supervision; unless they are inside of its own, α changes nothing. Compile with {loss: supervision.losses}.`);
    }
  }

  override async onEpochBegin(epoch: number): Promise<void> {
    const { supervision, epochs, from, to } = this.#args;
    supervision.alpha = from + (to - from) * Math.min(1, epoch / epochs);
  }

  override async onEpochEnd(_epoch: number, logs?: tfl.Logs): Promise<void> {
    if (logs !== undefined) logs['supervision_alpha'] = this.#args.supervision.alpha;
  }
}

/** A callback that takes recursive supervision back. See {@link SupervisionDecay}. */
export const supervisionDecay = (args: SupervisionDecayArgs): SupervisionDecay => new SupervisionDecay(args);
