/** The images of a compression example: IDX files from a folder, or digits that it draws. */
import { renderedDigits } from '../digits.js';
import type { DataSet } from '../images.js';
import { readMnist } from '../mnist.js';

const DRAWN = { train: 12_000, validation: 2_000, test: 4_000 };

/** `folder` null: drawn digits. */
export function readDataSet(folder: string | null): DataSet {
  return folder === null ? renderedDigits(DRAWN.train, DRAWN.validation, DRAWN.test) : readMnist(folder);
}
