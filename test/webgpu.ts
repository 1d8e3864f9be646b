/** What the suites change about the webgpu backend. */
import type { KernelBackend } from '@tensorflow/tfjs-core';

interface WebGPUBackend {
  adapterInfo: { architecture: string };
  thresholdToIncreaseWorkgroups: number;
  readSync: (id: object) => unknown;
  tensorMap: { get: (id: object) => { values: unknown } };
}

export function prepareWebGPU(backend: KernelBackend): void {
  const gpu = backend as unknown as WebGPUBackend;
  // SwiftShader emulates barriers: there the product that sums within a workgroup, which the host takes for small results, needs 0.1 s.
  if (/swiftshader/i.test(gpu.adapterInfo.architecture)) gpu.thresholdToIncreaseWorkgroups = 0;
  refuseSynchronousReads(gpu);
}

/** `dataSync` of what the GPU computed answers zeros, and may lose the device: an error instead, for the package as for its tests. */
function refuseSynchronousReads(gpu: WebGPUBackend): void {
  if (Object.hasOwn(gpu, 'readSync')) return;
  const readSync = gpu.readSync.bind(gpu);
  gpu.readSync = (id) => {
    if (gpu.tensorMap.get(id).values == null) throw new Error('webgpu cannot be read synchronously: use `await tensor.data()` instead of `dataSync()`.');
    return readSync(id);
  };
}
