/** The networks but those on banks of parameters: images in, softmax of ten classes out. */
import * as tfl from '@tensorflow/tfjs-layers';
import type { SymbolicTensor } from '@tensorflow/tfjs-layers';
import { eigenNet, lruNet, recursiveConv, templateBank, templateConv2d } from './library.js';
import { applied, CLASSES, convolution, halved, NORMALIZATION, normalized, relu } from './parts.js';
import type { Settings } from './settings.js';
import type { Spec } from './variants.js';

export function network(spec: Exclude<Spec, { part: 'banks' }>, inputShape: [number, number, number], settings: Settings): tfl.LayersModel {
  switch (spec.part) {
    case 'lru':
      return lruNet({ recursions: spec.recursions, inputShape, width: settings.lru.width, dropout: settings.lru.dropout });
    case 'templates':
      return templateNetwork(spec.templates, inputShape, settings.templates);
    case 'dynamic':
      return dynamicNetwork(spec.recursions, spec.cost, inputShape, settings.dynamic.width);
    case 'eigen':
      return eigenNet({ maps: spec.maps, layers: spec.layers, tied: spec.tied, inputShape });
  }
}

/** A mean over all pixels, and the classes. */
function classified(inputs: SymbolicTensor, h: SymbolicTensor, name: string): tfl.LayersModel {
  const pooled = applied(tfl.layers.globalAveragePooling2d({ dataFormat: 'channelsLast' }), h);
  return tfl.model({ inputs, outputs: applied(tfl.layers.dense({ units: CLASSES, activation: 'softmax' }), pooled), name });
}

/**
 * Residual blocks of two convolutions in stages of `widths` channels, a small form of the wide residual networks of Savarese & Maire: one bank for
 * each stage; the convolution that widens at its beginning has a kernel of its own. `templates` null: so have all.
 */
function templateNetwork(templates: number | null, inputShape: [number, number, number], { widths, layers }: Settings['templates']): tfl.LayersModel {
  const inputs = tfl.input({ shape: inputShape });
  let h = relu(normalized(applied(convolution(widths[0] >> 1), inputs)));
  for (const width of widths) {
    h = relu(normalized(applied(convolution(width), halved(h))));
    const bank = templates === null ? null : applied(templateBank({ templates, kernelSize: 3, inputs: width, filters: width }), h);
    const shared = (x: SymbolicTensor) => (bank === null ? applied(convolution(width), x) : applied(templateConv2d({ filters: width, kernelSize: 3, padding: 'same', useBias: false }), [x, bank]));
    for (let block = 0; block < layers / 2; block++) {
      const inside = normalized(shared(relu(normalized(shared(h)))));
      h = relu(applied(tfl.layers.add(), [h, inside]));
    }
  }
  return classified(inputs, h, templates === null ? 'unshared' : `templates_${templates}`);
}

/** Two convolutions, then a residual block that is passed through up to `recursions` times: always, or as gates decide for each image (Guo et al. 2019). */
function dynamicNetwork(recursions: number, cost: number | null, inputShape: [number, number, number], width: number): tfl.LayersModel {
  const inputs = tfl.input({ shape: inputShape });
  let h = halved(relu(normalized(applied(convolution(width >> 1), inputs))));
  h = halved(relu(normalized(applied(convolution(width), h))));
  const unit = { kernelSize: 3, useBias: false, normalization: { scope: 'perRecursion' as const, ...NORMALIZATION }, kernelInitializer: 'heNormal' as const };
  const loops = recursiveConv({ block: [{ ...unit, activation: 'relu' }, unit], recursions, connection: 'residual', stateActivation: 'relu', gate: cost === null ? null : { cost } });
  return classified(inputs, applied(loops, h), 'dynamic');
}
