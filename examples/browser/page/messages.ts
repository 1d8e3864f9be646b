/** What the page and its worker say to each other. */
import type { io } from '@tensorflow/tfjs-core';
import type { CompressionReport } from 'tfjs-weight-sharing';
import type { Bars } from './histogram.js';

export interface CompressionTask {
  /** Weights in one buffer. */
  artifacts: io.ModelArtifacts;
  options: { ratio?: number; bits?: number; maxError?: number };
}

export type WorkerMessage =
  | { kind: 'progress'; done: number; what: string }
  | { kind: 'failed'; message: string }
  | { kind: 'done'; file: Uint8Array<ArrayBuffer>; report: CompressionReport; decodeMilliseconds: number; before: Bars; after: Bars };
