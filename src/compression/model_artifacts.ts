/** The artefacts that a model in memory would save, without saving it anywhere. */
import { io } from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';

export async function modelArtifacts(model: Pick<LayersModel, 'save'>): Promise<io.ModelArtifacts> {
  let artifacts: io.ModelArtifacts = {};
  const info: io.ModelArtifactsInfo = { dateSaved: new Date(), modelTopologyType: 'JSON' };
  await model.save(
    io.withSaveHandler(async (saved) => {
      artifacts = saved;
      return { modelArtifactsInfo: info };
    }),
  );
  return artifacts;
}

/** Whether `model` can be saved, as models of layers and converted graphs can. */
export const isModel = (model: unknown): model is Pick<LayersModel, 'save'> => typeof (model as LayersModel | null)?.save === 'function';
