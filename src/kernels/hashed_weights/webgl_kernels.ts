/**
 * The kernels as WebGL 2 shaders: the hash is computed there, for expanding no index is kept. A fragment shader cannot add to a place: a
 * stored number collects its terms, by an index of tiles that is kept for each matrix (tiles + buckets numbers); with rows by number it
 * looks at each tile of each row.
 */
import { env, getKernel, registerKernel, type DataType, type KernelBackend, type KernelFunc, type TensorInfo } from '@tensorflow/tfjs-core';
import { inverseIndex, MOST_TILES } from './inverse_index.js';
import { keptFor } from './kept.js';
import type { HashedMatrix } from './matrix.js';
import { EXPAND, EXPAND_ROWS, SCATTER, SCATTER_ROWS, type HashedAttrs } from './names.js';

interface Program {
  variableNames: string[];
  outputShape: number[];
  userCode: string;
  customUniforms: Array<{ name: string; type: 'int' | 'float' }>;
}

/** What is used of `MathBackendWebGL`. */
interface WebGLBackend extends KernelBackend {
  runWebGLProgram(program: Program, inputs: TensorInfo[], dtype: DataType, uniforms: number[][]): TensorInfo;
}

const backendName = 'webgl';

/** `locate` of matrix.ts: `hashOf` a tile, and the stored number that it begins at. */
const HASH = `
  uint takeWord(uint h, uint word) {
    h += word * 0xc2b2ae3du;
    return ((h << 17) | (h >> 15)) * 0x27d4eb2fu;
  }
  uint hashOf(int row, int column) {
    uint h = takeWord(takeWord(uint(seed) + 0x165667b1u + 8u, uint(row)), uint(column));
    h = (h ^ (h >> 15)) * 0x85ebca77u;
    h = (h ^ (h >> 13)) * 0xc2b2ae3du;
    return h ^ (h >> 16);
  }
  int bucketOf(uint h) {
    uint k = uint(buckets);
    uint low = h & 0xffffu;
    uint high = h >> 16;
    uint middle = high * (k & 0xffffu) + ((low * (k & 0xffffu)) >> 16);
    uint other = low * (k >> 16) + (middle & 0xffffu);
    return int(high * (k >> 16) + (middle >> 16) + (other >> 16));
  }`;

const UNIFORMS: Program['customUniforms'] = [{ name: 'seed', type: 'int' }, { name: 'buckets', type: 'int' }, { name: 'scale', type: 'float' }];

const factorOf = ({ signed }: HashedMatrix, hash: string) => (signed ? `((${hash} & 1u) == 1u ? -scale : scale)` : 'scale');

function expandProgram(matrix: HashedMatrix, rows: TensorInfo | undefined): Program {
  const { tile: [height, width], columns } = matrix;
  return {
    variableNames: rows === undefined ? ['Stored'] : ['Stored', 'Rows'],
    outputShape: [rows === undefined ? matrix.rows : rows.shape[0], columns],
    customUniforms: UNIFORMS,
    userCode: `${HASH}
      void main() {
        ivec2 at = getOutputCoords();
        int row = ${rows === undefined ? 'at.x' : 'int(round(getRows(at.x)))'};
        if (row < 0 || row >= ${matrix.rows}) {
          setOutput(0.0);
          return;
        }
        uint h = hashOf(row / ${height}, at.y / ${width});
        int index = bucketOf(h) + (row % ${height}) * ${width} + at.y % ${width};
        if (index >= buckets) index -= buckets;
        setOutput(${factorOf(matrix, 'h')} * getStored(index));
      }`,
  };
}

/** Adds `number` · factor for position `inTile` of the tile with hash h at (tileRow, tileColumn), where that is inside of the matrix. */
function scatterProgram(matrix: HashedMatrix, buckets: number): Program {
  const { tile: [height, width], rows, columns } = matrix;
  const inTile = height * width;
  return {
    variableNames: ['Gradient', 'Tiles', 'First'],
    outputShape: [buckets],
    customUniforms: UNIFORMS,
    userCode: `${HASH}
      float sumOf(int k, int from, int to) {
        float sum = 0.0;
        for (int p = from; p < to; p++) {
          int tile = int(getTiles(p));
          int tileRow = tile / ${Math.ceil(columns / width)};
          int tileColumn = tile - tileRow * ${Math.ceil(columns / width)};
          uint h = hashOf(tileRow, tileColumn);
          int inside = k - bucketOf(h);
          if (inside < 0) inside += buckets;
          int row = tileRow * ${height} + inside / ${width};
          int column = tileColumn * ${width} + inside % ${width};
          if (row < ${rows} && column < ${columns}) sum += ${factorOf(matrix, 'h')} * getGradient(row, column);
        }
        return sum;
      }
      void main() {
        int k = getOutputCoords();
        // The tiles that begin at k or fewer than ${inTile} numbers before it, which may be at the end of the stored array.
        int least = k - ${inTile - 1};
        float sum = sumOf(k, int(getFirst(max(least, 0))), int(getFirst(k + 1)));
        if (least < 0) sum += sumOf(k, int(getFirst(least + buckets)), int(getFirst(buckets)));
        setOutput(sum);
      }`,
  };
}

