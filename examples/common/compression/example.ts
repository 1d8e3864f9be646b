/** What tells one compression example from the others: its network and its settings. */
import type * as tfl from '@tensorflow/tfjs-layers';
import type { Settings } from './settings.js';

export interface CompressionExample {
  /** Its folder, and its name on the command line. */
  name: string;
  /** The network as papers call it. */
  network: string;
  /** What `--help` says of it. */
  description: string;
  /** What the network takes for one grey image. */
  inputShape(width: number, height: number): number[];
  /** The network, its initial weights determined by `seed`; not compiled. */
  build(inputShape: number[], seed: number): tfl.LayersModel;
  settings: {
    /** For images from IDX files (`--data`, `--download`). */
    idx: Settings;
    /** For digits that the example draws. */
    rendered: Settings;
  };
}
