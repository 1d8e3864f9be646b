/** Chooses the backend of an example: the one asked for, else the fastest that loads (native, wasm, cpu). */
import * as tfc from '@tensorflow/tfjs-core';
import { registerMissingKernels } from 'tfjs-weight-sharing';

export const BACKENDS = ['tensorflow', 'wasm', 'cpu'] as const;
export type Backend = (typeof BACKENDS)[number];

/** Optional packages: their specifiers are held in variables because they, and so their types, need not be there. */
const NATIVE_PACKAGES = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'];
const HOW_TO_GET_NATIVE = 'The native backend is several times faster: npm install --no-save @tensorflow/tfjs-node';

/** Makes a backend the active one and returns its name in words; `say` gets one line when the choice needs a word. */
export async function useBackend(wanted: Backend | undefined, say: (line: string) => void): Promise<{ backend: Backend; label: string }> {
  const candidates = wanted === undefined ? BACKENDS : [wanted];
  const failures: string[] = [];
  for (const backend of candidates) {
    try {
      const label = await load(backend);
      if (wanted === undefined && backend !== 'tensorflow') say(`Backend: ${label}; the native one does not load here. ${HOW_TO_GET_NATIVE}`);
      return { backend, label };
    } catch (error) {
      failures.push(`${backend}: ${(error as Error).message.split('\n')[0]}`);
    }
  }
  const hint = wanted === 'tensorflow' ? ` ${HOW_TO_GET_NATIVE}` : '';
  throw new Error(`No backend could be loaded (${failures.join('; ')}).${hint}`);
}

async function load(backend: Backend): Promise<string> {
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
  let label: string = backend;
  if (backend === 'tensorflow') label = await loadNative();
  else if (backend === 'wasm') await import('@tensorflow/tfjs-backend-wasm');
  else await import('@tensorflow/tfjs-backend-cpu');
  if (!(await tfc.setBackend(backend))) throw new Error('it is installed but does not start');
  await tfc.ready();
  if (backend !== 'cpu') registerMissingKernels();
  return label;
}

async function loadNative(): Promise<string> {
  const failures: string[] = [];
  for (const name of NATIVE_PACKAGES) {
    try {
      await import(name);
      return `tensorflow (${name})`;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const absent = code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND';
      failures.push(absent ? `${name} is not installed` : `${name}: ${message.split('\n')[0]}`);
    }
  }
  throw new Error(failures.join(', '));
}
