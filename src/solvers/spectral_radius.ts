/** How contractive f is at a point: the spectral radius of its Jacobian, by the power method. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor, Tensor1D } from '@tensorflow/tfjs-core';
import { linearize } from '../autodiff/linearize.js';
import { withoutTape } from '../autodiff/tape.js';
import { checkImage, layoutOf, total, type StateMap } from './space.js';
import { checkKeys, checkNumber, integerAtLeast } from '../checks.js';
import { hostSeed } from '../uniform_numbers.js';

export interface SpectralRadiusArgs {
  /** Vector–Jacobian products. Integer ≥ 2. Default 100. */
  iterations?: number;
  /** Seed of the random start. Default 1. */
  seed?: number;
}

/**
 * The spectral radius of ∂f/∂z at `z`, per sample `[batch]`: the factor by which vᵀJ grows per product, its geometric mean over the second half of
 * `iterations`, which also settles where the largest eigenvalues are a complex pair. Below 1 plain iteration converges near `z`, by this factor per
 * iteration; the backward solve of `implicit` does too. One evaluation of f and `iterations` vector–Jacobian products, none of them read.
 *
 * ```js
 * const radius = await spectralRadius(f, [z]).data();
 * ```
 *
 * An estimate from below where several eigenvalues are about as large, the better the more iterations. NaN where the squares of products exceed float32.
 */
export function spectralRadius(f: StateMap, z: readonly Tensor[], args: SpectralRadiusArgs = {}): Tensor1D {
  const who = 'spectralRadius';
  checkKeys(who, args, ['iterations', 'seed']);
  const iterations = checkNumber(who, 'iterations', args.iterations ?? 100, integerAtLeast(2));
  const seed = checkNumber(who, 'seed', args.seed ?? 1, integerAtLeast(0));
  const layout = layoutOf(who, z);
  const { batch } = layout;
  const norm = (parts: readonly Tensor[]) => tfc.sqrt(total(parts.map((part) => tfc.sum(tfc.square(tfc.reshape(part, [batch, -1])), 1))));
  const scaled = (parts: readonly Tensor[], by: Tensor) =>
    parts.map((part) => tfc.mul(part, tfc.reshape(by, part.shape.map((_, axis) => (axis === 0 ? batch : 1))))); // prettier-ignore
  return withoutTape(() =>
    tfc.tidy(() => {
      const state = z.map((part) => tfc.clone(part));
      const tangent = linearize((...parts) => {
        const image: unknown = f(parts);
        checkImage(who, image, layout);
        return image;
      }, state);
      let v: Tensor[] = z.map(({ shape }, i) => tfc.randomNormal(shape, 0, 1, 'float32', hostSeed(seed + i)));
      let logGrowth: Tensor = tfc.zeros([batch]);
      const counted = Math.ceil(iterations / 2);
      for (let k = 0; k < iterations; k++) {
        [logGrowth, ...v] = tfc.tidy(() => {
          const size = norm(v);
          const unit = scaled(v, tfc.div(1, tfc.maximum(size, 1e-30)));
          // NaN from where it is too large for float32.
          const measured = tfc.add(logGrowth, tfc.sub(size, size));
          const image = tangent.vjp(unit);
          const growth = k < iterations - counted ? measured : tfc.add(measured, tfc.log(tfc.maximum(norm(image), 1e-30)));
          return [growth, ...image];
        });
      }
      tangent.dispose();
      return tfc.exp(tfc.div(logGrowth, counted)) as Tensor1D;
    }),
  );
}
