/** A cell for `deqLayer` on images, whose state has several resolutions. Bai, Koltun & Kolter, Multiscale Deep Equilibrium Models, NeurIPS 2020. */
import { initializers, input, layers, model, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { checkKeys, checkNumber, describe, integerAtLeast } from '../checks.js';
import { groupNormalization } from './group_normalization.js';

export interface MultiscaleImageCellArgs {
  /** [height, width, channels] of the input; the sides divisible by 2^(resolutions − 1). Required. */
  inputShape: [number, number, number];
  /** Channels of the state at each resolution, from that of the input on, each of half the size of the last. One number or more. Required. */
  filters: number[];
  /** Groups of the normalisations; must divide all of `filters`. Default 1. */
  groups?: number;
  /** Of the initial weights. Integer ≥ 0. Default: drawn anew each time. */
  seed?: number;
}

/** Size of the kernels' initial numbers, so that the sums that they go into stay contractive: see {@link multiscaleImageCell}. */
const GAIN = 0.5;
/** Of the offsets of the injection: an image of a single colour, which normalisation makes zeros, has a state of its own too. */
const OFFSET = 1;

type Normal = (stddev: number) => ReturnType<typeof initializers.randomNormal>;

const applied = (layer: layers.Layer, to: SymbolicTensor | SymbolicTensor[]): SymbolicTensor => layer.apply(to) as SymbolicTensor;
const sum = (tensors: SymbolicTensor[]): SymbolicTensor => (tensors.length === 1 ? tensors[0] : applied(layers.add(), tensors));

/** Initializers, each with a seed of its own. */
function seededNormal(seed: number | undefined): Normal {
  let drawn = 0;
  return (stddev) => initializers.randomNormal({ mean: 0, stddev, ...(seed !== undefined && { seed: 1000 * seed + ++drawn }) });
}

/** A convolution without bias, `stride` pixels a step, that changes the size of its input by `gain` at first. */
function convolved(x: SymbolicTensor, filters: number, stride: number, gain: number, normal: Normal): SymbolicTensor {
  const kernelSize = Math.max(3, stride);
  const deviation = gain / Math.sqrt(kernelSize ** 2 * (x.shape[3] as number));
  return applied(layers.conv2d({ filters, kernelSize, strides: stride, padding: 'same', useBias: false, kernelInitializer: normal(deviation) }), x);
}

/** The reverse: a block of `factor` × `factor` pixels from each. */
function spread(x: SymbolicTensor, filters: number, factor: number, gain: number, normal: Normal): SymbolicTensor {
  const deviation = gain / Math.sqrt(x.shape[3] as number);
  return applied(layers.conv2dTranspose({ filters, kernelSize: factor, strides: factor, useBias: false, kernelInitializer: normal(deviation) }), x);
}

/**
 * A cell for images after MDEQ: states z_1 … z_n `[batch, height/2^i, width/2^i, filters[i]]`, input x `[batch, height, width, channels]`. With N
 * for {@link groupNormalization} and C for 3 × 3 convolutions,
 *
 *   s_i = z_i + C relu N(C z_i) + N(C_i x),   z'_i = N(s_i + Σ_{j≠i} T_ij s_j),
 *
 * where T_ij goes from resolution j to i: down by a convolution with strides, up by a transposed one. All resolutions come to their equilibrium
 * together; a classifier reads any or all of them:
 *
 * ```js
 * const cell = multiscaleImageCell({inputShape: [28, 28, 1], filters: [16, 32]});
 * const [fine, coarse] = deqLayer({cell}).apply(images);
 * const logits = tf.layers.dense({units: 10}).apply(tf.layers.globalAveragePooling2d({}).apply(coarse));
 * ```
 *
 * A normalised state of size 1 beside an injection of size 1 halves what comes of the state before, and kernels begin at half the size that would
 * keep it: at first plain iteration converges, by a factor of about 0.7 (of a few channels, in rare draws, above 0.9). Training may leave that region: `jacobianPenalty` or `weightNormalization()`
 * keep it near, `deqMonitor` shows it.
 *
 * Deviations from the paper: the image is injected at every resolution, not at the highest alone, without which the lower ones converge slowly; the
 * state itself is not rectified, which nearly doubles the rate of convergence; upsampling is a transposed convolution in place of one of 1 × 1
 * and nearest neighbours, which it includes and whose second derivative the host has.
 */
export function multiscaleImageCell(args: MultiscaleImageCellArgs): LayersModel {
  const who = 'multiscaleImageCell';
  checkKeys(who, args, ['inputShape', 'filters', 'groups', 'seed']);
  const { filters, inputShape } = checkedShapes(who, args);
  const groups = checkNumber(who, 'groups', args.groups ?? 1, integerAtLeast(1));
  const normal = seededNormal(args.seed === undefined ? undefined : checkNumber(who, 'seed', args.seed, integerAtLeast(0)));
  const wrong = filters.find((count) => count % groups !== 0);
  if (wrong !== undefined) throw new Error(`${who}: groups must divide each of filters, got ${groups} and ${wrong}. Use groups: 1.`);
  const normalized = (x: SymbolicTensor, offset = 0) => applied(groupNormalization({ groups, ...(offset > 0 && { betaInitializer: normal(offset) }) }), x);
  const [height, width] = inputShape;
  const states = filters.map((count, i) => input({ shape: [height >> i, width >> i, count] }));
  const x = input({ shape: inputShape });
  const residuals = states.map((z, i) => {
    const inner = applied(layers.activation({ activation: 'relu' }), normalized(convolved(z, filters[i], 1, 1, normal)));
    return sum([z, convolved(inner, filters[i], 1, GAIN, normal), normalized(convolved(x, filters[i], 2 ** i, 1, normal), OFFSET)]);
  });
  const fused = residuals.map((own, i) => {
    const others = residuals.flatMap((other, j) => (j === i ? [] : [j < i ? convolved(other, filters[i], 2 ** (i - j), GAIN, normal) : spread(other, filters[i], 2 ** (j - i), GAIN, normal)]));
    return normalized(sum([own, ...others]));
  });
  return model({ inputs: [...states, x], outputs: fused });
}

function checkedShapes(who: string, { inputShape, filters }: MultiscaleImageCellArgs): MultiscaleImageCellArgs {
  const whole = (value: unknown, length: number | null) => Array.isArray(value) && value.length === (length ?? value.length) && value.length > 0 && value.every((n) => Number.isInteger(n) && n >= 1);
  if (!whole(filters, null)) throw new Error(`${who}: filters must be a list of integers ≥ 1, one for each resolution, got ${describe(filters)}.`);
  if (!whole(inputShape, 3)) throw new Error(`${who}: inputShape must be [height, width, channels], integers ≥ 1, got ${describe(inputShape)}.`);
  const factor = 2 ** (filters.length - 1);
  if (inputShape[0] % factor === 0 && inputShape[1] % factor === 0) return { inputShape, filters };
  throw new Error(`${who}: ${filters.length} resolutions need a height and width divisible by ${factor}, got ${inputShape[0]} × ${inputShape[1]}. Pad the images, or give fewer filters.`);
}
