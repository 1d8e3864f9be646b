/** How kernels are registered: once each, also where another copy of this package is in the same page (the host would warn). */
import { getKernel, registerKernel, unregisterKernel } from '@tensorflow/tfjs-core';
import type { KernelConfig, KernelFunc } from '@tensorflow/tfjs-core';

/** Marks our kernels under the host's names. */
const MENDED = Symbol.for('tfjs-weight-sharing.mended-kernel');

const marked = (kernelFunc: KernelFunc): KernelFunc => Object.assign(kernelFunc, { [MENDED]: true });

/** Whether the backend's own kernels are there: our own ones, under names of ours, are registered for backends that never come. */
export const isImported = (backendName: string): boolean => getKernel('Identity', backendName) != null;

/** Registers a kernel under a name of ours, whether or not that backend is ever imported. */
export function registerOwnKernel(kernelName: string, backendName: string, kernelFunc: KernelFunc): void {
  if (getKernel(kernelName, backendName) == null) registerKernel({ kernelName, backendName, kernelFunc });
}

/** Registers a kernel that an imported backend lacks; what it registered, as `backend/Kernel`. */
export function addKernel(kernelName: string, backendName: string, kernelFunc: KernelFunc): string[] {
  if (!isImported(backendName) || getKernel(kernelName, backendName) != null) return [];
  registerKernel({ kernelName, backendName, kernelFunc: marked(kernelFunc) });
  return [`${backendName}/${kernelName}`];
}

/** Puts `mend(stock)` in the place of a stock kernel; what it replaced, as `backend/Kernel`. */
export function replaceKernel(kernelName: string, backendName: string, mend: (stock: KernelFunc) => KernelFunc): string[] {
  const stock: KernelConfig | undefined = getKernel(kernelName, backendName);
  if (stock == null || MENDED in stock.kernelFunc) return [];
  unregisterKernel(kernelName, backendName);
  // The stock setupFunc stays: a backend that is set later still calls it.
  registerKernel({ ...stock, kernelFunc: marked(mend(stock.kernelFunc)) });
  return [`${backendName}/${kernelName}`];
}
