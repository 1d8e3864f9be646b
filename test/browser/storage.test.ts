import * as tf from '@tensorflow/tfjs-core';
import { initializers, layers, loadLayersModel, sequential, type LayersModel } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { compressed } from '../../src/compression/compressed.js';
import { encodeModelArtifacts } from '../../src/compression/container.js';
import * as loadEntry from '../../src/load.js';
import { savedArtifacts } from '../contract/fixtures.js';

/** A small network whose kernels hold three values each. */
function quantised(): LayersModel {
  const model = sequential({
    layers: [
      layers.dense({ units: 8, inputShape: [6], activation: 'relu', kernelInitializer: initializers.randomUniform({ minval: -1, maxval: 1, seed: 1 }) }),
      layers.dense({ units: 2, kernelInitializer: initializers.randomUniform({ minval: -1, maxval: 1, seed: 2 }) }),
    ],
  });
  for (const layer of model.layers) layer.setWeights([tf.round(layer.getWeights()[0]), layer.getWeights()[1]]);
  return model;
}

async function expectSame(loaded: LayersModel, model: LayersModel): Promise<void> {
  const x = tf.randomUniform([3, 6], -1, 1, 'float32', 7);
  const [actual, expected] = [loaded.predict(x) as tf.Tensor, model.predict(x) as tf.Tensor];
  expect(Array.from(await actual.data())).toEqual(Array.from(await expected.data()));
  tf.dispose([x, actual, expected]);
}

describe('compressed, in a page', () => {
  for (const scheme of ['indexeddb', 'localstorage']) {
    it(`saves to ${scheme}:// and loads the same model from there`, async () => {
      const model = quantised();
      const url = `${scheme}://tfws-test-${process.env.TFWS_BACKEND}`;
      await model.save(compressed(url));
      await expectSame(await loadLayersModel(compressed(url)), model);
      await expectSame(await loadLayersModel(loadEntry.compressed(url)), model);
      await tf.io.removeModel(url);
      await expect(loadLayersModel(compressed(url))).rejects.toThrow(/Cannot find model|no (such )?model/i);
    });
  }

  it('loads over HTTP: the file, its directory, with a query, and by an address relative to the page', async () => {
    const model = quantised();
    const path = `/files/${process.env.TFWS_BACKEND}`;
    await fetch(`${path}/model.tfws`, { method: 'PUT', body: encodeModelArtifacts(await savedArtifacts(model)) as BodyInit });
    const base = location.origin + path;
    for (const url of [`${base}/model.tfws`, base, `${base}/`, `${base}?v=1.2`, path]) {
      await expectSame(await loadLayersModel(compressed(url)), model);
      await expectSame(await loadLayersModel(loadEntry.compressed(url)), model);
    }
    await expect(loadLayersModel(compressed(`${base}/absent.tfws`))).rejects.toThrow(`compressed: '${base}/absent.tfws' cannot be read: HTTP 404 for ${base}/absent.tfws.`);
  });

  it('says that a page cannot save to an address', async () => {
    await expect(quantised().save(compressed(`${location.origin}/files/x`))).rejects.toThrow(/compressed: cannot save to 'http.*'\. Save to 'file:\/\/…' \(Node\), 'indexeddb:\/\/…'/);
  });
});
