/** What a callback holds for one `fit`: freed also where the fit has failed elsewhere, of which nobody tells the callback. */
import type * as tfl from '@tensorflow/tfjs-layers';
import { presentFit } from '../host.js';

export interface FitResource {
  /** Whether the fit goes on. */
  lasts(): boolean;
  /** Frees it, once. */
  end(): void;
}

/** Of all models. */
const held = new Set<FitResource>();

/** `free` is called by `end`, or when after this fit the next callback begins to hold something; what fits that are over have left is freed now. */
export function heldByFit(model: tfl.LayersModel, free: () => void): FitResource {
  for (const other of held) if (!other.lasts()) other.end();
  const end = (): void => {
    if (held.delete(resource)) free();
  };
  const resource = { lasts: presentFit(model), end };
  held.add(resource);
  return resource;
}
