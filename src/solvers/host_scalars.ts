/** Arithmetic on one number per sample of a batch, in plain JavaScript. */
import type { Scalars } from './space.js';

export type Numbers = Float64Array;

export function hostScalars(batch: number): Scalars<Numbers> {
  const make = (value: (i: number) => number): Numbers => {
    const out = new Float64Array(batch);
    for (let i = 0; i < batch; i++) out[i] = value(i);
    return out;
  };
  const get = (a: Numbers | number): ((i: number) => number) => (typeof a === 'number' ? () => a : (i) => a[i]);
  const both = (operation: (a: number, b: number) => number) => (a: Numbers | number, b: Numbers | number) => {
    const [left, right] = [get(a), get(b)];
    return make((i) => operation(left(i), right(i)));
  };
  return {
    fill: (value) => make(() => value),
    add: both((a, b) => a + b),
    sub: both((a, b) => a - b),
    mul: both((a, b) => a * b),
    div: both((a, b) => a / b),
    abs: (a) => make((i) => Math.abs(a[i])),
    sqrt: (a) => make((i) => Math.sqrt(a[i])),
    less: both((a, b) => (a < b ? 1 : 0)),
    not: (a) => make((i) => 1 - a[i]),
    where: (condition, a, b) => {
      const [left, right] = [get(a), get(b)];
      return make((i) => (condition[i] !== 0 ? left(i) : right(i)));
    },
  };
}
