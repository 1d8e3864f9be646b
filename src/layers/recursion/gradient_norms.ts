/** How large the gradient is at each recursion: what tells vanishing and exploding ones. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';

/** The norms ‖∂L/∂h_d‖ of the last backward pass. */
export class GradientNorms {
  readonly #norms: (Tensor | undefined)[];

  constructor(recursions: number) {
    this.#norms = Array.from({ length: recursions }, () => undefined);
  }

  /** h itself, whose gradient is noted on its way back. */
  watch(h: Tensor, recursion: number): Tensor {
    return tfc.customGrad((given: unknown) => ({ value: tfc.clone(given as Tensor), gradFunc: (dy: Tensor) => this.#note(dy, recursion) }) as never)(h);
  }

  #note(dy: Tensor, recursion: number): Tensor {
    this.#norms[recursion]?.dispose();
    this.#norms[recursion] = tfc.keep(tfc.tidy(() => tfc.norm(dy)));
    return tfc.clone(dy);
  }

  /** Of each recursion; NaN where none came by. */
  read(): Promise<number[]> {
    return Promise.all(this.#norms.map(async (norm) => (norm === undefined ? NaN : (await norm.data())[0])));
  }

  dispose(): void {
    this.#norms.forEach((norm) => norm?.dispose());
    this.#norms.fill(undefined);
  }
}
