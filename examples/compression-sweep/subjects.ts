/** What can be swept: the networks of the compression examples, and a wide one, by name. */
import * as tfl from '@tensorflow/tfjs-layers';
import type { CompressionExample } from '../common/compression/example.js';
import { EXAMPLE as lenet5 } from '../compress-lenet5/main.js';
import { EXAMPLE as lenet300 } from '../compress-mnist/main.js';

/** 2 084 110 parameters on 28 × 28 images, where a prior computed component by component would cost more than the network. */
const WIDE: CompressionExample = {
  name: 'wide-mnist',
  network: 'dense 1500-600',
  description: 'A wide network of three dense layers.',
  inputShape: (width, height) => [width * height],
  build: (inputShape, seed) => {
    const sizes = [1500, 600, 10];
    const layers = sizes.map((units, i) =>
      tfl.layers.dense({
        units, inputShape: i === 0 ? inputShape : undefined, name: `dense_${i + 1}`, activation: i < 2 ? 'relu' : 'softmax',
        kernelInitializer: tfl.initializers.glorotUniform({ seed: 10 * seed + i + 1 }),
      }),
    ); // prettier-ignore
    return tfl.sequential({ layers });
  },
  settings: lenet300.settings,
};

export const SUBJECTS: Readonly<Record<string, CompressionExample>> = Object.fromEntries([lenet300, lenet5, WIDE].map((example) => [example.name, example]));
