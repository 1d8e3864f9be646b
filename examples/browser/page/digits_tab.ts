/** The tab that loads the compressed digit model and classifies what is drawn. */
import * as tf from '@tensorflow/tfjs-core';
import { digitStrokes } from '../../common/digits.js';
import type { DigitFacts } from './digit_facts.js';
import { byId, drawBars, showError } from './dom.js';
import { formatBytes, formatDecoding } from './format.js';
import { countValues, drawHistogram } from './histogram.js';
import { loadModel, type LoadedModel } from './load_model.js';
import { Pad } from './pad.js';
import { rasterize } from './strokes.js';

let loaded: LoadedModel | null = null;

export function startDigits(): void {
  const pad = new Pad(byId<HTMLCanvasElement>('pad'), () => classify(pad), (text) => void (byId('pad-said').textContent = text));
  byId('pad-clear').addEventListener('click', () => pad.clear());
  let example = 0;
  byId('pad-example').addEventListener('click', () => pad.show(digitStrokes(example++ % 10, 0).map((stroke) => stroke.map(([x, y]) => [0.5 + 0.38 * x, 0.5 + 0.38 * y] as const))));
  byId('reload').addEventListener('click', () => void load(pad));
  void load(pad);
}

async function load(pad: Pad): Promise<void> {
  const [bar, text, again] = [byId<HTMLProgressElement>('load-bar'), byId('load-text'), byId<HTMLButtonElement>('reload')];
  showError('load-error', null);
  again.disabled = true;
  bar.removeAttribute('value');
  text.textContent = 'Downloading the model …';
  try {
    const facts = fetch('digits.json').then((response) => {
      if (!response.ok) throw new Error(`digits.json cannot be read: HTTP ${response.status}.`);
      return response.json() as Promise<DigitFacts>;
    });
    const result = await loadModel('digits.tfws', (bytes, total) => {
      if (total !== null) [bar.max, bar.value] = [total, bytes];
      text.textContent = `Downloading the model: ${formatBytes(bytes)}${total === null ? '' : ` of ${formatBytes(total)}`}`;
    });
    const known = await facts;
    loaded?.model.dispose();
    loaded = result;
    bar.max = bar.value = 1;
    text.textContent = `Model loaded: ${formatBytes(result.bytes)}.`;
    await describe(result, known);
    classify(pad);
  } catch (error) {
    bar.value = 0;
    text.textContent = loaded === null ? 'No model.' : 'The model loaded before is still in use.';
    showError('load-error', error as Error);
  } finally {
    again.disabled = false;
  }
}

async function describe({ model, bytes, decodeMilliseconds }: LoadedModel, { origin, parameters, testError, bytes: others, before }: DigitFacts): Promise<void> {
  byId('facts').textContent = `LeNet-300-100, ${parameters.toLocaleString('en')} weights, trained on ${origin}: ${testError.before.toFixed(2)} % test error before sharing weights, ${testError.after.toFixed(2)} % after. The file is ${Math.round((4 * parameters) / bytes)} times smaller than float32 weights.`;
  byId('decode-time').textContent = `Decoded in ${formatDecoding(decodeMilliseconds, parameters)}.`;
  byId('sizes').innerHTML = drawBars([
    { name: 'float32', value: others.raw, text: formatBytes(others.raw) },
    { name: 'gzip', value: others.gzip, text: formatBytes(others.gzip) },
    { name: 'shared, gzip', value: others.sharedGzip, text: formatBytes(others.sharedGzip) },
    { name: 'shared, ours', value: bytes, text: formatBytes(bytes), marked: true },
  ]);
  const kernels = await Promise.all(model.getWeights().filter(({ rank }) => rank > 1).map(async (weight) => (await weight.data()) as Float32Array));
  const distinct = new Set(kernels.flatMap((values) => [...new Set(values)])).size;
  byId('histogram').innerHTML = drawHistogram('Histogram of the weights before and after they were shared', before, countValues(kernels, before));
  byId('histogram-text').textContent = `Grey: as trained. Red: in the file, ${distinct} different values. Heights are logarithmic.`;
}

function classify(pad: Pad): void {
  const answer = byId('answer');
  if (loaded === null || pad.strokes.length === 0) {
    answer.textContent = loaded === null ? '' : 'Draw a digit.';
    byId('classes').innerHTML = drawBars(Array.from({ length: 10 }, (_, i) => ({ name: String(i), value: 0, text: '' })), 1);
    return;
  }
  const { model } = loaded;
  const probabilities = tf.tidy(() => (model.predict(tf.tensor2d(rasterize(pad.strokes), [1, 784])) as tf.Tensor).dataSync());
  const best = probabilities.indexOf(Math.max(...probabilities));
  answer.textContent = `This is a ${best} (${(100 * probabilities[best]).toFixed(0)} %).`;
  byId('classes').innerHTML = drawBars(Array.from(probabilities, (value, i) => ({ name: String(i), value, text: `${(100 * value).toFixed(0)} %`, marked: i === best })), 1);
}
