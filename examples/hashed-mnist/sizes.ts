/** Which networks there are, and how large they are. */
import type { Method } from './settings.js';

export const CLASSES = 10;

export interface Variant {
  method: Method;
  compression: number;
  seed: number;
}

/** Parameters that the hashed network inputs-hidden-10 stores: a share of the weights of each layer, and all biases. */
export function storedParameters(inputs: number, hidden: number, compression: number): number {
  return Math.round((inputs * hidden) / compression) + hidden + Math.round((hidden * CLASSES) / compression) + CLASSES;
}

/** Hidden units of the smallest dense network that has at least so many parameters. */
export function denseUnits(inputs: number, parameters: number): number {
  return Math.ceil((parameters - CLASSES) / (inputs + 1 + CLASSES));
}
