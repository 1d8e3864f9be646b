/**
 * The host's own names for rows by number and their sums, for the backends that do them badly: `UnsortedSegmentSum`, the gradient of
 * `tf.gather`, is missing on wasm, and passes over all values once per segment on cpu; `GatherV2` checks each index by a closure there and
 * computes every element's place anew.
 */
import { backend_util, util } from '@tensorflow/tfjs-core';
import type { KernelBackend, KernelFunc, TensorInfo } from '@tensorflow/tfjs-core';
import { describe } from '../../checks.js';
import { filledOnHost, hostValues, sizeOf, type Values } from '../host_memory.js';
import { addKernel, replaceKernel } from '../mending.js';
import { gatherInto, scatterAddInto } from './rows.js';

/**
 * Sums of the slices of `x` whose segment number is s, for s in [0, numSegments): the numbers' shape is the beginning of x's. Numbers
 * outside are dropped, as TensorFlow does with negative ones and its GPU kernel with all.
 */
const segmentSum: KernelFunc = ({ inputs, backend, attrs }) => {
  const { x, segmentIds } = inputs as unknown as { x: TensorInfo; segmentIds: TensorInfo };
  const { numSegments } = attrs as unknown as { numSegments: number };
  if (x.dtype !== 'float32' && x.dtype !== 'int32') {
    throw new Error(`unsortedSegmentSum: x must be of type float32 or int32, got ${x.dtype}.`);
  }
  if (segmentIds.dtype !== 'int32') throw new Error(`unsortedSegmentSum: segmentIds must be of type int32, got ${segmentIds.dtype}.`);
  if (!(numSegments >= 0)) throw new Error(`unsortedSegmentSum: numSegments must be an integer ≥ 0, got ${describe(numSegments)}.`);
  const outer = segmentIds.shape.length;
  if (outer > x.shape.length || segmentIds.shape.some((length, axis) => length !== x.shape[axis])) {
    throw new Error(
      `unsortedSegmentSum: the shape of segmentIds, [${segmentIds.shape}], must be the beginning of that of x, [${x.shape}].`,
    );
  }
  const inner = x.shape.slice(outer);
  return filledOnHost(backend as KernelBackend, [x, segmentIds], { shape: [numSegments, ...inner], dtype: x.dtype }, (out, values, ids) =>
    scatterAddInto(out, values, ids, sizeOf({ shape: inner })));
};

/** Gathers numbers of 4 bytes; what is left to the stock kernel, such as strings, is refused or answered there. */
const fasterGather = (stock: KernelFunc): KernelFunc => (args) => {
  const { x, indices } = args.inputs as unknown as { x: TensorInfo; indices: TensorInfo };
  const attrs = args.attrs as unknown as { axis: number; batchDims?: number };
  const backend = args.backend as KernelBackend;
  if ((x.dtype !== 'float32' && x.dtype !== 'int32') || indices.dtype !== 'int32' || sizeOf(x) === 0) return stock(args);
  const axis = util.parseAxisParam(attrs.axis, x.shape)[0];
  const info = backend_util.segment_util.collectGatherOpShapeInfo(x as never, indices as never, axis, attrs.batchDims ?? 0);
  const { batchSize, outerSize, dimSize, sliceSize } = info;
  checkIndices(hostValues(backend, indices), dimSize);
  return filledOnHost(backend, [x, indices], { shape: info.outputShape, dtype: x.dtype }, (out, values, ids) => {
    const perBatch = ids.length / batchSize;
    const [slab, made] = [dimSize * sliceSize, perBatch * sliceSize];
    for (let batch = 0, i = 0; batch < batchSize; batch++) {
      const taken = batchSize === 1 ? ids : ids.subarray(batch * perBatch, (batch + 1) * perBatch);
      for (let outer = 0; outer < outerSize; outer++, i++) {
        gatherInto(out.subarray(i * made, (i + 1) * made), values.subarray(i * slab, (i + 1) * slab), taken, sliceSize);
      }
    }
  });
};

/** The stock kernel's refusal, in its words. */
function checkIndices(ids: Values, size: number): void {
  for (let i = 0; i < ids.length; i++) {
    if (!(ids[i] >= 0 && ids[i] < size)) throw new Error(`GatherV2: the index value ${ids[i]} is not in [0, ${size - 1}]`);
  }
}

/** Registers the above for the backends that are imported and names what it registered. */
export function registerSegmentSums(): string[] {
  return [
    ...['cpu', 'wasm'].flatMap((backend) => replaceKernel('GatherV2', backend, fasterGather)),
    ...replaceKernel('UnsortedSegmentSum', 'cpu', () => segmentSum),
    ...addKernel('UnsortedSegmentSum', 'wasm', segmentSum),
  ];
}
