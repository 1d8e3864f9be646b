/**
 * MNIST (LeCun, Cortes, Burges 1998) from its four IDX files, gzipped or not.
 * IDX: big-endian magic (2051 images, 2049 labels), the dimensions as 32-bit numbers, then the bytes.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { RemoteFile } from './download.js';
import { holdOut, type DataSet, type LabelledImages } from './images.js';

const IMAGES_MAGIC = 2051;
const LABELS_MAGIC = 2049;

/** Sets of the same shape and file names are told apart by the SHA-256 of their unpacked test labels. */
const KNOWN_LABELS: Readonly<Record<string, string>> = {
  ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2: 'MNIST',
  '0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34': 'Fashion-MNIST',
};

export const MNIST_FILES: readonly RemoteFile[] = [
  { file: 'train-images-idx3-ubyte.gz', bytes: 9912422, sha256: '440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609' },
  { file: 'train-labels-idx1-ubyte.gz', bytes: 28881, sha256: '3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c' },
  { file: 't10k-images-idx3-ubyte.gz', bytes: 1648877, sha256: '8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6' },
  { file: 't10k-labels-idx1-ubyte.gz', bytes: 4542, sha256: 'f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6' },
];

/** Public mirrors of the four files, tried in this order. */
export const MNIST_MIRRORS: readonly string[] = [
  'https://storage.googleapis.com/cvdf-datasets/mnist/',
  'https://ossci-datasets.s3.amazonaws.com/mnist/',
];

/** Parses one IDX file of unsigned bytes; `name` is for the error messages. */
export function parseIdx(bytes: Uint8Array, name: string, kind: 'images' | 'labels'): { dimensions: number[]; data: Uint8Array } {
  const rank = kind === 'images' ? 3 : 1;
  const headerBytes = 4 + 4 * rank;
  if (bytes.length < headerBytes) {
    throw new Error(`${name}: truncated: an IDX file of ${kind} has a header of ${headerBytes} bytes, this file has ${bytes.length} bytes.`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = view.getUint32(0);
  const expectedMagic = kind === 'images' ? IMAGES_MAGIC : LABELS_MAGIC;
  if (magic !== expectedMagic) {
    throw new Error(`${name}: wrong magic number: expected ${expectedMagic} (IDX ${kind}), got ${magic}. Is this another file?`);
  }
  const dimensions = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i));
  const size = dimensions.reduce((product, n) => product * n, 1);
  const present = bytes.length - headerBytes;
  if (present !== size) {
    const trouble = present < size ? 'truncated' : 'too long';
    throw new Error(`${name}: ${trouble}: the header announces ${dimensions.join(' × ')} = ${size} bytes, the file holds ${present}. Get the file again.`);
  }
  return { dimensions, data: bytes.subarray(headerBytes) };
}

/** Reads one pair of IDX files, e.g. `train`, from a directory; each may be gzipped (`.gz`) or plain. */
export function readIdxPair(directory: string, prefix: 'train' | 't10k'): LabelledImages {
  const imagesName = `${prefix}-images-idx3-ubyte`;
  const labelsName = `${prefix}-labels-idx1-ubyte`;
  const images = parseIdx(readMaybeGzipped(directory, imagesName), imagesName, 'images');
  const labels = parseIdx(readMaybeGzipped(directory, labelsName), labelsName, 'labels');
  const [count, height, width] = images.dimensions;
  if (count !== labels.dimensions[0]) {
    throw new Error(`MNIST in ${directory}: ${imagesName} holds ${count} images but ${labelsName} ${labels.dimensions[0]} labels. They are not of one set.`);
  }
  const wrong = labels.data.findIndex((label) => label > 9);
  if (wrong >= 0) throw new Error(`${labelsName}: label ${labels.data[wrong]} at position ${wrong}; digits are 0 to 9.`);
  return { images: images.data, labels: labels.data, width, height };
}

/** All of MNIST, with `held` training images held out for validation. */
export function readMnist(directory: string, held = 5000): DataSet {
  const train = readIdxPair(directory, 'train');
  const test = readIdxPair(directory, 't10k');
  if (train.width !== test.width || train.height !== test.height) {
    throw new Error(`MNIST in ${directory}: training images are ${train.width} × ${train.height}, test images ${test.width} × ${test.height}.`);
  }
  const { kept, heldOut } = holdOut(train, held);
  return { origin: originOf(test), train: kept, validation: heldOut, test };
}

/** The set's name where it is a known one. */
function originOf({ labels }: LabelledImages): string {
  // The file begins with its magic number and the count.
  const header = new Uint8Array(8);
  new DataView(header.buffer).setUint32(0, LABELS_MAGIC);
  new DataView(header.buffer).setUint32(4, labels.length);
  return KNOWN_LABELS[createHash('sha256').update(header).update(labels).digest('hex')] ?? 'IDX files';
}

function readMaybeGzipped(directory: string, name: string): Uint8Array {
  const zipped = join(directory, `${name}.gz`);
  const plain = join(directory, name);
  const path = existsSync(zipped) ? zipped : plain;
  if (!existsSync(path)) {
    throw new Error(
      `MNIST: neither ${name}.gz nor ${name} is in ${directory}. --data expects the four IDX files of MNIST; --download fetches them.`,
    );
  }
  const bytes = readFileSync(path);
  // By content, not by name: mirrors and browsers unpack .gz files without renaming them.
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  try {
    return gunzipSync(bytes);
  } catch (error) {
    throw new Error(`${path}: damaged gzip file (${(error as Error).message}). Get the file again.`, { cause: error });
  }
}
