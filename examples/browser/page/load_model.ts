/** Downloads and decodes a compressed model, with progress and times. */
import { io } from '@tensorflow/tfjs-core';
import { loadLayersModel, type LayersModel } from '@tensorflow/tfjs-layers';
import { compressed } from 'tfjs-weight-sharing/load';

export interface LoadedModel {
  model: LayersModel;
  /** Of the file. */
  bytes: number;
  decodeMilliseconds: number;
}

/** `progress` gets the bytes so far, and all of them where the server says how many. */
export async function loadModel(url: string, progress: (loaded: number, total: number | null) => void): Promise<LoadedModel> {
  let bytes = 0;
  let arrived = 0;
  const fetchFunc = async (address: string): Promise<Response> => {
    const response = await fetch(address, { cache: 'no-cache' });
    if (!response.ok || response.body === null) return response;
    // Where the server compressed the file on the way, its length counts other bytes than those that are read.
    const length = response.headers.has('Content-Encoding') ? null : Number(response.headers.get('Content-Length')) || null;
    const counting = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        progress((bytes += chunk.length), length);
        controller.enqueue(chunk);
      },
    });
    const whole = await new Response(response.body.pipeThrough(counting)).arrayBuffer();
    arrived = performance.now();
    return new Response(whole);
  };
  const artifacts = await compressed(url, { fetchFunc }).load();
  const decodeMilliseconds = performance.now() - arrived;
  return { model: await loadLayersModel(io.fromMemory(artifacts)), bytes, decodeMilliseconds };
}
