/** Changes an equilibrium layer's settings as training goes on: above all, a few unrolled steps first (Bai, Kolter & Koltun 2019, appendix). */
import * as tfl from '@tensorflow/tfjs-layers';
import { checkKeys, checkNames, describe } from '../checks.js';
import type { DEQLayer } from '../layers/deq_layer.js';
import { given, settingsOf, type DEQLayerArgs } from '../layers/deq_options.js';
import { deqLayersOf } from './deq_monitor.js';

/** What a phase sets; the rest stays as it is. */
export type DEQSettings = Partial<Pick<DEQLayerArgs, 'solver' | 'inferenceSolver' | 'gradient' | 'jacobianPenalty'>>;

export interface DEQScheduleArgs {
  /** `[first epoch (from 0), settings]`, in rising order. Required. */
  phases: [epoch: number, settings: DEQSettings][];
  /** Names of the layers. Default: every `deqLayer` of the model. */
  layers?: string[];
}

const WHO = 'deqSchedule';
const SETTINGS = ['solver', 'inferenceSolver', 'gradient', 'jacobianPenalty'] as const;

/**
 * Sets solver, gradient and Jacobian penalty of the `deqLayer`s of a model at the beginning of given epochs. What the last phase sets stays.
 *
 * A deep equilibrium model is pre-trained, for 10 to 20 % of the steps, as a network of a few weight-tied layers, whose weights then are a good start for the
 * equilibrium; a penalty that sets in, or ends, later is another use.
 *
 * ```js
 * const schedule = deqSchedule({phases: [[0, {gradient: unrolled({steps: 4})}], [3, {gradient: implicit()}], [15, {jacobianPenalty: 0.5}]]});
 * await model.fit(x, y, {epochs: 20, callbacks: [schedule]});
 * ```
 *
 * Only training goes by the schedule: a model that is saved in between is saved with the settings of that phase. A fit that begins at a later
 * epoch (`initialEpoch`) begins with all phases until then.
 */
export class DEQSchedule extends tfl.Callback {
  readonly #phases: DEQScheduleArgs['phases'];
  readonly #names: string[] | undefined;
  #layers: DEQLayer[] = [];
  #next = 0;

  constructor(args: DEQScheduleArgs) {
    super();
    checkKeys(WHO, args, ['phases', 'layers']);
    const { phases, layers } = args;
    const sensible = Array.isArray(phases) && phases.length > 0 && phases.every((phase, i) => Array.isArray(phase) && Number.isInteger(phase[0]) && phase[0] >= 0 && (i === 0 || phase[0] > phases[i - 1][0]));
    if (!sensible) throw new Error(`${WHO}: phases must be a list of [epoch, settings] with rising epochs from 0, got ${describe(phases)}.`);
    for (const [epoch, settings] of phases) checkKeys(`${WHO}: the phase from epoch ${epoch}`, settings, SETTINGS);
    this.#phases = phases;
    this.#names = layers === undefined ? undefined : checkNames(WHO, 'layers', layers);
    // The host unbinds the methods of callbacks that stand beside plain objects.
    this.onTrainBegin = this.onTrainBegin.bind(this);
    this.onEpochBegin = this.onEpochBegin.bind(this);
  }

  override async onTrainBegin(): Promise<void> {
    const all = deqLayersOf(WHO, this.model);
    const unknown = this.#names?.find((name) => !all.some((layer) => layer.name === name));
    if (unknown !== undefined) throw new Error(`${WHO}: the model has no deqLayer '${unknown}'. It has: ${all.map(({ name }) => name).join(', ')}.`);
    this.#layers = all.filter(({ name }) => this.#names?.includes(name) ?? true);
    // All phases, one on the other, before any of them comes.
    for (const { solver, inferenceSolver, gradient, jacobianPenalty } of this.#layers) {
      let settings: DEQSettings = { solver, inferenceSolver, gradient, jacobianPenalty };
      for (const [, changes] of this.#phases) settings = settingsOf({ ...settings, ...given(changes) });
    }
    this.#next = 0;
  }

  override async onEpochBegin(epoch: number): Promise<void> {
    for (; this.#next < this.#phases.length && this.#phases[this.#next][0] <= epoch; this.#next++) {
      for (const layer of this.#layers) layer.configure(this.#phases[this.#next][1]);
    }
  }
}

/** A callback that changes the settings of equilibrium layers at given epochs. See {@link DEQSchedule}. */
export const deqSchedule = (args: DEQScheduleArgs): DEQSchedule => new DEQSchedule(args);
