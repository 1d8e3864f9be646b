/** Everything one run leaves behind, as plain JSON: the report is rendered from it alone, also much later. */
import type * as command from '../common/variant_command.js';
import { median } from '../common/variant_runs.js';
import type { Quality } from './quality.js';
import { VARIANTS, type Settings, type VariantName } from './settings.js';

export const RECORD_FORMAT = 'tfjs-weight-sharing/recursive-super-resolution/1';

export interface LookRecord {
  /** Of the budget that was used by then. */
  share: number;
  steps: number;
  /** Of held-out images, all scales. */
  psnr: number;
}

export interface ScaleRecord {
  scale: number;
  images: { name: string; network: Quality; bicubic: Quality }[];
  /** Means over the images. */
  network: Quality;
  bicubic: Quality;
}

/** PNG files in base64. */
export interface PictureRecord {
  name: string;
  scale: number;
  sharp: string;
  bicubic: string;
  network: string;
}

export interface VariantRecord {
  seed: number;
  variant: VariantName;
  parameters: number;
  steps: number;
  looks: LookRecord[];
  scales: ScaleRecord[];
  picture: PictureRecord;
  /** Of training. */
  processorSeconds: number;
  seconds: number;
}

export interface About {
  origin: string;
  train: number;
  heldOut: number;
  test: number;
}

export type RunRecord = command.VariantRecord<Settings, VariantRecord, About>;

/** The last line of `--json`: medians over the seeds. */
export interface Summary {
  /** PSNR by scale, `x2` … `x4`. */
  bicubic: Record<string, number>;
  networks: Record<VariantName, { parameters: number; psnr: Record<string, number>; ssim: Record<string, number>; gainX2: number }>;
  /** The untied network's PSNR at ×2 less DRRN's. */
  untiedLessDrrn: number;
  /** DRRN's parameters over the untied network's. */
  parameterShare: number;
  /** Whether every network is at least 2 dB above bicubic at ×2. */
  allBeatBicubicBy2dB: boolean;
  seconds: number;
}

export const runsOf = ({ runs }: RunRecord, variant: VariantName): VariantRecord[] => runs.filter((run) => run.variant === variant);

/** By scale, the median over the seeds. */
function byScale(runs: readonly VariantRecord[], value: (scale: ScaleRecord) => number, digits: number): Record<string, number> {
  return Object.fromEntries(runs[0].scales.map(({ scale }, i) => [`x${scale}`, Number(median(runs.map((run) => value(run.scales[i]))).toFixed(digits))]));
}

export function summarize(record: RunRecord): Summary {
  const bicubic = byScale(record.runs, (scale) => scale.bicubic.psnr, 2);
  const networks = Object.fromEntries(
    VARIANTS.map((variant) => {
      const runs = runsOf(record, variant);
      const gains = runs.map(({ scales: [two] }) => two.network.psnr - two.bicubic.psnr);
      return [variant, { parameters: runs[0].parameters, psnr: byScale(runs, ({ network }) => network.psnr, 2), ssim: byScale(runs, ({ network }) => network.ssim, 4), gainX2: Number(median(gains).toFixed(2)) }];
    }),
  ) as Summary['networks'];
  const first = (variant: VariantName) => median(runsOf(record, variant).map(({ scales }) => scales[0].network.psnr));
  return {
    bicubic,
    networks,
    untiedLessDrrn: Number((first('untied') - first('drrn')).toFixed(2)),
    parameterShare: Number((networks.drrn.parameters / networks.untied.parameters).toFixed(4)),
    allBeatBicubicBy2dB: VARIANTS.every((variant) => networks[variant].gainX2 >= 2),
    seconds: Number(record.runs.reduce((total, run) => total + run.seconds, 0).toFixed(1)),
  };
}
