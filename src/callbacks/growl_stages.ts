/** Which stages of GrOWL take part in a fit: shrinking rows and tying them are two, one after the other. */
import type { Callback } from '@tensorflow/tfjs-layers';

export type GrowlStage = 'growlProximal' | 'rowTying';
export type FitParams = Parameters<Callback['setParams']>[0];

/** The host makes an object of parameters for each fit and hands it to all of its callbacks before any of them begins. */
const stagesOf = new WeakMap<object, GrowlStage[]>();

/** To be called from `setParams`. */
export function joinFit(params: FitParams, stage: GrowlStage): void {
  stagesOf.set(params, [...(stagesOf.get(params) ?? []), stage]);
}

/** To be called before a stage touches a weight. @throws Error if another one of the fit would take its steps. */
export function checkStages(who: GrowlStage, params: FitParams): void {
  const stages = stagesOf.get(params) ?? [];
  const shrinking = stages.filter((stage) => stage === 'growlProximal').length;
  if (shrinking > 1) throw new Error(`${who}: this fit has growlProximal ${shrinking} times, and each step would be taken as often. Leave one in, which serves all growl penalties of the model.`);
  if (shrinking === 0 || stages.length === 1) return;
  throw new Error(
    `${who}: growlProximal and rowTying are in one fit, which would tie the rows of the start, before any has shrunk. ` +
      'Use two fits, one after the other: the first with callbacks: [growlProximal()], the second with callbacks: [rowTying()].',
  );
}
