/**
 * `npm run bench -- em`: one step of expectation maximisation on 1 000 000 weights and 32 components (E-step on the table, M-step),
 * beside a gradient step on the same sums, and beside the direct E-step that evaluates every component for every weight.
 */
import { fitMixture } from 'tfjs-weight-sharing';
import type { BenchOptions } from './run.js';
import { interleaved } from './interleaved.js';
import { adamStep, initialAdamState, initialParameters, parameterGradients, toMixture, type Hyperpriors } from '../src/regularizers/mixture_parameters.js';
import { maximize } from '../src/regularizers/expectation_maximization.js';
import { directStatistics } from '../src/kernels/mixture_energy/mixture.js';
import { TabulatedEnergy } from '../src/kernels/mixture_energy/tabulated_energy.js';

const WEIGHTS = 1_000_000;
const COMPONENTS = 32;
const HYPERPRIORS: Hyperpriors = { kind: 'gammaPrecision', zero: { shape: 5e3, rate: 2 }, others: { shape: 250, rate: 0.1 }, beta: [1, 1] };

/** Weights of a network that is half-way: most near zero, the others in broad groups. */
function weights(): Float32Array {
  let state = 12345;
  const uniform = () => ((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) + 0.5) / 4294967296;
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  return Float32Array.from({ length: WEIGHTS }, (_, i) => (i % 10 < 8 ? 0.02 * normal() : 0.2 * normal()));
}

export async function run({ print }: BenchOptions): Promise<Record<string, unknown>> {
  const data = weights();
  const gradient = new Float32Array(WEIGHTS);
  const range: [number, number] = [data.reduce((a, b) => Math.min(a, b)), data.reduce((a, b) => Math.max(a, b))];
  const learner = (learn: (parameters: ReturnType<typeof initialParameters>, table: TabulatedEnergy) => ReturnType<typeof initialParameters>) => {
    const table = new TabulatedEnergy();
    let parameters = initialParameters(COMPONENTS, range, 0.1, 0.8);
    return () => {
      table.reset(toMixture(parameters));
      table.accumulate(data, gradient, 0);
      parameters = learn(parameters, table);
    };
  };
  const adam = initialAdamState(COMPONENTS);
  const rates = { means: 1e-4, logVariances: 3e-3, mixingLogits: 3e-3 };
  const direct = { parameters: initialParameters(COMPONENTS, range, 0.1, 0.8) };
  const em = learner((parameters, table) => maximize(parameters, table.statistics(), HYPERPRIORS, true));
  const gradientStep = learner((parameters, table) => {
    adamStep(parameters, parameterGradients(parameters, table.statistics(), HYPERPRIORS, true), adam, rates);
    return parameters;
  });
  const result = await interleaved(
    {
      em,
      gradient: gradientStep,
      direct: () => void (direct.parameters = maximize(direct.parameters, directStatistics(data, toMixture(direct.parameters)), HYPERPRIORS, true)),
    },
    { rounds: 11, warmup: 3 },
  );
  const fitted = fitMixture([data], { components: COMPONENTS });
  print(`1 000 000 weights, ${COMPONENTS} components: EM step ${result.milliseconds.em.toFixed(1)} ms, gradient step ${result.milliseconds.gradient.toFixed(1)} ms, direct EM step ${result.milliseconds.direct.toFixed(0)} ms`);
  print(`fitMixture: ${fitted.iterations} steps, energy per weight ${(fitted.energies[0] / WEIGHTS).toFixed(4)} → ${(fitted.energies.at(-1)! / WEIGHTS).toFixed(4)} nats`);
  return { emStepMs: round(result.milliseconds.em), emVsGradientRatio: round(result.ratio('em', 'gradient')), directVsEm: round(result.ratio('direct', 'em')) };
}

const round = (value: number): number => Number(value.toPrecision(3));
