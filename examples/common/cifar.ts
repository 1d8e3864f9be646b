/**
 * CIFAR-10 (Krizhevsky 2009) in its binary layout, whole or a part of it, gzipped or not: per image one byte with the label, then 1024 red, 1024 green and
 * 1024 blue bytes, row-major.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { countOf, holdOut, type DataSet, type LabelledImages } from './images.js';

const SIDE = 32;
const PLANE = SIDE * SIDE;
const RECORD = 1 + 3 * PLANE;

/** The whole set has data_batch_1.bin … data_batch_5.bin and test_batch.bin; parts of it train….bin and test….bin. */
const TRAIN = /^(data_batch_\d|train\w*)\.bin(\.gz)?$/;
const TEST = /^test\w*\.bin(\.gz)?$/;

/** `held` training images are held out. */
export function readCifar(directory: string, held: number): DataSet {
  const names = existsSync(directory) ? readdirSync(directory).sort() : [];
  const read = (pattern: RegExp) => {
    const found = names.filter((name) => pattern.test(name));
    if (found.length > 0) return joined(found.map((name) => parseCifar(unzipped(readFileSync(join(directory, name))), name)));
    throw new Error(`${directory}: expected CIFAR-10 in its binary layout, data_batch_1.bin … and test_batch.bin, or train….bin and test….bin of a part of it, gzipped or not.`);
  };
  const [train, test] = [read(TRAIN), read(TEST)];
  const { kept, heldOut } = holdOut(train, held);
  const part = countOf(train) === 50_000 ? '' : `, ${countOf(train).toLocaleString('en')} of 50,000 training images`;
  return { origin: `CIFAR-10${part}`, train: kept, validation: heldOut, test };
}

/** Parses one file; `name` is for the error messages. */
export function parseCifar(bytes: Uint8Array, name: string): LabelledImages {
  const count = bytes.length / RECORD;
  if (!Number.isInteger(count) || count === 0) throw new Error(`${name}: expected whole records of ${RECORD} bytes, got ${bytes.length} bytes. Get the file again.`);
  const labels = new Uint8Array(count);
  const images = new Uint8Array(count * 3 * PLANE);
  for (let i = 0; i < count; i++) {
    labels[i] = bytes[i * RECORD];
    if (labels[i] > 9) throw new Error(`${name}: label ${labels[i]} of image ${i}; CIFAR-10 has 0 to 9. Is this another file?`);
    for (let channel = 0; channel < 3; channel++) {
      const plane = i * RECORD + 1 + channel * PLANE;
      for (let p = 0; p < PLANE; p++) images[(i * PLANE + p) * 3 + channel] = bytes[plane + p];
    }
  }
  return { images, labels, width: SIDE, height: SIDE, channels: 3 };
}

/** By content: mirrors unpack files without renaming them. */
const unzipped = (bytes: Uint8Array): Uint8Array => (bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes);

function joined(parts: readonly LabelledImages[]): LabelledImages {
  const concat = (arrays: Uint8Array[]) => Uint8Array.from(Buffer.concat(arrays));
  return { ...parts[0], images: concat(parts.map(({ images }) => images)), labels: concat(parts.map(({ labels }) => labels)) };
}
