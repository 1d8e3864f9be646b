/**
 * How much the mixture prior counts beside the data loss: τ as a number, along a schedule or found from the first batches, and the
 * noise of a regression's targets. Nowlan & Hinton, Neural Computation 4 (1992), §3: data term K/σ_y² Σ (y − d)²/2 with σ_y learned.
 */
import { checkKeys, checkNumber, describe, integerAtLeast, NON_NEGATIVE, POSITIVE, warnOnce } from '../checks.js';

/**
 * A number; points [step, τ] with straight lines between them; or a share of the data loss: τ is then fixed after the first
 * {@link CALIBRATION_STEPS} batches so that τ/N nats for each weight are that share of their mean data loss. C moves by about as much while the mixture
 * gathers the weights; C itself will not do, as it passes through zero where densities pass 1.
 */
export type Tau = number | 'auto' | { share: number } | [step: number, tau: number][];

/** Standard deviation σ_y of the noise in a regression's targets. */
export type DataNoise = number | 'learned';

export interface PriorStrengthArgs {
  trainingExamples: number;
  tau: Tau;
  tauWarmup: number;
  dataNoise: DataNoise | undefined;
}

/** What a resumable save holds. */
export interface PriorStrengthState {
  /** τ that was found; null: not yet, or given. */
  tau: number | null;
  /** Batches seen while it is being found, and the sum of their data losses. */
  seen: number;
  loss: number;
  /** Mean squared error of one output, by exponential average, and the sum of its weights. */
  error: number;
  errorWeight: number;
  /** Outputs of the model per example. */
  outputs: number;
}

/** What a training step tells. */
export interface Observation {
  /** The loss without the energies of priors. */
  dataLoss: number;
  /** Number of weights that the prior governs. */
  weights: number;
  /** Numbers that the model predicts per example; null if that is not one fixed number. */
  outputs: number | null;
}

/** `auto`: 35 and 12 % more than was chosen by hand on held-out images for LeNet-300-100 and LeNet-5, retrained with smoothed labels. */
export const AUTO_SHARE = 0.1;
export const CALIBRATION_STEPS = 20;
/** The noise is averaged over about the last 1 / (1 − DECAY) batches. */
const DECAY = 0.95;

const MEND_TAU = 'Leave the regularizer away to train without a prior.';

/** Checks `tau`, given or by default. */
export function checkTau(who: string, tau: unknown): Tau {
  if (tau === 'auto') return tau;
  if (Array.isArray(tau)) return checkPoints(who, tau);
  if (typeof tau === 'object' && tau !== null) {
    checkKeys(`${who}: tau`, tau, ['share']);
    return { share: checkNumber(who, 'tau.share', (tau as { share: unknown }).share, POSITIVE, 'It is the share of the data loss, e.g. 0.5.') };
  }
  if (typeof tau === 'string') throw new Error(`${who}: tau must be a finite number > 0, 'auto', { share } or points [step, tau], got ${describe(tau)}.`);
  return checkNumber(who, 'tau', tau, POSITIVE, MEND_TAU);
}

function checkPoints(who: string, points: unknown[]): [number, number][] {
  const expected = `${who}: tau as a schedule must be points [step, tau] with rising steps and a τ > 0 among them`;
  if (points.length === 0) throw new Error(`${expected}, got no point. ${MEND_TAU}`);
  const checked = points.map((point, i): [number, number] => {
    if (!Array.isArray(point) || point.length !== 2) throw new Error(`${expected}, got ${describe(point)} as its point ${i}.`);
    return [checkNumber(who, `step of tau's point ${i}`, point[0], integerAtLeast(0), 'It counts mixture steps (batches).'), checkNumber(who, `tau's point ${i}`, point[1], NON_NEGATIVE)];
  });
  const falls = checked.findIndex(([step], i) => i > 0 && step <= checked[i - 1][0]);
  if (falls > 0) throw new Error(`${expected}, got step ${checked[falls][0]} after ${checked[falls - 1][0]}.`);
  if (checked.every(([, tau]) => tau === 0)) throw new Error(`${expected}, got zeros only. ${MEND_TAU}`);
  return checked;
}

/** The value at `step` of straight lines through `points`; before the first and after the last it stays. */
export function interpolate(points: readonly (readonly [number, number])[], step: number): number {
  const next = points.findIndex(([at]) => at >= step);
  if (next < 0) return points[points.length - 1][1];
  if (next === 0) return points[0][1];
  const [[from, first], [to, last]] = [points[next - 1], points[next]];
  return first + ((last - first) * (step - from)) / (to - from);
}

