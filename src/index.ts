/** The front door: every public name. */
export { KLMergeQuantization, klMergeQuantization, type KLMergeQuantizationArgs } from './callbacks/kl_merge_quantization.js';
export type { QuantizationReport } from './callbacks/quantization_report.js';
export { SharedValues, sharedValues, type SharedValuesArgs } from './callbacks/shared_values.js';
export { compressed, type CompressedArgs } from './compression/compressed.js';
export { encodeModelArtifacts } from './compression/container.js';
export { decodeModelArtifacts } from './compression/container_reader.js';
export { sizeReport, type SizeReport, type WeightSize } from './compression/size_report.js';
export { registerMissingKernels } from './kernels/missing_kernels.js';
export { attachRegularizer, detachRegularizer, priorsOf, RegularizerSum, type AttachRegularizerArgs } from './regularizers/attach.js';
export { fitMixture, type FitMixtureArgs, type FittedMixture } from './regularizers/expectation_maximization.js';
export { GmmPrior, gmmPrior, type GmmPriorArgs, type MixtureLearningRates } from './regularizers/gmm_prior.js';
export type { GammaShapeRate, VarianceHyperprior } from './regularizers/hyperpriors.js';
