import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { ARCHITECTURES, points } from '../../examples/compress-models/architectures.js';
import { tensorsOf } from '../../examples/compress-models/tasks.js';

const PARAMETERS = { mlp: 266610, lenet5: 431080, mobilenet: 38346, lstm: 48970, transformer: 69578, unet: 32641 };

describe('compress-models', () => {
  it.each(Object.entries(ARCHITECTURES))('%s has the size that the benchmark compresses, and takes the data of its task', (name, architecture) => {
    const model = architecture.build();
    expect(model.countParams()).toBe(PARAMETERS[name as keyof typeof PARAMETERS]);
    const { x, y, origin } = tensorsOf(architecture, { images: 20 }, 'train');
    expect(origin).toBe('20 digits drawn by the example');
    expect(x.shape).toEqual([20, ...architecture.inputShape]);
    const few = tf.tidy(() => [tf.keep(tf.slice(x, 0, 3)), tf.keep(tf.slice(y, 0, 3))]);
    const reached = points(model, architecture, few[0], few[1]);
    expect(reached).toBeGreaterThanOrEqual(0);
    expect(reached).toBeLessThanOrEqual(100);
    tf.dispose([x, y, ...few]);
    model.dispose();
  });

  it('counts classes, or pixels on the right side of a half', () => {
    const answers = { predict: () => tf.tensor2d([[0.9, 0.1], [0.2, 0.8]]) }; // prettier-ignore
    const [x, y] = [tf.zeros([2, 1]), tf.tensor2d([[1, 0], [1, 0]])]; // prettier-ignore
    expect(points(answers as never, { ...ARCHITECTURES.mlp }, x, y)).toBe(50);
    expect(points(answers as never, { ...ARCHITECTURES.unet }, x, y)).toBe(50);
    tf.dispose([x, y]);
  });
});
