/** What `digits.json` says beside the compressed model: how it was made, what it took before. */
import type { Bars } from './histogram.js';

export interface DigitFacts {
  /** The images, in words. */
  origin: string;
  parameters: number;
  /** Percent of test images. */
  testError: { before: number; after: number };
  /** Of the trained network as model.json and weights; the same after gzip; with shared weights after gzip. */
  bytes: { raw: number; gzip: number; sharedGzip: number };
  /** Kernels of the trained network. */
  before: Bars;
}
