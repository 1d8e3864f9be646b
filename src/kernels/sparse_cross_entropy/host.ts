/**
 * The kernels where tensors are in this process.
 *
 * cpu: one loop, one exponential per number. wasm: the backend's own vectorised softmax, then a loop over its result in place.
 * tensorflow: the runtime's own fused operation, which the host's package does not offer.
 */
import { getKernel, registerKernel } from '@tensorflow/tfjs-core';
import type { DataType, KernelBackend, KernelFunc, TensorInfo } from '@tensorflow/tfjs-core';
import { filledOnHost, type Values } from '../host_memory.js';
import { SCALE_ROWS, SPARSE_CROSS_ENTROPY, type ScaleRowsInputs, type SparseCrossEntropyInputs } from './names.js';

/** `losses` [rows] and `gradient` [rows, classes] from `logits`; all of both are written. */
export function crossEntropyInto(losses: Values, gradient: Values, logits: Values, targets: Values): void {
  const rows = targets.length;
  const classes = rows === 0 ? 0 : logits.length / rows;
  for (let row = 0, start = 0; row < rows; row++, start += classes) {
    const end = start + classes;
    let largest = -Infinity;
    for (let i = start; i < end; i++) if (logits[i] > largest) largest = logits[i];
    let sum = 0;
    for (let i = start; i < end; i++) sum += gradient[i] = Math.exp(logits[i] - largest);
    const scale = 1 / sum;
    for (let i = start; i < end; i++) gradient[i] *= scale;
    const target = start + targets[row];
    gradient[target] -= 1;
    losses[row] = Math.log(sum) + largest - logits[target];
  }
}

/** As {@link crossEntropyInto}, where `gradient` holds softmax(logits) already. */
export function crossEntropyFromSoftmax(losses: Values, gradient: Values, logits: Values, targets: Values): void {
  const rows = targets.length;
  const classes = rows === 0 ? 0 : logits.length / rows;
  for (let row = 0, start = 0; row < rows; row++, start += classes) {
    // log softmax(z)_t = z_t − z_r + log softmax(z)_r for any r; the likeliest r loses no digits. A NaN in a row makes all of it NaN.
    let likeliest = start;
    for (let i = start + 1; i < start + classes; i++) if (gradient[i] > gradient[likeliest]) likeliest = i;
    const target = start + targets[row];
    losses[row] = logits[likeliest] - logits[target] - Math.log(gradient[likeliest]);
    gradient[target] -= 1;
  }
}

/** out[r, c] = x[r, c] · scale[r]; all of `out` is written. */
export function scaleRowsInto(out: Values, x: Values, scale: Values): void {
  const rows = scale.length;
  const columns = rows === 0 ? 0 : x.length / rows;
  for (let row = 0, i = 0; row < rows; row++) {
    const factor = scale[row];
    for (const end = i + columns; i < end; i++) out[i] = x[i] * factor;
  }
}

const inLoop: KernelFunc = ({ inputs, backend }) => {
  const { logits, targets } = inputs as unknown as SparseCrossEntropyInputs;
  const host = backend as KernelBackend;
  const losses = new Float32Array(targets.shape[0]);
  const gradient = filledOnHost(host, [logits, targets], { shape: logits.shape, dtype: 'float32' }, (out, z, t) => crossEntropyInto(losses, out, z, t));
  return [{ dataId: host.write(losses, targets.shape, 'float32'), shape: targets.shape, dtype: 'float32' }, gradient];
};

const overSoftmax: KernelFunc = ({ inputs, backend }) => {
  const { logits, targets } = inputs as unknown as SparseCrossEntropyInputs;
  const host = backend as KernelBackend;
  const softmax = getKernel('Softmax', 'wasm');
  if (softmax == null) throw new Error("sparseCrossEntropy: the wasm backend has no kernel 'Softmax', which this one builds on.");
  const gradient = softmax.kernelFunc({ inputs: { logits }, backend, attrs: { dim: 1 } }) as TensorInfo;
  const losses = filledOnHost(host, [gradient, logits, targets], { shape: targets.shape, dtype: 'float32' }, (out, p, z, t) => crossEntropyFromSoftmax(out, p, z, t));
  return [losses, gradient];
};

/** What is used of the native backend. */
interface NativeBackend extends KernelBackend {
  binding: { TF_ATTR_TYPE: number };
  getDTypeInteger(dtype: DataType): number;
  executeMultipleOutputs(name: string, attrs: object[], inputs: TensorInfo[], outputs: number): TensorInfo[];
}

const natively: KernelFunc = ({ inputs, backend }) => {
  const { logits, targets } = inputs as unknown as SparseCrossEntropyInputs;
  const native = backend as NativeBackend;
  const type = (name: string, dtype: DataType) => ({ name, type: native.binding.TF_ATTR_TYPE, value: native.getDTypeInteger(dtype) });
  return native.executeMultipleOutputs('SparseSoftmaxCrossEntropyWithLogits', [type('T', 'float32'), type('Tlabels', 'int32')], [logits, targets], 2);
};

const scaleInLoop: KernelFunc = ({ inputs, backend }) => {
  const { x, scale } = inputs as unknown as ScaleRowsInputs;
  return filledOnHost(backend as KernelBackend, [x, scale], { shape: x.shape, dtype: 'float32' }, scaleRowsInto);
};

const KERNELS: Array<[kernelName: string, backendName: string, kernelFunc: KernelFunc]> = [
  [SPARSE_CROSS_ENTROPY, 'cpu', inLoop],
  [SPARSE_CROSS_ENTROPY, 'wasm', overSoftmax],
  [SPARSE_CROSS_ENTROPY, 'tensorflow', natively],
  // The host multiplies by a column through its general broadcasting there.
  [SCALE_ROWS, 'cpu', scaleInLoop],
  [SCALE_ROWS, 'wasm', scaleInLoop],
];
for (const [kernelName, backendName, kernelFunc] of KERNELS) {
  // Another copy of this package in the same page may have been here.
  if (getKernel(kernelName, backendName) == null) registerKernel({ kernelName, backendName, kernelFunc });
}

