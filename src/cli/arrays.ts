/** Reads arrays that users have: NumPy's .npy, IDX files (MNIST's format, gzipped or not), tables in .csv, or nested arrays in .json. */
import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { parse } from 'csv-parse/sync';

export interface NumberArray {
  shape: number[];
  values: Float32Array;
  /** Names of the columns of a table that has them. */
  columns?: string[];
}

/** @throws Error if the file is none of these, or of a type or order that is not supported. */
export async function readArray(path: string): Promise<NumberArray> {
  let bytes: Uint8Array;
  try {
    const read = await readFile(path);
    // Arrays of their own: slices of a Buffer share its memory.
    bytes = new Uint8Array(/\.gz$/i.test(path) ? gunzipSync(read) : read);
  } catch (error) {
    throw new Error(`'${path}' cannot be read: ${(error as Error).message}.`, { cause: error });
  }
  const name = path.replace(/\.gz$/i, '');
  if (/\.json$/i.test(name)) return parseJson(path, bytes);
  if (/\.csv$/i.test(name)) return parseCsv(path, bytes);
  return bytes[0] === 0 && bytes[1] === 0 ? parseIdx(path, bytes) : parseNpy(path, bytes);
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

/** One sample a row; a first row that is no numbers names the columns. */
function parseCsv(path: string, bytes: Uint8Array): NumberArray {
  let rows: string[][];
  try {
    rows = parse(bytes, { bom: true, skip_empty_lines: true, trim: true });
  } catch (error) {
    throw new Error(`'${path}' is not a table of commas: ${(error as Error).message}.`, { cause: error });
  }
  const numeric = (cell: string): boolean => cell !== '' && Number.isFinite(Number(cell));
  // A gap among numbers names nothing.
  const columns = rows.length > 0 && rows[0].some((cell) => cell !== '' && !numeric(cell)) ? rows.shift() : undefined;
  if (rows.length === 0) throw new Error(`'${path}' holds no rows of numbers.`);
  rows.forEach((row, r) => {
    const wrong = row.findIndex((cell) => !numeric(cell));
    if (wrong >= 0) throw new Error(`'${path}': row ${r + 1}${columns === undefined ? '' : ' below the names'}, column ${columns?.[wrong] ?? wrong + 1} is '${row[wrong]}', no number. Turn categories into numbers first, and leave no gaps.`);
  });
  return { shape: [rows.length, rows[0].length], values: Float32Array.from(rows.flat(), Number), ...(columns === undefined ? {} : { columns }) };
}

/** Element types of IDX files; all but the first big-endian. */
const IDX_TYPES: Record<number, { width: number; get: (view: DataView, at: number) => number }> = {
  0x08: { width: 1, get: (view, at) => view.getUint8(at) },
  0x09: { width: 1, get: (view, at) => view.getInt8(at) },
  0x0b: { width: 2, get: (view, at) => view.getInt16(at) },
  0x0c: { width: 4, get: (view, at) => view.getInt32(at) },
  0x0d: { width: 4, get: (view, at) => view.getFloat32(at) },
  0x0e: { width: 8, get: (view, at) => view.getFloat64(at) },
};

function parseIdx(path: string, bytes: Uint8Array): NumberArray {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const type = IDX_TYPES[bytes[2]] as (typeof IDX_TYPES)[number] | undefined;
  const start = 4 + 4 * bytes[3];
  if (type === undefined || bytes.length < start) throw new Error(`'${path}' begins as an IDX file, but its header is damaged.`);
  const shape = Array.from({ length: bytes[3] }, (_, i) => view.getUint32(4 + 4 * i));
  const count = shape.reduce((a, b) => a * b, 1);
  if (bytes.length - start !== count * type.width) throw new Error(`'${path}' should hold ${count * type.width} bytes of numbers, but has ${bytes.length - start}. Get the file again.`);
  return { shape, values: Float32Array.from({ length: count }, (_, i) => type.get(view, start + i * type.width)) };
}

const READERS: Record<string, (buffer: ArrayBufferLike) => ArrayLike<number>> = {
  '<f4': (b) => new Float32Array(b), '<f8': (b) => new Float64Array(b), '|u1': (b) => new Uint8Array(b), '|i1': (b) => new Int8Array(b), '|b1': (b) => new Uint8Array(b),
  '<u2': (b) => new Uint16Array(b), '<i2': (b) => new Int16Array(b), '<i4': (b) => new Int32Array(b), '<u4': (b) => new Uint32Array(b),
  '<i8': (b) => Float64Array.from(new BigInt64Array(b), Number),
}; // prettier-ignore

function parseNpy(path: string, bytes: Uint8Array): NumberArray {
  const fail = (why: string): never => {
    throw new Error(`'${path}' ${why}. Save it with numpy.save('x.npy', x.astype('float32')), or give an IDX file, a table as .csv, or nested arrays as .json.`);
  };
  if (String.fromCharCode(...bytes.slice(1, 6)) !== 'NUMPY') fail('is none of .npy, IDX, .csv and .json');
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