export class PriorStrength {
  readonly #who: string;
  readonly #args: PriorStrengthArgs;
  readonly #share: number | null;
  #state: PriorStrengthState = { tau: null, seen: 0, loss: 0, error: 0, errorWeight: 0, outputs: 0 };

  constructor(who: string, args: PriorStrengthArgs) {
    const { tau, dataNoise } = args;
    this.#who = who;
    this.#args = args;
    this.#share = tau === 'auto' ? AUTO_SHARE : typeof tau === 'object' && 'share' in tau ? tau.share : null;
    if (dataNoise === undefined) return;
    if (dataNoise !== 'learned') checkNumber(who, 'dataNoise', dataNoise, POSITIVE, "It is the targets' standard deviation; 'learned' estimates it.");
    if (this.#share !== null) throw new Error(`${who}: dataNoise sets the balance with the data loss by itself. Give tau as a number, 1 for the posterior, or leave dataNoise out.`);
  }

  /** The greatest τ that it is given or has found; NaN while it is being found. */
  get tau(): number {
    const { tau } = this.#args;
    if (this.#share !== null) return this.#state.tau ?? NaN;
    return Array.isArray(tau) ? Math.max(...tau.map(([, value]) => value)) : (tau as number);
  }

  /** τ at a step, schedule and warm-up included; 0 while it is being found. */
  tauAt(step: number): number {
    const { tau, tauWarmup } = this.#args;
    const now = Array.isArray(tau) ? interpolate(tau, step) : this.#share === null ? this.tau : (this.#state.tau ?? 0);
    return tauWarmup > 0 ? now * Math.min(1, step / tauWarmup) : now;
  }

  /** σ_y as given or learned so far; NaN where there is none (yet). */
  get noise(): number {
    const { dataNoise } = this.#args;
    if (typeof dataNoise === 'number') return dataNoise;
    return dataNoise === undefined || this.#state.errorWeight === 0 ? NaN : Math.sqrt(this.#state.error / this.#state.errorWeight);
  }

  /**
   * What C is multiplied with at a step: τ/N, or with noise 2σ_y²/K · τ/N for K outputs. The data loss
   * being the mean of (y − d)² over examples and outputs, that has the minimum of K/(2σ_y²) times it plus τ/N·C.
   */
  scaleAt(step: number): number {
    const scale = this.tauAt(step) / this.#args.trainingExamples;
    if (this.#args.dataNoise === undefined) return scale;
    return this.#state.outputs === 0 ? 0 : (scale * 2 * this.noise ** 2) / this.#state.outputs;
  }

  /** Whether it has to be told data losses at the moment. */
  get observes(): boolean {
    const { dataNoise } = this.#args;
    if (dataNoise === 'learned') return true;
    return dataNoise !== undefined ? this.#state.outputs === 0 : this.#share !== null && this.#state.tau === null;
  }

  /** @throws Error if the data loss cannot be what the options need. */
  observe({ dataLoss, weights, outputs }: Observation): void {
    if (!Number.isFinite(dataLoss)) return;
    const state = this.#state;
    if (this.#args.dataNoise !== undefined) {
      if (outputs === null) throw new Error(`${this.#who}: dataNoise needs a model with one output of fixed shape, compiled with loss 'meanSquaredError'. Leave dataNoise out for others.`);
      if (dataLoss < 0) throw new Error(`${this.#who}: dataNoise needs the mean squared error as loss, and got a loss of ${dataLoss.toPrecision(3)}, which cannot be one.`);
      state.outputs = outputs;
      state.error = DECAY * state.error + (1 - DECAY) * dataLoss;
      state.errorWeight = DECAY * state.errorWeight + (1 - DECAY);
      return;
    }
    state.loss += Math.abs(dataLoss);
    if (++state.seen < CALIBRATION_STEPS) return;
    if (state.loss === 0) throw new Error(`${this.#who}: tau cannot be found from a data loss of 0. Give tau as a number.`);
    state.tau = (this.#share! * (state.loss / state.seen) * this.#args.trainingExamples) / weights;
    if (state.tau <= 1) return;
    warnOnce(`${this.#who}:tau ${state.tau}`,
      `${this.#who}: tau 'auto' found ${state.tau.toPrecision(3)} from a data loss of ${(state.loss / state.seen).toPrecision(3)}; above 1 the prior counts more than in the posterior and may crush the weights. Train the network first, or give a smaller share or tau as a number.`); // prettier-ignore
  }

  get state(): PriorStrengthState {
    return { ...this.#state };
  }

  restore(state: PriorStrengthState): void {
    this.#state = { ...state };
  }
}