/** For each tile of each row, the stored number that it begins at, +1, with its sign; 0 for a number that names no row. */
function codesProgram(matrix: HashedMatrix, rows: TensorInfo): Program {
  const { tile: [height, width], columns, signed } = matrix;
  return {
    variableNames: ['Rows'],
    outputShape: [rows.shape[0], Math.ceil(columns / width)],
    customUniforms: UNIFORMS.slice(0, 2),
    userCode: `${HASH}
      void main() {
        ivec2 at = getOutputCoords();
        int row = int(round(getRows(at.x)));
        if (row < 0 || row >= ${matrix.rows}) {
          setOutput(0.0);
          return;
        }
        uint h = hashOf(row / ${height}, at.y);
        int index = bucketOf(h) + (row % ${height}) * ${width};
        if (index >= buckets) index -= buckets;
        float code = float(index + 1);
        setOutput(${signed ? '(h & 1u) == 1u ? -code : code' : 'code'});
      }`,
  };
}

function collectProgram({ tile: [, width], columns }: HashedMatrix, codes: TensorInfo, buckets: number): Program {
  return {
    variableNames: ['Gradient', 'Codes'],
    outputShape: [buckets],
    customUniforms: UNIFORMS.slice(1),
    userCode: `
      void main() {
        int k = getOutputCoords();
        float sum = 0.0;
        for (int r = 0; r < ${codes.shape[0]}; r++) {
          for (int t = 0; t < ${codes.shape[1]}; t++) {
            float code = getCodes(r, t);
            int inside = k + 1 - int(abs(code));
            if (inside < 0) inside += buckets;
            int column = t * ${width} + inside;
            if (code != 0.0 && inside < ${width} && column < ${columns}) sum += sign(code) * getGradient(r, column);
          }
        }
        setOutput(scale * sum);
      }`,
  };
}

/** @throws Error where the shaders cannot count exactly. */
function checkDevice(name: string, { rows, columns, tile }: HashedMatrix, buckets: number): void {
  if (env().getNumber('WEBGL_VERSION') !== 2) throw new Error(`${name}: hashing in a shader needs WebGL 2, and this device has WebGL ${env().getNumber('WEBGL_VERSION')}. Use the wasm backend.`);
  const tiles = Math.ceil(rows / tile[0]) * Math.ceil(columns / tile[1]);
  if (buckets >= MOST_TILES) throw new Error(`${name}: on webgl there can be fewer than ${MOST_TILES} stored weights, got ${buckets}. Use another backend.`);
  if (name === SCATTER && tiles > MOST_TILES) throw new Error(`${name}: on webgl there can be ${MOST_TILES} tiles in a matrix, got ${tiles}. Use larger tiles or another backend.`);
}

const uniformsOf = ({ seed, scale = 1 }: HashedMatrix, buckets: number) => [[seed | 0], [buckets], [scale]];

const expand: KernelFunc = ({ inputs, backend, attrs }) => {
  const { stored, rows } = inputs as { stored: TensorInfo; rows?: TensorInfo };
  const { matrix, buckets } = attrs as unknown as HashedAttrs;
  checkDevice(EXPAND, matrix, buckets);
  const given = rows === undefined ? [stored] : [stored, rows];
  return (backend as WebGLBackend).runWebGLProgram(expandProgram(matrix, rows), given, 'float32', uniformsOf(matrix, buckets));
};

const scatter: KernelFunc = ({ inputs, backend, attrs }) => {
  const { gradient } = inputs as { gradient: TensorInfo };
  const { matrix, buckets } = attrs as unknown as HashedAttrs;
  checkDevice(SCATTER, matrix, buckets);
  const webgl = backend as WebGLBackend;
  const index = keptFor(matrix, buckets, webgl, () => {
    const { tiles, first } = inverseIndex(matrix, buckets);
    const value = [tiles, first].map((numbers): TensorInfo => ({ dataId: webgl.write(numbers, [numbers.length], 'float32'), shape: [numbers.length], dtype: 'float32' }));
    return { value, dispose: () => value.forEach(({ dataId }) => webgl.disposeData(dataId)) };
  });
  return webgl.runWebGLProgram(scatterProgram(matrix, buckets), [gradient, ...index], 'float32', uniformsOf(matrix, buckets));
};

const scatterRows: KernelFunc = ({ inputs, backend, attrs }) => {
  const { gradient, rows } = inputs as { gradient: TensorInfo; rows: TensorInfo };
  const { matrix, buckets } = attrs as unknown as HashedAttrs;
  checkDevice(SCATTER_ROWS, matrix, buckets);
  const webgl = backend as WebGLBackend;
  const [seed, count, scale] = uniformsOf(matrix, buckets);
  const codes = webgl.runWebGLProgram(codesProgram(matrix, rows), [rows], 'float32', [seed, count]);
  const sums = webgl.runWebGLProgram(collectProgram(matrix, codes, buckets), [gradient, codes], 'float32', [count, scale]);
  webgl.disposeData(codes.dataId);
  return sums;
};

for (const [kernelName, kernelFunc] of Object.entries({ [EXPAND]: expand, [EXPAND_ROWS]: expand, [SCATTER]: scatter, [SCATTER_ROWS]: scatterRows })) {
  // Another copy of this package in the same page may have been here.
  if (getKernel(kernelName, backendName) == null) registerKernel({ kernelName, backendName, kernelFunc });
}
