import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
it('runs on the backend of its project', () => { expect(tf.getBackend()).toBe(process.env.TFWS_BACKEND); });
