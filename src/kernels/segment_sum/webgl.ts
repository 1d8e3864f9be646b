/**
 * `GatherRows` and `RowScatterAdd` as WebGL shaders.
 *
 * A fragment writes one place of its own, so that rows cannot be added to where their number says: each row of the result must find its
 * terms. Where there are few, every row looks at all of them (as the host's kernel always does). Else their order by number is found by
 * merging sorted runs, twice as long at each pass; a row then finds its first term by bisection and adds up neighbours: O(n · log² n +
 * rows · log n + (n + rows) · width), against O(n · rows · width). Terms are added in the order in which they were given.
 *
 * Shaders stay within GLSL ES 1.0 (loops of constant length).
 */
import { getKernel } from '@tensorflow/tfjs-core';
import type { DataType, KernelBackend, KernelFunc, TensorInfo } from '@tensorflow/tfjs-core';
import { registerOwnKernel } from '../mending.js';
import { GATHER_ROWS, ROW_SCATTER_ADD, type GatherRowsInputs, type RowScatterAddAttrs, type RowScatterAddInputs } from './names.js';

interface Program {
  variableNames: string[];
  outputShape: number[];
  userCode: string;
  customUniforms?: Array<{ name: string; type: 'int' }>;
}

/** What is used of `MathBackendWebGL`. */
interface WebGLBackend extends KernelBackend {
  runWebGLProgram(program: Program, inputs: TensorInfo[], dtype: DataType, uniforms?: number[][]): TensorInfo;
  disposeIntermediateTensorInfo(tensor: TensorInfo): void;
}

const BACKEND = 'webgl';
/** Up to so many terms every row looks at all of them, in one pass. */
const FEW = 64;
/** Terms that the first pass sorts, each by counting those before it. */
const FIRST_RUN = 8;

const gatherProgram = (rows: number, width: number, n: number): Program => ({
  variableNames: ['Table', 'Ids'],
  outputShape: [n, width],
  userCode: `
    void main() {
      ivec2 at = getOutputCoords();
      int id = int(getIds(at.x));
      // Not a product with 0, which a NaN in some row would survive.
      if (id < 0 || id >= ${rows}) setOutput(0.0);
      else setOutput(getTable(id, at.y));
    }`,
});

const lookAtAllProgram = (rows: number, width: number, n: number): Program => ({
  variableNames: ['Values', 'Ids'],
  outputShape: [rows, width],
  userCode: `
    void main() {
      ivec2 at = getOutputCoords();
      float sum = 0.0;
      for (int i = 0; i < ${n}; i++) {
        if (int(getIds(i)) == at.x) sum += getValues(i, at.y);
      }
      setOutput(sum);
    }`,
});

/** order[k] of runs of FIRST_RUN: the place of the term that comes k-th, equal numbers in their order. */
const firstRunsProgram = (n: number): Program => ({
  variableNames: ['Ids'],
  outputShape: [n],
  userCode: `
    void main() {
      int k = getOutputCoords();
      int start = (k / ${FIRST_RUN}) * ${FIRST_RUN};
      int found = k;
      for (int a = 0; a < ${FIRST_RUN}; a++) {
        int i = start + a;
        if (i >= ${n}) break;
        float id = getIds(i);
        int before = start;
        for (int b = 0; b < ${FIRST_RUN}; b++) {
          int j = start + b;
          if (j >= ${n}) break;
          float other = getIds(j);
          if (other < id || (other == id && j < i)) before++;
        }
        if (before == k) found = i;
      }
      setOutput(float(found));
    }`,
});

/** The order of runs twice as long: the k-th of a pair of runs is found by bisection over how many of the first come before it. */
const mergeProgram = (n: number): Program => ({
  variableNames: ['Ids', 'Order'],
  outputShape: [n],
  customUniforms: [{ name: 'run', type: 'int' }],
  userCode: `
    float idAt(int place) { return getIds(int(getOrder(place))); }
    void main() {
      int at = getOutputCoords();
      int first = (at / (2 * run)) * 2 * run;
      int second = first + run;
      if (second > ${n}) second = ${n};
      int end = second + run;
      if (end > ${n}) end = ${n};
      int k = at - first;
      int low = k - (end - second);
      if (low < 0) low = 0;
      int high = second - first;
      if (high > k) high = k;
      for (int step = 0; step < ${bisections(n)}; step++) {
        if (low >= high) break;
        int middle = (low + high) / 2;
        if (idAt(first + middle) <= idAt(second + k - 1 - middle)) low = middle + 1;
        else high = middle;
      }
      int left = first + low;
      int right = second + k - low;
      bool takeLeft = left < second;
      if (takeLeft && right < end) takeLeft = idAt(left) <= idAt(right);
      setOutput(takeLeft ? getOrder(left) : getOrder(right));
    }`,
});

