/** Which weights get a codebook, and which are vectors: biases, scales, statistics, whatever their shape. */
import type { Spec } from './weight_source.js';

/** Last part of the names of vectors that layers keep for each recursion or step, `[steps, channels]`. */
const VECTORS = /(^|_)(gamma|beta|bias|moving_mean|moving_variance|step_signals|masks)(_|\d|$)/;
/** What is called like one but has more numbers is a matrix all the same, such as a bias of attention for all pairs of positions. */
const MOST_NUMBERS = 16384;
/** Of weights of one axis from which layers make matrices: those of hashed layers, and banks. */
const FLAT = /^(hashed_v\d|bank(_\d+)?$)/;

/** Whether a weight is quantised; otherwise it is rounded. */
export function isMatrix({ name, shape }: Pick<Spec, 'name' | 'shape'>): boolean {
  const own = name.slice(name.lastIndexOf('/') + 1);
  if (shape.length < 2) return shape.length === 1 && FLAT.test(own);
  return !VECTORS.test(own) || shape.reduce((product, n) => product * n, 1) > MOST_NUMBERS;
}
