import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { activeScope, activeTape } from '../../src/autodiff/tape.js';

describe('activeTape', () => {
  it('is null outside of a gradient evaluation, one object inside, and another in the next', () => {
    const seen: (object | null)[] = [];
    const f = (x: tf.Tensor) => {
      seen.push(activeTape());
      return tf.tidy(() => {
        seen.push(activeTape());
        return tf.square(x);
      });
    };
    expect(activeTape()).toBeNull();
    tf.tidy(() => {
      tf.grad(f)(tf.scalar(2));
      tf.grad(f)(tf.scalar(2));
    });
    expect(activeTape()).toBeNull();
    expect(seen[0]).not.toBeNull();
    expect(seen[1]).toBe(seen[0]);
    expect(seen[2]).not.toBe(seen[0]);
  });

  it('is null after an evaluation that threw', () => {
    expect(() => tf.grad(() => { throw new Error('bad loss'); })(tf.scalar(2))).toThrow('bad loss'); // prettier-ignore
    expect(activeTape()).toBeNull();
  });

  it('stays the same inside a nested evaluation', () => {
    tf.tidy(() => {
      const tapes: (object | null)[] = [];
      tf.grad((x) => {
        tapes.push(activeTape());
        return tf.grad((y) => {
          tapes.push(activeTape());
          return tf.square(y);
        })(x);
      })(tf.scalar(2));
      expect(tapes[1]).toBe(tapes[0]);
    });
  });
});

describe('activeScope', () => {
  it('is the innermost tidy', () => {
    const outside = activeScope();
    tf.tidy(() => {
      const outer = activeScope();
      expect(outer).not.toBe(outside);
      tf.tidy(() => {
        expect(activeScope()).not.toBe(outer);
      });
      expect(activeScope()).toBe(outer);
    });
    expect(activeScope()).toBe(outside);
  });
});
