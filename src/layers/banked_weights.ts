/** The weights of a banked layer: windows of a bank, combined and stretched. A layer owns one of these, builds it and reads it. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import type { Shape } from '@tensorflow/tfjs-layers';
import { initializers } from '@tensorflow/tfjs-layers';
import { variableOf, type Initializer, type Layer, type LayerVariable } from '../host.js';
import { denseProduct } from '../kernels/dense_product/index.js';
import { BankUse } from './bank_use.js';
import { addWeightTo } from './bank_weight.js';
import { checkBankedOptions, type BankedArgs, type BankedOptions } from './banked_options.js';
import { BANK_DEVIATION } from './hashed_options.js';
import { orthogonalRow } from './orthogonal_rows.js';
import { ParameterBank } from './parameter_bank.js';
import { interpolated, interpolationMatrix, interpolationVariance, MASK_WINDOW, repeated, shrunkShape, sizeOf, windowsOf, type WeightShape } from './stretch.js';
import { meantDeviation, type Fans } from './virtual_fan.js';

/** What a layer knows when it is built. */
export interface BankedShape extends WeightShape, Fans {
  initializer: Initializer;
}

export class BankedWeights {
  readonly options: BankedOptions;
  readonly use: BankUse<ParameterBank>;
  /** α, [candidates], with learned weights. */
  coefficients: LayerVariable | null = null;
  /** φ, [embeddingDim], with layer embeddings. */
  embedding: LayerVariable | null = null;
  /** Multipliers of the repetitions, [repetitions − 1, 9], with masks. */
  masks: LayerVariable | null = null;
  readonly #who: string;
  readonly #layer: Layer;
  #shape: WeightShape | undefined;
  /** What is taken of the bank: the shape of an interpolation's source, or just its length. */
  #source!: WeightShape;
  #scale = 1;
  /** Of the interpolation along inputs and outputs. */
  #matrices: [Tensor2D, Tensor2D] | null = null;

  constructor(who: string, layer: Layer, args: BankedArgs) {
    this.#who = who;
    this.#layer = layer;
    this.options = checkBankedOptions(who, args);
    this.use = new BankUse(who, layer, args.bank, { className: ParameterBank.className, factory: 'parameterBank' });
  }

  /** How many weights are made of the bank; 0 before the layer is built. */
  get count(): number {
    return this.#shape === undefined ? 0 : sizeOf(this.#shape);
  }

