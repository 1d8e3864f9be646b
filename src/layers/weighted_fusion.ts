/** A learned weighted mean of several tensors (Kim, Lee & Lee, DRCN, CVPR 2016, eq. 7; Tai et al., MemNet, ICCV 2017, section 3.3). */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import { layers, type LayerVariable, type Shape } from '@tensorflow/tfjs-layers';
import { checkKeys } from '../checks.js';
import { initializerOf, LAYER_OPTIONS, variableOf, type LayerArgs } from '../host.js';
import { weightedFusion as fused } from './recursion/readout.js';

/**
 * y = Σ_d w_d x_d / Σ_d w_d over inputs x_d of one shape; the weights w start at 1, so that y is at first the mean. One parameter an input.
 * A mask is not looked at.
 *
 * ```js
 * const y = weightedFusion().apply([first, second, third]);
 * ```
 *
 * @throws Error for fewer than two inputs, and for inputs of different shapes.
 */
export class WeightedFusion extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'WeightedFusion';
  #weights: LayerVariable | null = null;

  constructor(args: LayerArgs = {}) {
    super(args);
    checkKeys('WeightedFusion', args, LAYER_OPTIONS);
  }

  override build(inputShape: Shape | Shape[]): void {
    const shapes = inputShape as Shape[];
    const same = Array.isArray(shapes[0]) && shapes.length > 1 && shapes.every((shape) => shape.join() === shapes[0].join());
    if (!same) throw new Error(`WeightedFusion: layer '${this.name}' expects two or more inputs of one shape, got ${JSON.stringify(inputShape)}.`);
    this.#weights = this.addWeight('weights', [shapes.length], 'float32', initializerOf('WeightedFusion', 'weights', 'ones'));
    super.build(inputShape);
  }

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor {
    return tfc.tidy(() => {
      this.invokeCallHook(inputs, kwargs);
      return fused(inputs as Tensor[], variableOf(this.#weights!));
    });
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape {
    return (inputShape as Shape[])[0];
  }

}

/** A learned weighted mean of its inputs. See {@link WeightedFusion}. */
export const weightedFusion = (args?: LayerArgs): WeightedFusion => new WeightedFusion(args);

tfc.serialization.registerClass(WeightedFusion);
