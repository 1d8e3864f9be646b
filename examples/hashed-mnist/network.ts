/** The networks: one hidden layer of rectified units; hashed, or dense with as many parameters as the hashed one stores. */
import * as tfl from '@tensorflow/tfjs-layers';
import { hashedDense } from 'tfjs-weight-sharing';
import { dropoutOf, type Settings } from './settings.js';
import { CLASSES, denseUnits, storedParameters, type Variant } from './sizes.js';

export function network(inputs: number, settings: Settings, { method, compression, seed }: Variant): tfl.Sequential {
  const { hidden, tile } = settings;
  const { inputs: dropInputs, hidden: dropHidden } = dropoutOf(settings, method, compression);
  const first = tfl.initializers.heNormal({ seed: 10 * seed + 1 });
  const second = tfl.initializers.glorotUniform({ seed: 10 * seed + 2 });
  const activation = 'relu';
  const layers =
    method === 'dense'
      ? [
          tfl.layers.dense({ units: denseUnits(inputs, storedParameters(inputs, hidden, compression)), activation, kernelInitializer: first }),
          tfl.layers.dense({ units: CLASSES, activation: 'softmax', kernelInitializer: second }),
        ]
      : [
          hashedDense({ units: hidden, compression, seed: 2 * seed, activation, kernelInitializer: first, ...(method === 'tile' && { tile }) }),
          hashedDense({ units: CLASSES, compression, seed: 2 * seed + 1, activation: 'softmax', kernelInitializer: second }),
        ];
  const model = tfl.sequential();
  // A rate of 0 hands its input on.
  model.add(tfl.layers.dropout({ rate: dropInputs, seed: 10 * seed + 3, inputShape: [inputs] }));
  model.add(layers[0]);
  model.add(tfl.layers.dropout({ rate: dropHidden, seed: 10 * seed + 4 }));
  model.add(layers[1]);
  return model;
}
