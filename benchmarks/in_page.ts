/** The half of `browser.ts` that runs in a page: one area on webgl or webgpu. */
import * as tf from '@tensorflow/tfjs-core';
import type { Area } from './run.js';

const BACKENDS: Record<string, () => Promise<unknown>> = {
  webgl: () => import('@tensorflow/tfjs-backend-webgl'),
  webgpu: () => import('@tensorflow/tfjs-backend-webgpu'),
};

/** What computes: a GPU, or a processor in its stead (SwiftShader), whose times say nothing about a GPU. */
async function renderer(backend: string): Promise<string> {
  if (backend === 'webgpu') {
    const { vendor, architecture } = (tf.backend() as unknown as { adapterInfo: Record<string, string> }).adapterInfo;
    return `${vendor} ${architecture}`;
  }
  const gl = document.createElement('canvas').getContext('webgl2')!;
  const names = gl.getExtension('WEBGL_debug_renderer_info');
  return String(gl.getParameter(names?.UNMASKED_RENDERER_WEBGL ?? gl.RENDERER));
}

/** What the area gives on this backend; what it prints goes to the console. */
export async function measure(file: string, backend: string): Promise<Record<string, unknown>> {
  await BACKENDS[backend]();
  await tf.setBackend(backend);
  await tf.ready();
  // A failed switch is silent: the backend before it stays active.
  if (tf.getBackend() !== backend) throw new Error(`bench: the backend '${backend}' did not start in the page; '${tf.getBackend()}' is active.`);
  console.log(`${backend} by ${await renderer(backend)}`);
  const area = (await import(/* @vite-ignore */ `/benchmarks/${file}.ts`)) as Area;
  return await area.run({ backend, print: (line) => console.log(line) });
}
