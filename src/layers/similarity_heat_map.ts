/** How alike the layers on a bank are, as a picture (pure): SVG as text, for a page or a file. */
import { describe } from '../checks.js';
import type { LayerSimilarity } from './layer_similarity.js';

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

const escaped = (text: string): string => text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c] as string);
const colourOf = (value: number): string => `rgb(${LIGHT.map((light, i) => Math.round(light + (DARK[i] - light) * value)).join(',')})`;
const shortened = (name: string): string => (name.length > LONGEST ? `…${name.slice(1 - LONGEST)}` : name);

/**
 * The matrix of a {@link LayerSimilarity} as a heat map: a self-contained piece of SVG, the layers in their order down and across, white for
 * coefficients at right angles and dark for parallel ones; the pointer over a cell tells its layers and number. Blocks on the diagonal are what
 * `foldTemplates` makes one layer of.
 *
 * ```js
 * const [similarity] = await layerSimilarity(model);
 * document.body.innerHTML = similarityHeatMap(similarity);
 * ```
 *
 * @throws Error if there is not one row and column for each layer, or a number is not in [0, 1].
 */
export function similarityHeatMap(similarity: LayerSimilarity): string {
  const { bank, layers, matrix } = (similarity ?? {}) as Partial<LayerSimilarity>;
  if (!Array.isArray(layers) || !Array.isArray(matrix)) throw new Error(`similarityHeatMap: expected one of the entries that layerSimilarity returns, {bank, layers, matrix}, got ${describe(similarity)}.`);
  if (matrix.length !== layers.length || matrix.some((row) => row.length !== layers.length)) {
    throw new Error(`similarityHeatMap: the matrix must have a row and a column for each of the ${layers.length} layers, got rows of ${matrix.map(({ length }) => length).join(', ') || 'nothing'}.`);
  }
  const odd = matrix.flat().find((value) => !(value >= 0 && value <= 1 + 1e-6));
  if (odd !== undefined) throw new Error(`similarityHeatMap: similarities must be in [0, 1], got ${odd}.`);
  const names = layers.map(shortened);
  const margin = 12 + LETTER * Math.max(4, ...names.map(({ length }) => length));
  const side = CELL * layers.length;
  const title = bank === null ? 'Similarity of layers on one bank' : `Similarity of layers on '${bank}'`;
  const [width, height] = [Math.max(margin + side + 12, 24 + BOLD_LETTER * title.length), 40 + margin + side];
  const cells = matrix.flatMap((row, i) =>
    row.map((value, j) => {
      const [x, y] = [margin + CELL * j, 28 + margin + CELL * i];
      const number = layers.length > MOST_NUMBERS ? '' : `<text x="${x + CELL / 2}" y="${y + CELL / 2 + 4}" font-size="10" text-anchor="middle" fill="${value > 0.5 ? '#fff' : '#222'}">${value.toFixed(2)}</text>`;
      return `<g><title>${escaped(`${layers[i]}, ${layers[j]}: ${value.toFixed(4)}`)}</title><rect x="${x}" y="${y}" width="${CELL}" height="${CELL}" fill="${colourOf(Math.min(1, value))}" stroke="#ddd"/>${number}</g>`;
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
