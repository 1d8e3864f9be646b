/** How alike layers are, as a picture (pure): SVG as text, for a page or a file. */
import { checkKeys, describe } from '../checks.js';

/** What is drawn; a {@link LayerSimilarity} is one. */
export interface PairwiseSimilarity {
  /** Names of the layers. */
  layers: string[];
  /** [layers, layers]: numbers in [0, 1], or −1 where there is none. */
  matrix: number[][];
  /** Of which the layers are, for the default title; null for one without a name. */
  bank?: string | null;
}

export interface HeatMapArgs {
  /** Default: 'Similarity of layers', and on which bank where there is one. */
  title?: string;
}

const CELL = 30;
/** Of letters, about, at 12 pixels. */
const LETTER = 7;
/** And of bold ones at 14. */
const BOLD_LETTER = 10;
/** Cells with their numbers in them, up to so many layers. */
const MOST_NUMBERS = 16;
const LONGEST = 40;

/** White at 0, dark blue at 1. */
const LIGHT = [255, 255, 255];
const DARK = [12, 52, 104];
const UNKNOWN = '#bbb';
/** Of sums in single precision. */
const ROUNDING = 1e-6;

const escaped = (text: string): string => text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c] as string);
const colourOf = (value: number): string => (value === -1 ? UNKNOWN : `rgb(${LIGHT.map((light, i) => Math.round(light + (DARK[i] - light) * Math.min(1, Math.max(0, value)))).join(',')})`);
const shortened = (name: string): string => (name.length > LONGEST ? `…${name.slice(1 - LONGEST)}` : name);

const titleOf = (bank: string | null | undefined): string => `Similarity of layers${bank === undefined ? '' : ` on ${bank === null ? 'one bank' : `'${bank}'`}`}`;

/**
 * A matrix of similarities as a heat map: a self-contained piece of SVG, the layers in their order down and across, white for 0 and dark for 1, grey for −1 (not
 * measured); the pointer over a cell tells its layers and number. Of a {@link LayerSimilarity}, white is for coefficients at right angles and dark for parallel
 * ones: blocks on the diagonal are what `foldTemplates` makes one layer of.
 *
 * ```js
 * const [similarity] = await layerSimilarity(model);
 * document.body.innerHTML = similarityHeatMap(similarity);
 * ```
 *
 * Of what `attentionSharing` measured, divergences in nats (dark for unlike), or as here 1 − divergence / ln 2:
 *
 * ```js
 * const {divergence} = sharing.records.at(-1);
 * const matrix = divergence.map((row) => row.map((nats) => (nats < 0 ? -1 : 1 - nats / Math.LN2)));
 * const svg = similarityHeatMap({layers: matrix.map((_, i) => `layer ${i}`), matrix}, {title: 'Similarity of attention'});
 * ```
 *
 * @throws Error if there is not one row and column for each layer, or a number is neither in [0, 1] nor −1.
 */
export function similarityHeatMap(similarity: PairwiseSimilarity, args: HeatMapArgs = {}): string {
  const { bank, layers, matrix } = (similarity ?? {}) as Partial<PairwiseSimilarity>;
  if (!Array.isArray(layers) || !Array.isArray(matrix)) throw new Error(`similarityHeatMap: expected {layers, matrix}, names and numbers, as layerSimilarity returns them, got ${describe(similarity)}.`);
  checkKeys('similarityHeatMap', args, ['title']);
  const { title = titleOf(bank) } = args;
  if (typeof title !== 'string') throw new Error(`similarityHeatMap: title must be text, got ${describe(title)}.`);
  if (matrix.length !== layers.length || matrix.some((row) => row.length !== layers.length)) {
    throw new Error(`similarityHeatMap: the matrix must have a row and a column for each of the ${layers.length} layers, got rows of ${matrix.map(({ length }) => length).join(', ') || 'nothing'}.`);
  }
  const odd = matrix.flat().find((value) => !(value === -1 || (value >= -ROUNDING && value <= 1 + ROUNDING)));
  if (odd !== undefined) throw new Error(`similarityHeatMap: similarities must be in [0, 1], or −1 where there is none, got ${odd}.`);
  const names = layers.map(shortened);
  const margin = 12 + LETTER * Math.max(4, ...names.map(({ length }) => length));
  const side = CELL * layers.length;
  const [width, height] = [Math.max(margin + side + 12, 24 + BOLD_LETTER * title.length), 40 + margin + side];
  const cells = matrix.flatMap((row, i) =>
    row.map((value, j) => {
      const [x, y] = [margin + CELL * j, 28 + margin + CELL * i];
      const shown = (digits: number, unknown: string) => (value === -1 ? unknown : Math.max(0, value).toFixed(digits));
      const number = layers.length > MOST_NUMBERS ? '' : `<text x="${x + CELL / 2}" y="${y + CELL / 2 + 4}" font-size="10" text-anchor="middle" fill="${value > 0.5 ? '#fff' : '#222'}">${shown(2, '–')}</text>`;
      return `<g><title>${escaped(`${layers[i]}, ${layers[j]}: ${shown(4, 'not measured')}`)}</title><rect x="${x}" y="${y}" width="${CELL}" height="${CELL}" fill="${colourOf(value)}" stroke="#ddd"/>${number}</g>`;
    }),
  );
  const labels = names.flatMap((name, i) => {
    const middle = CELL * i + CELL / 2;
    const x = margin + middle + 4;
    return [
      `<text x="${margin - 6}" y="${28 + margin + middle + 4}" text-anchor="end">${escaped(name)}</text>`,
      `<text transform="translate(${x},${22 + margin}) rotate(-90)">${escaped(name)}</text>`,
    ];
  });
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="${escaped(title)}" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-size="12" font-family="DejaVu Sans, system-ui, sans-serif" fill="#222">` +
    `<text x="12" y="20" font-size="14" font-weight="bold">${escaped(title)}</text>${labels.join('')}${cells.join('')}</svg>`
  );
}
