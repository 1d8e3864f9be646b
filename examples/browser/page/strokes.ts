/** Pen strokes → what the network has learned to read: 28 × 28 pixels, the drawing in the middle and of the usual size. */
import { DIGIT_SIZE, drawSegment, type Point, type Stroke } from '../../common/digits.js';

/** Longer side of a drawing in pixels, and the pen's radius, as in the middle of what the training digits have. */
const EXTENT = 18.5;
const RADIUS = 1.1;

/** Strokes moved and scaled, by one factor, to the middle of the image. A dot stays a dot. */
export function centred(strokes: readonly Stroke[]): Point[][] {
  const points = strokes.flat();
  const range = (axis: 0 | 1): [number, number] => [Math.min(...points.map((p) => p[axis])), Math.max(...points.map((p) => p[axis]))];
  const [[left, right], [top, bottom]] = [range(0), range(1)];
  const longer = Math.max(right - left, bottom - top);
  const scale = longer > 0 ? EXTENT / longer : 1;
  const middle = (DIGIT_SIZE - 1) / 2;
  return strokes.map((stroke) => stroke.map(([x, y]) => [middle + scale * (x - (left + right) / 2), middle + scale * (y - (top + bottom) / 2)] as const));
}

/** Grey values in [0, 1], row by row; all 0 without strokes. */
export function rasterize(strokes: readonly Stroke[]): Float32Array {
  const pixels = new Float32Array(DIGIT_SIZE * DIGIT_SIZE);
  if (strokes.length === 0) return pixels;
  for (const stroke of centred(strokes)) {
    stroke.forEach((point, i) => drawSegment(pixels, stroke[Math.max(0, i - 1)], point, RADIUS));
  }
  // The training digits' ink is a little pale.
  return pixels.map((ink) => Math.max(0, 1.1 * (0.9 * ink - 0.12)));
}
