/** Reads arrays that users have: NumPy's .npy, or nested arrays in .json. */
import { readFile } from 'node:fs/promises';

export interface NumberArray {
  shape: number[];
  values: Float32Array;
}

/** @throws Error if the file is neither, or of a type or order that is not supported. */
export async function readArray(path: string): Promise<NumberArray> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    throw new Error(`'${path}' cannot be read: ${(error as Error).message}.`, { cause: error });
  }
  return /\.json$/i.test(path) ? parseJson(path, bytes) : parseNpy(path, bytes);
}

function parseJson(path: string, bytes: Uint8Array): NumberArray {
  const shape: number[] = [];
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw new Error(`'${path}' is not JSON: ${(error as Error).message}.`, { cause: error });
  }
  for (let inner = value; Array.isArray(inner); inner = inner[0] as unknown) shape.push(inner.length);
  const flat = Array.isArray(value) ? (value as unknown[]).flat(Infinity) : [];
  if (flat.length === 0 || flat.length !== shape.reduce((a, b) => a * b, 1) || !flat.every((w) => typeof w === 'number')) {
    throw new Error(`'${path}' must hold nested arrays of numbers, all of one shape, e.g. [[0, 1], [2, 3]].`);
  }
  return { shape, values: Float32Array.from(flat as number[]) };
}

const READERS: Record<string, (buffer: ArrayBufferLike) => ArrayLike<number>> = {
  '<f4': (b) => new Float32Array(b), '<f8': (b) => new Float64Array(b), '|u1': (b) => new Uint8Array(b), '|i1': (b) => new Int8Array(b), '|b1': (b) => new Uint8Array(b),
  '<u2': (b) => new Uint16Array(b), '<i2': (b) => new Int16Array(b), '<i4': (b) => new Int32Array(b), '<u4': (b) => new Uint32Array(b),
  '<i8': (b) => Float64Array.from(new BigInt64Array(b), Number),
}; // prettier-ignore

function parseNpy(path: string, bytes: Uint8Array): NumberArray {
  const fail = (why: string): never => {
    throw new Error(`'${path}' ${why}. Save it with numpy.save('x.npy', x.astype('float32')), or give nested arrays as .json.`);
  };
  if (String.fromCharCode(...bytes.slice(1, 6)) !== 'NUMPY') fail('is neither .npy nor .json');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wide = bytes[6] > 1;
  const start = wide ? 12 : 10;
  const end = start + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder('latin1').decode(bytes.subarray(start, end));
  const type = /'descr':\s*'([^']*)'/.exec(header)?.[1] ?? '';
  const shape = (/'shape':\s*\(([^)]*)\)/.exec(header)?.[1] ?? '').split(',').map((n) => n.trim()).filter((n) => n !== '').map(Number);
  if (!Object.hasOwn(READERS, type)) fail(`has the type '${type}', which is not read (numbers of 1 to 8 bytes, little-endian, are)`);
  if (/'fortran_order':\s*True/.test(header)) fail('is in Fortran order');
  const count = shape.reduce((a, b) => a * b, 1);
  const data = bytes.slice(end).buffer;
  const width = Number(type[2]);
  if (data.byteLength !== count * width) fail(`should hold ${count * width} bytes of numbers, but has ${data.byteLength}`);
  return { shape, values: Float32Array.from(READERS[type](data)) };
}
