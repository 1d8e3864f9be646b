/** Compresses in a thread of its own, so that the page stays awake; needs no backend. */
import type { io } from '@tensorflow/tfjs-core';
import { compressModel, decodeModelArtifacts } from 'tfjs-weight-sharing';
import { countValues } from './histogram.js';
import type { CompressionTask, WorkerMessage } from './messages.js';

const say = (message: WorkerMessage, moved: Transferable[] = []): void => (self as unknown as Worker).postMessage(message, moved);

self.onmessage = async ({ data: { artifacts, options } }: MessageEvent<CompressionTask>): Promise<void> => {
  try {
    const result = await compressModel(artifacts, { ...options, onProgress: (done, what) => say({ kind: 'progress', done, what }) });
    const file = new Uint8Array(result.file!);
    const begun = performance.now();
    const decoded = decodeModelArtifacts(file);
    const decodeMilliseconds = performance.now() - begun;
    const before = countValues(matrices(artifacts));
    say({ kind: 'done', file, report: result.report, decodeMilliseconds, before, after: countValues(matrices(decoded), before) }, [file.buffer]);
  } catch (error) {
    say({ kind: 'failed', message: (error as Error).message });
  }
};

const WIDTHS: Readonly<Record<string, number>> = { bool: 1, uint8: 1, uint16: 2, float16: 2, float32: 4, int32: 4, complex64: 8 };

/** The float32 matrices; those behind a string, whose length only its bytes tell, are left out. */
function matrices({ weightSpecs = [], weightData }: io.ModelArtifacts): Float32Array[] {
  const data = weightData as ArrayBuffer;
  const found: Float32Array[] = [];
  let at = 0;
  for (const { shape, dtype, quantization } of weightSpecs) {
    const size = shape.reduce((product, n) => product * n, 1);
    if (dtype === 'string') break;
    const bytes = size * WIDTHS[quantization?.dtype ?? dtype];
    if (dtype === 'float32' && quantization === undefined && shape.length > 1) found.push(new Float32Array(data.slice(at, at + bytes)));
    at += bytes;
  }
  return found;
}
