/** What makes a layer or model the cell of an equilibrium layer: which of its inputs are the state, of which shapes, and what it must not contain. */
import type { Tensor } from '@tensorflow/tfjs-core';
import type { LayersModel, Shape } from '@tensorflow/tfjs-layers';
import { shownShape, warnOnce } from '../checks.js';
import { allLayers, isModel, type Layer } from '../host.js';
import { build, nameAsLoaded, shapeList } from './outer_layer.js';

export interface CellPlan {
  /** Shapes of the parts of the state, batch included; null where a length is known with the inputs only. */
  states: Shape[];
  /** How many inputs of the cell are not state. */
  injected: number;
}

const fits = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((length, axis) => length == null || b[axis] == null || length === b[axis]);

/**
 * How `cell` takes inputs of these shapes; builds it if it is not built.
 * @param given whether the last inputs of the layer are the initial state.
 * @throws Error for a cell without a state input or with other outputs than states, and for inputs that it does not take.
 */
export function planCell(who: string, cell: Layer, inputShapes: readonly Shape[], given: boolean): CellPlan {
  checkContents(who, cell);
  const plan = isModel(cell) ? planModel(who, cell as LayersModel, inputShapes, given) : planLayer(who, cell, inputShapes, given);
  if (cell.trainable && cell.trainableWeights.length === 0) {
    warnOnce(`${who} no trainable weights`, `${who}: the cell '${cell.name}' has no trainable weights: training cannot change the fixed point, except by what the layers before it learn.`);
  }
  return plan;
}

function planModel(who: string, cell: LayersModel, inputShapes: readonly Shape[], given: boolean): CellPlan {
  const [inputs, outputs] = [cell.inputs, cell.outputs].map((tensors) => tensors.map(({ shape }) => shape));
  const count = outputs.length;
  const injected = inputs.length - count;
  if (injected < 1) {
    throw new Error(
      `${who}: the cell '${cell.name}' has ${inputs.length} inputs and ${count} outputs: there must be more inputs than outputs, [z…, x…], the states first. ` +
        `Make it with tf.model({inputs: [z, x], outputs: next z}).`,
    );
  }
  const states = inputs.slice(0, count);
  states.forEach((state, i) => checkState(who, cell, i, state, outputs[i]));
  const expected = [...inputs.slice(count), ...(given ? states : [])];
  if (inputShapes.length !== expected.length || !expected.every((shape, i) => fits(shape, inputShapes[i]))) {
    throw new Error(`${who}: expected inputs of shapes ${expected.map(shownShape).join(', ')}${given ? ', the initial state last' : ''}, as the cell '${cell.name}' has beside its state, got ${inputShapes.map(shownShape).join(', ')}.`);
  }
  return { states, injected };
}

/** A layer that is no model: one state, of the shape that it gives back. */
function planLayer(who: string, cell: Layer, inputShapes: readonly Shape[], given: boolean): CellPlan {
  const injected = inputShapes.length - (given ? 1 : 0);
  if (injected < 1) throw new Error(`${who}: expected an input x beside the initial state, got ${inputShapes.map(shownShape).join(', ')}.`);
  const xs = inputShapes.slice(0, injected);
  /** What the cell answers to these inputs. */
  const asked = <T>(state: Shape, ask: (shapes: Shape[]) => T): T => {
    try {
      return ask([state, ...xs]);
    } catch (error) {
      throw new Error(`${who}: the cell '${cell.name}' (${cell.getClassName()}) takes no inputs [z, x] of shapes ${[state, ...xs].map(shownShape).join(', ')}: ${(error as Error).message} Make the cell a model: tf.model({inputs: [z, x], outputs: next z}).`, { cause: error });
    }
  };
  const next = (state: Shape) => asked(state, (shapes) => shapeList(cell.computeOutputShape(shapes))[0]);
  const state = given ? inputShapes[injected] : next(xs[0]);
  checkState(who, cell, 0, state, next(state));
  if (cell.built) nameAsLoaded(cell, [state, ...xs]);
  else asked(state, (shapes) => build(cell, shapes));
  return { states: [state], injected };
}

function checkState(who: string, cell: Layer, index: number, state: Shape, output: Shape): void {
  if (fits(state, output)) return;
  throw new Error(`${who}: output ${index} of the cell '${cell.name}' has shape ${shownShape(output)}, its state ${index} has shape ${shownShape(state)}: they must be the same, since the output is the next state.`);
}

/** @throws Error for layers whose value depends on how often they were called. */
function checkContents(who: string, cell: Layer): void {
  for (const layer of allLayers({ layers: [cell] } as unknown as LayersModel)) {
    if ('movingMean' in layer || layer.getClassName() === 'BatchNormalization') {
      throw new Error(
        `${who}: the cell contains '${layer.name}' (${layer.getClassName()}), which normalises by statistics of the batch in training and by running ones, updated at each call, ` +
          'in inference: every iteration would change them, samples would depend on each other, and the fixed point in inference would be that of another map. Use layerNormalization, or for images groupNormalization.',
      );
    }
    if (layer.stateful && !isModel(layer)) {
      throw new Error(`${who}: the cell contains '${layer.name}' (${layer.getClassName()}), which is stateful: each iteration would begin where the last one ended. Use stateful: false.`);
    }
  }
}

/** Shapes of the state for these inputs: what is not known comes from the first input of the same rank, the batch from the first input. */
export function stateShapes({ states }: CellPlan, xs: readonly Tensor[], who: string): number[][] {
  return states.map((shape, part) =>
    shape.map((length, axis) => {
      const known = axis === 0 ? xs[0].shape[0] : (length ?? xs.find(({ rank }) => rank === shape.length)?.shape[axis]);
      if (known === undefined) throw new Error(`${who}: length ${axis} of state ${part} ${shownShape(shape)} is not known, and no input has that rank. Give the cell's input a full shape, or use initialState: 'given'.`);
      return known;
    }),
  );
}
