/**
 * Backtracking, one evaluation per iteration of the loop: a step that did not shorten the residual of a sample is tried again at half its
 * length, while other samples go on.
 */
import type { Space } from './space.js';

/** By how much a step of length λ must shorten the residual: by this share of λ (Armijo's condition for the norm). */
const DECREASE = 1e-4;

export class LineSearch<V, S> {
  /** Length of each sample's last step, as a share of its direction. */
  stepSize: S;
  readonly #space: Space<V, S, unknown>;
  readonly #first: number;
  readonly #least: number;
  #from: V | null = null;
  #direction: V | null = null;
  #norm: S;

  /** @param stepSize the length that is tried first; @param halvings how often it may be halved. */
  constructor(space: Space<V, S, unknown>, stepSize: number, halvings: number) {
    this.#space = space;
    this.#first = stepSize;
    this.#least = stepSize / 2 ** halvings;
    this.stepSize = space.hold(space.scalars.fill(stepSize));
    this.#norm = space.hold(space.scalars.fill(0));
  }

  /** The samples for which the last step stands. */
  accepted(norm: S): S {
    const { scalars: s } = this.#space;
    if (this.#from === null || this.#least === this.#first) return s.fill(1);
    const bound = s.mul(this.#norm, s.sub(1, s.mul(this.stepSize, DECREASE)));
    const tooLong = s.mul(s.not(s.less(norm, bound)), s.less(this.#least * 1.5, this.stepSize));
    return s.not(tooLong);
  }

  /** The next iterate: from `z` along `direction` where `accepted`, elsewhere half as far as before from where that step began. */
  next(accepted: S, z: V, direction: V, norm: S): V {
    const { scalars: s } = this.#space;
    const space = this.#space;
    this.#from = this.#from === null ? space.hold(z) : space.exchange(this.#from, space.select(accepted, z, this.#from));
    this.#direction = this.#direction === null ? space.hold(direction) : space.exchange(this.#direction, space.select(accepted, direction, this.#direction));
    this.#norm = space.exchange(this.#norm, s.where(accepted, norm, this.#norm));
    this.stepSize = space.exchange(this.stepSize, s.where(accepted, this.#first, s.mul(this.stepSize, 0.5)));
    return space.sum([1, this.#from], [this.stepSize, this.#direction]);
  }

  /** The direction of the last step. */
  get direction(): V | null {
    return this.#direction;
  }
}
