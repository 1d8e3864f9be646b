/** Initial values of stored weights that give the virtual ones the spread which an initializer means for their shape. */
import { initializers } from '@tensorflow/tfjs-layers';
import type { Initializer } from '../host.js';

/** How many inputs a virtual unit adds up, and how many outputs a virtual input goes to. */
export interface Fans {
  fanIn: number;
  fanOut: number;
}

/** Of glorotUniform, heNormal and their like, which scale by fans; null for others. */
interface Scaling {
  scale: number;
  mode: 'fanIn' | 'fanOut' | 'fanAvg';
  distribution: 'normal' | 'uniform';
  seed?: number;
}

// All of the host's initializers that scale by fans answer with this class name.
const scalingOf = (initializer: Initializer): Scaling | null =>
  initializer.getClassName() === 'VarianceScaling' ? (initializer.getConfig() as unknown as Scaling) : null;

function deviation({ scale, mode }: Scaling, { fanIn, fanOut }: Fans): number {
  const fan = mode === 'fanIn' ? fanIn : mode === 'fanOut' ? fanOut : (fanIn + fanOut) / 2;
  return Math.sqrt(scale / Math.max(1, fan));
}

/**
 * An initializer for an array of stored weights of any length. Those that scale by fans use the virtual ones; those whose numbers have
 * places in a matrix (orthogonal, identity) cannot be kept under a hash; others are used as they are.
 */
export function virtualInitializer(who: string, initializer: Initializer, fans: Fans): Initializer {
  const scaling = scalingOf(initializer);
  if (scaling !== null) {
    const stddev = deviation(scaling, fans);
    const { seed } = scaling;
    if (scaling.distribution === 'normal') return initializers.truncatedNormal({ mean: 0, stddev, seed });
    const limit = Math.sqrt(3) * stddev;
    return initializers.randomUniform({ minval: -limit, maxval: limit, seed });
  }
  if (['Orthogonal', 'Identity'].includes(initializer.getClassName())) {
    throw new Error(`${who}: kernelInitializer '${initializer.getClassName()}' gives every weight its place, which shared weights do not keep. Use glorotNormal, heNormal or another whose weights are independent.`);
  }
  return initializer;
}

/** The standard deviation that an initializer means for weights of these fans, or null where its config does not tell. */
export function meantDeviation(initializer: Initializer, fans: Fans): number | null {
  const scaling = scalingOf(initializer);
  if (scaling !== null) return deviation(scaling, fans);
  const { stddev, minval, maxval } = initializer.getConfig() as { stddev?: number; minval?: number; maxval?: number };
  if (typeof stddev === 'number') return stddev;
  return typeof minval === 'number' && typeof maxval === 'number' ? (maxval - minval) / Math.sqrt(12) : null;
}
