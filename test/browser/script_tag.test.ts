import { describe, expect, it } from 'vitest';

/** What the scripts of the page define. */
interface ScriptPage extends Window {
  tf: typeof import('@tensorflow/tfjs-core') & typeof import('@tensorflow/tfjs-layers');
  tfws: typeof import('../../src/index.js');
}

const HOST = ['core/dist/tf-core', 'backend-cpu/dist/tf-backend-cpu', 'backend-webgl/dist/tf-backend-webgl', 'layers/dist/tf-layers'].map(
  (file) => `/scripts/node_modules/@tensorflow/tfjs-${file}.min.js`,
);
const OURS = '/scripts/dist/tfjs-weight-sharing.min.js';

/** A page of its own with these scripts, one after the other; the errors that they threw. */
async function pageWith(scripts: string[]): Promise<{ page: ScriptPage; errors: string[]; close: () => void }> {
  const frame = document.createElement('iframe');
  document.body.append(frame);
  const page = frame.contentWindow as unknown as ScriptPage;
  const errors: string[] = [];
  page.addEventListener('error', (event) => void errors.push((event as ErrorEvent).message));
  for (const source of scripts) {
    await new Promise<void>((resolve, reject) => {
      const script = frame.contentDocument!.createElement('script');
      script.src = source;
      script.onload = () => resolve();
      script.onerror = () => reject(new Error(`${source} does not load: npm run build`));
      frame.contentDocument!.head.append(script);
    });
  }
  return { page, errors, close: () => frame.remove() };
}

describe('the build for script tags', () => {
  it('quantises, saves and loads a model in a page, beside the `tf` of the host’s own script tags', async () => {
    const { page, errors, close } = await pageWith([...HOST, OURS]);
    const { tf, tfws } = page;
    expect(errors).toEqual([]);
    await tf.setBackend('webgl');
    expect(tf.getBackend()).toBe('webgl');

    const model = tf.sequential({
      layers: [
        tf.layers.dense({ units: 8, inputShape: [4], activation: 'tanh', kernelInitializer: tf.initializers.glorotUniform({ seed: 1 }) }),
        tf.layers.dense({ units: 1, kernelInitializer: tf.initializers.glorotUniform({ seed: 2 }) }),
      ],
    });
    const prior = tfws.gmmPrior({ trainingExamples: 16, components: 4, zeroMixing: 0.6 });
    tfws.attachRegularizer(model, prior);
    model.compile({ optimizer: tf.train.adam(0.01), loss: 'meanSquaredError' });
    const [x, y] = [tf.randomUniform([16, 4], -1, 1, 'float32', 3), tf.randomUniform([16, 1], -1, 1, 'float32', 4)];
    const callback = tfws.klMergeQuantization({ prior, verbose: false, maxDistance: 1 });
    await model.fit(x, y, { epochs: 1, verbose: 0, callbacks: [callback] });
    const kernel = await model.getWeights()[0].data();
    expect(new Set(kernel).size).toBeLessThanOrEqual(callback.report!.components);
    expect(callback.report!.components).toBeLessThanOrEqual(4);

    await model.save(tfws.compressed('indexeddb://tfws-script-tag'));
    const loaded = await tf.loadLayersModel(tfws.compressed('indexeddb://tfws-script-tag'));
    expect(Array.from(await loaded.getWeights()[0].data())).toEqual(Array.from(kernel));
    await tf.io.removeModel('indexeddb://tfws-script-tag');
    expect((await tfws.sizeReport(model)).ratio).toBeGreaterThan(0);
    close();
  });

  it('says what is missing where the host was not loaded before it', async () => {
    const { page, errors, close } = await pageWith([OURS]);
    expect(errors.join()).toContain('tfjs-weight-sharing: the global `tf` is missing. Load TensorFlow.js with a script tag before this file.');
    expect(page.tfws).toBeUndefined();
    close();
  });
});
