/** Whether tensors are inputs of a model: the host does not ask where a model is applied, and fails inside. */
import type { Tensor } from '@tensorflow/tfjs-core';
import type * as tfl from '@tensorflow/tfjs-layers';
import { shownShape } from '../checks.js';

/** @throws Error if `data` are not tensors, one for each input of `model`, with equally many samples each. */
export function checkModelInputs(who: string, data: readonly Tensor[], model: tfl.LayersModel): void {
  const wanted = model.inputs.map(({ name, shape }) => `'${name}' ${shownShape(shape)}`).join(', ');
  if (data.length !== model.inputs.length) {
    throw new Error(`${who}: data must be a tensor for each input of the model, ${wanted}, got ${data.length}. Give ${model.inputs.length === 1 ? 'one tensor' : 'a list in that order'}.`);
  }
  for (const [i, { shape }] of data.entries()) {
    const which = data.length === 1 ? 'data' : `data[${i}]`;
    if (data[i].isDisposed) throw new Error(`${who}: ${which} is disposed. Keep it until training has ended.`);
    const input = model.inputs[i];
    const fits = shape.length === input.shape.length && shape.every((length, axis) => axis === 0 || input.shape[axis] === null || input.shape[axis] === length);
    if (!fits) throw new Error(`${who}: ${which} must fit the model's input '${input.name}' ${shownShape(input.shape)}, got ${shownShape(shape)}.`);
    if (shape[0] === 0 || shape[0] !== data[0].shape[0]) throw new Error(`${who}: data must be equally many samples for each input, at least one, got ${data.map((each) => each.shape[0]).join(', ')}.`);
  }
}
