/** The networks: a convolution with strides, what comes to an equilibrium or stands in its stead, and a dense layer on top. */
import * as tfl from '@tensorflow/tfjs-layers';
import { anderson, deqLayer, implicit, multiscaleImageCell, unrolled, type DEQLayer } from './library.js';
import type { Settings, VariantName } from './settings.js';

const SIDE = 28;
const CLASSES = 10;
type Symbolic = tfl.SymbolicTensor;

export interface Network {
  model: tfl.LayersModel;
  /** Null in an explicit network. */
  deq: DEQLayer | null;
}

export function network(settings: Settings, variant: VariantName, seed: number): Network {
  if (variant !== 'explicit') return assembled(settings, settings.model.filters, variant, seed);
  const wanted = parametersOf(assembled(settings, settings.model.filters, 'tied', seed));
  for (let filters = 1; ; filters++) {
    const found = assembled(settings, filters, variant, seed);
    if (found.model.countParams() >= wanted) return found;
    found.model.dispose();
  }
}

function parametersOf({ model }: Network): number {
  const count = model.countParams();
  model.dispose();
  return count;
}

function assembled({ model: { stride, tiedDepth, explicitDepth }, solver }: Settings, filters: number, variant: VariantName, seed: number): Network {
  if (SIDE % stride !== 0) throw new Error(`deq-mnist: model.stride must divide ${SIDE}, got ${stride}. Use 1, 2, 4, 7, 14 or 28.`);
  const side = SIDE / stride;
  const images = tfl.input({ shape: [SIDE, SIDE, 1] });
  const x = tfl.layers
    .conv2d({ filters, kernelSize: stride + 1, strides: stride, padding: 'same', activation: 'relu', kernelInitializer: tfl.initializers.heNormal({ seed: 100 * seed + 1 }) })
    .apply(images) as Symbolic;
  const cell = (index: number) => multiscaleImageCell({ inputShape: [side, side, filters], filters: [filters], seed: 100 * seed + index });
  let deq: DEQLayer | null = null;
  let z: Symbolic;
  if (variant === 'explicit') {
    // The host counts a tensor that a layer takes twice as used up: a copy (x is not negative).
    z = tfl.layers.activation({ activation: 'relu' }).apply(x) as Symbolic;
    for (let depth = 1; depth <= explicitDepth; depth++) z = cell(depth).apply([z, x]) as Symbolic;
  } else {
    deq = deqLayer({ name: 'equilibrium', cell: cell(1), solver: anderson(solver), gradient: variant === 'tied' ? unrolled({ steps: tiedDepth }) : implicit() });
    z = deq.apply(x) as Symbolic;
  }
  const kernelInitializer = tfl.initializers.glorotUniform({ seed: 100 * seed + 2 });
  const scores = tfl.layers.dense({ units: CLASSES, activation: 'softmax', kernelInitializer }).apply(tfl.layers.flatten().apply(z)) as Symbolic;
  return { model: tfl.model({ inputs: images, outputs: scores }), deq };
}