  /** How many numbers a bank must have to be stretched to the layer's weights; 0 before it is built. */
  get least(): number {
    if (this.#shape === undefined) return 0;
    return this.options.upsampling === 'interpolation' ? sizeOf(shrunkLeast(this.#shape)) : 1;
  }

  /** The shape of the layer's input. */
  inputOf(inputShape: Shape | Shape[]): Shape {
    return this.use.shapes(inputShape, this.#tensors).input;
  }

  build(inputShape: Shape | Shape[], shape: BankedShape): void {
    const who = `${this.#who}: layer '${this.#layer.name}'`;
    const { candidates, upsampling } = this.options;
    const { bank } = this.use.shapes(inputShape, this.#tensors);
    const [[size, ...more], projection] = bank;
    if (more.length > 0) throw new Error(`${who} needs a bank of shape [size], from parameterBank, got [${bank[0].join(', ')}].`);
    if (candidates > size) throw new Error(`${who}: candidates must be at most the bank's size ${size}, got ${candidates}. Use fewer, or a larger bank.`);
    const { inputs, taps, outputs } = shape;
    const full = { inputs, taps, outputs };
    const wanted = sizeOf(full);
    const source = upsampling !== 'interpolation' ? { inputs: 1, taps: 1, outputs: Math.min(wanted, size) } : wanted <= size ? full : shrunkShape(full, size);
    if (source === null) {
      throw new Error(`${who} has ${inputs} × ${taps} × ${outputs} = ${wanted} weights, and the bank's ${size} numbers are too few to interpolate: at least ${sizeOf(shrunkLeast(full))} are needed, for 1/20 of inputs and outputs. Make the bank larger, or use upsampling 'repetition' or 'mask', which take any.`);
    }
    this.#shape = full;
    this.#source = source;
    this.#scale = this.#scaleOf(shape, projection);
    this.#addWeights(wanted, projection);
    if (upsampling === 'interpolation' && wanted > size) {
      const kept = (from: number, to: number) => tfc.keep(tfc.tensor2d(interpolationMatrix(from, to), [to, from]));
      this.#matrices = [kept(source.inputs, inputs), kept(source.outputs, outputs)];
    }
  }

  /** The weights, [inputs, taps, outputs], from the bank's tensors. */
  tensor(bank: Tensor[]): Tensor {
    const { candidates, offset, upsampling } = this.options;
    const taken = sizeOf(this.#source);
    const windows = windowsOf(bank[0] as Tensor1D, candidates, taken, offset);
    const combined = tfc.mul(this.#scale, this.#combine(windows, bank[1])) as Tensor1D;
    const shape = this.#shape!;
    const { inputs, taps, outputs } = shape;
    const wanted = sizeOf(shape);
    const stretched = this.#matrices !== null ? interpolated(combined, this.#source, shape, ...this.#matrices)
      : taken < wanted ? repeated(combined, wanted, upsampling === 'mask' ? (variableOf(this.masks!) as Tensor as Tensor2D) : null)
        : combined; // prettier-ignore
    return tfc.reshape(stretched, [inputs, taps, outputs]);
  }

  dispose(): void {
    tfc.dispose(this.#matrices ?? []);
    this.#matrices = null;
  }

  /** How many tensors of a bank the layer takes. */
  get #tensors(): number {
    return this.options.combination === 'layerEmbedding' ? 2 : 1;
  }

  #combine(windows: Tensor2D, projection: Tensor | undefined): Tensor {
    if (this.options.combination === 'average') return tfc.mean(windows, 0);
    const row = tfc.reshape(this.#coefficients(projection), [1, windows.shape[0]]) as Tensor2D;
    return tfc.reshape(denseProduct(row, windows), [windows.shape[1]]);
  }

  #coefficients(projection: Tensor | undefined): Tensor {
    const { combination } = this.options;
    if (combination === 'layerEmbedding') {
      const embedding = tfc.reshape(tfc.concat([variableOf(this.embedding!) as Tensor as Tensor1D, tfc.ones([1])]), [1, -1]) as Tensor2D;
      return denseProduct(embedding, projection as Tensor2D);
    }
    const coefficients = variableOf(this.coefficients!);
    return combination === 'softmaxWeights' ? tfc.softmax(coefficients as Tensor) : coefficients;
  }

  #addWeights(wanted: number, projection: number[] | undefined): void {
    const { combination, candidates, upsampling } = this.options;
    const add = (name: string, shape: number[], initializer: Pick<Initializer, 'apply'>) => addWeightTo(this.#layer, name, shape, 'float32', initializer as Initializer);
    if (combination === 'learnedWeights') {
      const start = () => this.use.owner?.startOf(this.use.place, candidates) ?? orthogonalRow(0, candidates, Math.floor(Math.random() * 2 ** 31));
      this.coefficients = add('coefficients', [candidates], { apply: () => tfc.tensor1d(start()) });
    }
    if (combination === 'softmaxWeights') this.coefficients = add('coefficients', [candidates], initializers.zeros());
    if (combination === 'layerEmbedding') {
      const bankSeed = this.use.owner?.seed ?? null;
      // Coefficients of norm 1 on average: the map's columns are orthonormal.
      this.embedding = add('embedding', [projection![0] - 1], initializers.randomNormal({ mean: 0, stddev: Math.sqrt(1 / candidates), ...(bankSeed !== null && { seed: 1000 * bankSeed + 1 + this.use.place }) }));
    }
    const times = Math.ceil(wanted / sizeOf(this.#source));
    if (upsampling === 'mask' && times > 1) this.masks = add('masks', [times - 1, MASK_WINDOW], initializers.ones());
  }

  /** The factor that gives the weights the spread which their initializer means. */
  #scaleOf(shape: BankedShape, projection: number[] | undefined): number {
    const { combination, candidates, bankScale } = this.options;
    if (combination === 'layerEmbedding' && (projection?.length !== 2 || projection[1] !== candidates)) {
      throw new Error(`${this.#who}: layer '${this.#layer.name}': combination 'layerEmbedding' needs parameterBank({embeddingCandidates: ${candidates}}), and got a bank ${projection === undefined ? 'without' : `with ${projection[1]}`}.`);
    }
    if (bankScale !== null) return bankScale;
    const deviation = meantDeviation(shape.initializer, shape);
    if (deviation === null || deviation === 0) {
      throw new Error(`${this.#who}: the spread that the initializer '${shape.initializer.getClassName()}' means is not known; give bankScale, the factor of the bank's numbers.`);
    }
    // The mean of K independent numbers has 1/√K of their spread; coefficients of norm 1 leave it as it is.
    const averaging = combination === 'average' || combination === 'softmaxWeights' ? Math.sqrt(candidates) : 1;
    const kept = sizeOf(this.#source) === sizeOf(shape) || this.options.upsampling !== 'interpolation' ? 1
      : Math.sqrt(interpolationVariance(this.#source.inputs, shape.inputs) * interpolationVariance(this.#source.outputs, shape.outputs)); // prettier-ignore
    return (deviation / BANK_DEVIATION) * (averaging / kept);
  }
}

/** The smallest shape that interpolation can start from. */
const shrunkLeast = ({ inputs, taps, outputs }: WeightShape): WeightShape => ({
  inputs: Math.max(1, Math.round(inputs / 20)), taps, outputs: Math.max(1, Math.round(outputs / 20)),
}); // prettier-ignore
