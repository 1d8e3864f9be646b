/** The front door: every public name. */
export { linearize, type Linearization } from './autodiff/linearize.js';
export { DEQMonitor, deqMonitor, type DEQMonitorArgs } from './callbacks/deq_monitor.js';
export { DEQSchedule, deqSchedule, type DEQScheduleArgs, type DEQSettings } from './callbacks/deq_schedule.js';
export { GrOWLProximal, growlProximal, type GrOWLProximalArgs } from './callbacks/growl_proximal.js';
export { KLMergeQuantization, klMergeQuantization, type KLMergeQuantizationArgs } from './callbacks/kl_merge_quantization.js';
export type { QuantizationReport } from './callbacks/quantization_report.js';
export { RowTying, rowTying, type ClusterRows, type RowTyingArgs, type TiedLayer } from './callbacks/row_tying.js';
export { SharedValues, sharedValues, type SharedValuesArgs } from './callbacks/shared_values.js';
export { compressed, type CompressedArgs } from './compression/compressed.js';
export { encodeModelArtifacts } from './compression/container.js';
export { decodeModelArtifacts } from './compression/container_reader.js';
export { sizeReport, type SizeReport, type WeightSize } from './compression/size_report.js';
export { registerMissingKernels } from './kernels/missing_kernels.js';
export { DEQLayer, deqLayer } from './layers/deq_layer.js';
export type { DEQLayerArgs, JacobianPenaltyOptions } from './layers/deq_options.js';
export type { DEQReport } from './layers/deq_record.js';
export { FeatureHashing, featureHashing, hashTokens, type FeatureHashingArgs, type HashedTokens, type HashTokensArgs } from './layers/feature_hashing.js';
export { HashedBank, hashedBank, type HashedBankArgs } from './layers/hashed_bank.js';
export { HashedConv2D, hashedConv2d, type HashedConv2DArgs } from './layers/hashed_conv2d.js';
export { HashedDense, hashedDense, type HashedDenseArgs } from './layers/hashed_dense.js';
export { HashedEmbedding, hashedEmbedding, type HashedEmbeddingArgs } from './layers/hashed_embedding.js';
export type { HashedArgs } from './layers/hashed_options.js';
export {
  SpectralNormalization, spectralNormalization, WeightNormalization, weightNormalization,
  type KernelNormalization, type NormalizationWeight, type SpectralNormalizationArgs,
} from './layers/kernel_normalization.js'; // prettier-ignore
export { temporalConvolutionCell, type TemporalConvolutionCellArgs } from './layers/temporal_convolution_cell.js';
export { TiedEmbedding, tiedEmbedding, type TiedEmbeddingArgs } from './layers/tied_embedding.js';
export { TiedProjection, tiedProjection, type TiedProjectionArgs } from './layers/tied_projection.js';
export { augmentedLoss, type AugmentedLossArgs } from './losses/augmented_loss.js';
export { fixedPointCorrection, type FixedPointCorrectionArgs } from './losses/fixed_point_correction.js';
export { projectedCrossEntropy, type ProjectedCrossEntropyArgs } from './losses/projected_cross_entropy.js';
export { sparseCrossEntropy, type SparseCrossEntropyArgs } from './losses/sparse_cross_entropy.js';
export { acceptSparseTargets, type Loss } from './losses/sparse_targets.js';
export { attachRegularizer, detachRegularizer, priorsOf, RegularizerSum, type AttachRegularizerArgs } from './regularizers/attach.js';
export { fitMixture, type FitMixtureArgs, type FittedMixture } from './regularizers/expectation_maximization.js';
export { GmmPrior, gmmPrior } from './regularizers/gmm_prior.js';
export type { GmmPriorArgs, MixtureLearningRates } from './regularizers/gmm_prior_options.js';
export { GrOWL, growl, type GrOWLArgs, type GrowlSchedule, type RowGrouping } from './regularizers/growl.js';
export type { GammaShapeRate, VarianceHyperprior } from './regularizers/hyperpriors.js';
export type { DataNoise, Tau } from './regularizers/prior_strength.js';
export { Anderson, anderson, type AndersonArgs } from './solvers/anderson.js';
export { Broyden, broyden, type BroydenArgs } from './solvers/broyden.js';
export { equilibrium, type EquilibriumArgs, type EquilibriumGradient, type EquilibriumProblem } from './solvers/equilibrium.js';
export { FixedPointIteration, fixedPointIteration, type FixedPointIterationArgs } from './solvers/fixed_point_iteration.js';
export { Implicit, implicit, type ImplicitArgs } from './solvers/implicit.js';
export { JacobianFree, jacobianFree } from './solvers/jacobian_free.js';
export { jacobianPenalty, type JacobianPenaltyArgs } from './solvers/jacobian_penalty.js';
export { NewtonKrylov, newtonKrylov, type NewtonKrylovArgs } from './solvers/newton_krylov.js';
export { Phantom, phantom, type PhantomArgs } from './solvers/phantom.js';
export type { Solution, SolveOptions, SolveReport, Solver, SolverArgs, StopReason } from './solvers/solver.js';
export type { StateMap } from './solvers/space.js';
export { spectralRadius, type SpectralRadiusArgs } from './solvers/spectral_radius.js';
export { Unrolled, unrolled, type UnrolledArgs } from './solvers/unrolled.js';
export { factorTiedRows, type FactoredLayer, type FactoredModel, type FactorTiedRowsArgs } from './surgery/factor_tied_rows.js';
export { removeDeadUnits, type RemoveDeadUnitsArgs, type RemovedUnits, type SmallerModel } from './surgery/remove_dead_units.js';