/** Where the terms of each row begin in the order. */
const beginProgram = (rows: number, n: number): Program => ({
  variableNames: ['Ids', 'Order'],
  outputShape: [rows],
  userCode: `
    void main() {
      float row = float(getOutputCoords());
      int low = 0;
      int high = ${n};
      for (int step = 0; step < ${bisections(n)}; step++) {
        if (low >= high) break;
        int middle = (low + high) / 2;
        if (getIds(int(getOrder(middle))) < row) low = middle + 1;
        else high = middle;
      }
      setOutput(float(low));
    }`,
});

const addUpProgram = (rows: number, width: number, n: number): Program => ({
  variableNames: ['Values', 'Ids', 'Order', 'Begin'],
  outputShape: [rows, width],
  userCode: `
    void main() {
      ivec2 at = getOutputCoords();
      int begin = int(getBegin(at.x));
      float sum = 0.0;
      for (int step = 0; step < ${n}; step++) {
        if (begin + step >= ${n}) break;
        int term = int(getOrder(begin + step));
        if (int(getIds(term)) != at.x) break;
        sum += getValues(term, at.y);
      }
      setOutput(sum);
    }`,
});

/** Halvings of an interval of n + 1 places until one is left. */
const bisections = (n: number) => Math.ceil(Math.log2(n + 1)) + 1;

function zeros(backend: KernelBackend, shape: number[], dtype: DataType): TensorInfo {
  const fill = getKernel('Fill', BACKEND);
  if (fill == null) throw new Error("gatherRows: the webgl backend has no kernel 'Fill'. Import the whole of @tensorflow/tfjs-backend-webgl.");
  return fill.kernelFunc({ inputs: {}, backend, attrs: { shape, value: 0, dtype } }) as TensorInfo;
}

const gather: KernelFunc = (args) => {
  const { table, ids } = args.inputs as unknown as GatherRowsInputs;
  const backend = args.backend as WebGLBackend;
  const [[rows, width], n] = [table.shape, ids.shape[0]];
  if (rows * width * n === 0) return zeros(backend, [n, width], table.dtype);
  return backend.runWebGLProgram(gatherProgram(rows, width, n), [table, ids], table.dtype);
};

const scatter: KernelFunc = (args) => {
  const { values, ids } = args.inputs as unknown as RowScatterAddInputs;
  const { rows } = args.attrs as unknown as RowScatterAddAttrs;
  const backend = args.backend as WebGLBackend;
  const [n, width] = values.shape;
  if (rows * width * n === 0) return zeros(backend, [rows, width], values.dtype);
  if (n <= FEW) return backend.runWebGLProgram(lookAtAllProgram(rows, width, n), [values, ids], values.dtype);
  let order = backend.runWebGLProgram(firstRunsProgram(n), [ids], 'int32');
  for (let run = FIRST_RUN; run < n; run *= 2) {
    const longer = backend.runWebGLProgram(mergeProgram(n), [ids, order], 'int32', [[run]]);
    backend.disposeIntermediateTensorInfo(order);
    order = longer;
  }
  const begin = backend.runWebGLProgram(beginProgram(rows, n), [ids, order], 'int32');
  const sums = backend.runWebGLProgram(addUpProgram(rows, width, n), [values, ids, order, begin], values.dtype);
  backend.disposeIntermediateTensorInfo(order);
  backend.disposeIntermediateTensorInfo(begin);
  return sums;
};

registerOwnKernel(GATHER_ROWS, BACKEND, gather);
registerOwnKernel(ROW_SCATTER_ADD, BACKEND, scatter);
