/**
 * Digits that the example draws itself, so that it needs no download: 28 × 28 grey images of pen strokes in several
 * writing styles, bent, slanted, rotated, scaled, shifted, thick or thin, with specks and pale places. A stand-in for
 * MNIST that a small network learns to 1–2 % error; numbers measured on it say nothing about MNIST.
 */
import type { DataSet, LabelledImages } from './images.js';
import { seededRandom, type Random } from './random.js';

export const DIGIT_SIZE = 28;

/** x to the right, y down. */
export type Point = readonly [x: number, y: number];
export type Stroke = readonly Point[];

/** Points on an ellipse; angles in turns, 0 to the right, clockwise because y points down. */
function arc(cx: number, cy: number, rx: number, ry: number, from: number, to: number): Point[] {
  const steps = Math.max(3, Math.ceil(Math.abs(to - from) * 16));
  return Array.from({ length: steps + 1 }, (_, i) => {
    const angle = 2 * Math.PI * (from + ((to - from) * i) / steps);
    return [cx + rx * Math.cos(angle), cy + ry * Math.sin(angle)] as const;
  });
}

/** Writing styles per digit in the box −1 … 1 (y down). Lines longer than a third of the box are cut so that they bend. */
const STYLES: readonly (readonly (readonly Stroke[])[])[] = [
  [[arc(0, 0, 0.55, 0.92, -0.25, 0.75)], [arc(0, 0, 0.75, 0.9, -0.2, 0.82)], [arc(0, 0, 0.42, 0.95, -0.3, 0.7)]],
  [
    [[[0, -0.95], [0, 0.95]]],
    [[[-0.35, -0.55], [0.05, -0.95], [0.05, 0.95]]],
    [[[-0.35, -0.6], [0, -0.95], [0, 0.92]], [[-0.4, 0.93], [0.4, 0.93]]],
  ],
  [
    [[...arc(0, -0.45, 0.55, 0.48, -0.5, 0.1), [-0.6, 0.9], [0.65, 0.9]]],
    [[...arc(-0.02, -0.45, 0.52, 0.48, -0.45, 0.18), ...arc(-0.38, 0.7, 0.22, 0.2, 0.5, 1.2), [0.65, 0.92]]],
    [[[-0.55, -0.7], [0, -0.95], [0.5, -0.6], [0.3, -0.05], [-0.55, 0.85], [0.6, 0.85]]],
  ],
  [
    [[...arc(0, -0.47, 0.5, 0.45, -0.45, 0.22), ...arc(0, 0.45, 0.58, 0.48, -0.22, 0.42)]],
    [[[-0.5, -0.9], [0.5, -0.9], [-0.05, -0.1], ...arc(0, 0.4, 0.55, 0.5, -0.22, 0.42)]],
    [[...arc(-0.05, -0.47, 0.42, 0.45, -0.4, 0.25), ...arc(-0.05, 0.45, 0.62, 0.48, -0.25, 0.35)]],
  ],
  [
    [[[-0.3, -0.9], [-0.6, 0.15], [0.65, 0.15]], [[0.3, -0.55], [0.25, 0.95]]],
    [[[0.3, 0.95], [0.3, -0.92], [-0.62, 0.3], [0.65, 0.3]]],
    [[[-0.5, -0.85], [-0.5, 0], [0.4, 0]], [[0.45, -0.9], [0.45, 0.95]]],
  ],
  [
    [[[0.55, -0.9], [-0.4, -0.9], [-0.45, -0.1], ...arc(-0.02, 0.38, 0.55, 0.52, -0.3, 0.4)]],
    [[[0.6, -0.85], [-0.3, -0.9], [-0.42, -0.2], [0.1, -0.22], ...arc(-0.05, 0.35, 0.6, 0.55, -0.12, 0.38)]],
    [[[-0.35, -0.85], [-0.42, -0.1], ...arc(-0.02, 0.4, 0.5, 0.5, -0.3, 0.4)], [[-0.35, -0.88], [0.5, -0.95]]],
  ],
  [
    [[[0.35, -0.92], [-0.2, -0.5], ...arc(0, 0.42, 0.5, 0.5, 0.45, -0.6)]],
    [[[0.1, -0.95], [-0.35, -0.2], ...arc(0.05, 0.5, 0.46, 0.42, 0.5, -0.55)]],
    [[...arc(0.15, -0.1, 0.65, 0.85, -0.15, -0.5), ...arc(0.03, 0.45, 0.52, 0.46, 0.5, -0.5)]],
  ],
  [
    [[[-0.6, -0.88], [0.55, -0.88], [-0.1, 0.95]]],
    [[[-0.55, -0.85], [0.55, -0.9], [0, 0.95]], [[-0.35, 0.05], [0.45, 0]]],
    [[[-0.6, -0.6], [-0.55, -0.85], [0.5, -0.85], [0.2, 0], [0.1, 0.95]]],
  ],
  [
    [arc(0, -0.47, 0.42, 0.43, 0.25, 1.25), arc(0, 0.44, 0.52, 0.48, -0.25, 0.75)],
    [[[0.45, -0.7], ...arc(0, -0.5, 0.45, 0.42, -0.1, -0.6), [0.2, 0.1], ...arc(0, 0.5, 0.48, 0.42, 0, 0.6), [0.1, -0.05], [0.45, -0.65]]],
    [arc(0.03, -0.5, 0.36, 0.38, 0.25, 1.25), arc(-0.03, 0.4, 0.46, 0.52, -0.25, 0.75)],
  ],
  [
    [[...arc(0, -0.42, 0.48, 0.48, 0, -1), [0.45, 0.92]]],
    [[...arc(-0.02, -0.42, 0.46, 0.46, -0.1, -1), ...arc(-0.1, 0.1, 0.56, 0.82, 0, 0.35)]],
    [[[0.4, -0.75], ...arc(-0.05, -0.45, 0.42, 0.42, -0.12, -0.95), [0.4, -0.4], [0.2, 0.95]]],
  ],
];

/** The strokes of a digit in one of its styles, in the box −1 … 1. */
export function digitStrokes(digit: number, style: number): readonly Stroke[] {
  return STYLES[digit][style];
}

/** `count` images, the ten digits equally often, in random order. The same seed gives the same bytes. */
export function renderDigits(count: number, seed: number): LabelledImages {
  const random = seededRandom(seed);
  const pixels = DIGIT_SIZE * DIGIT_SIZE;
  const images = new Uint8Array(count * pixels);
  const labels = Uint8Array.from({ length: count }, (_, i) => i % 10);
  for (let i = count - 1; i > 0; i--) {
    const j = random.integer(i + 1);
    [labels[i], labels[j]] = [labels[j], labels[i]];
  }
  const canvas = new Float32Array(pixels);
  for (let i = 0; i < count; i++) drawDigit(labels[i], random, canvas, images.subarray(i * pixels, (i + 1) * pixels));
  return { images, labels, width: DIGIT_SIZE, height: DIGIT_SIZE };
}

/** Training, validation and test digits from three different seeds. */
export function renderedDigits(train: number, validation: number, test: number, seed = 1): DataSet {
  return {
    origin: `${train} digits drawn by the example`,
    train: renderDigits(train, 3 * seed),
    validation: renderDigits(validation, 3 * seed + 1),
    test: renderDigits(test, 3 * seed + 2),
  };
}

function drawDigit(digit: number, random: Random, canvas: Float32Array, out: Uint8Array): void {
  const styles = STYLES[digit];
  const strokes = styles[random.integer(styles.length)];
  const place = randomPlacement(random);
  const radius = random.between(0.65, 1.5);
  canvas.fill(0);
  for (const stroke of strokes) {
    // A shaky hand: every corner of the stroke is off by a little.
    const shaky = stroke.map(([x, y]) => [x + 0.04 * random.normal(), y + 0.04 * random.normal()] as const);
    const points = subdivide(shaky, 0.35).map(place);
    for (let k = 1; k < points.length; k++) drawSegment(canvas, points[k - 1], points[k], radius);
  }
  const gain = random.between(0.75, 1.05);
  const paper = random.between(0, 0.1);
  for (let i = 0; i < canvas.length; i++) {
    const ink = gain * canvas[i];
    const value = ink + (0.15 * ink + paper) * random.normal() - 0.12;
    out[i] = Math.round(255 * Math.min(1, Math.max(0, value * 1.1)));
  }
}

/** A random smooth bend, followed by a random affine map of the box −1 … 1 into the image. */
function randomPlacement(random: Random): (point: Point) => Point {
  const bendX = 0.08 * random.normal();
  const bendY = 0.08 * random.normal();
  const phaseX = random.between(0, 2 * Math.PI);
  const phaseY = random.between(0, 2 * Math.PI);
  const rotation = 0.11 * random.normal();
  const slant = 0.17 * random.normal();
  const scaleX = random.between(6.5, 9.5);
  const scaleY = random.between(8.5, 10.5);
  const centreX = (DIGIT_SIZE - 1) / 2 + 0.7 * random.normal();
  const centreY = (DIGIT_SIZE - 1) / 2 + 0.7 * random.normal();
  const cos = Math.cos(rotation);
  const sin = Math.sin(rotation);
  return ([x0, y0]) => {
    const x = scaleX * (x0 - slant * y0 + bendX * Math.sin(2.5 * y0 + phaseX));
    const y = scaleY * (y0 + bendY * Math.sin(2.5 * x0 + phaseY));
    return [centreX + cos * x - sin * y, centreY + sin * x + cos * y];
  };
}

function subdivide(points: Stroke, longest: number): Point[] {
  const result: Point[] = [points[0]];
  for (let i = 1; i < points.length; i++) {
    const [ax, ay] = points[i - 1];
    const [bx, by] = points[i];
    const pieces = Math.max(1, Math.ceil(Math.hypot(bx - ax, by - ay) / longest));
    for (let k = 1; k <= pieces; k++) result.push([ax + ((bx - ax) * k) / pieces, ay + ((by - ay) * k) / pieces]);
  }
  return result;
}

/** Draws one straight piece with round ends; the coverage of a pixel falls from 1 to 0 over one pixel at the edge. */
export function drawSegment(canvas: Float32Array, [ax, ay]: Point, [bx, by]: Point, radius: number): void {
  const reach = radius + 0.5;
  const left = Math.max(0, Math.floor(Math.min(ax, bx) - reach));
  const right = Math.min(DIGIT_SIZE - 1, Math.ceil(Math.max(ax, bx) + reach));
  const top = Math.max(0, Math.floor(Math.min(ay, by) - reach));
  const bottom = Math.min(DIGIT_SIZE - 1, Math.ceil(Math.max(ay, by) + reach));
  const dx = bx - ax;
  const dy = by - ay;
  const lengthSquared = dx * dx + dy * dy || 1;
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      const along = Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / lengthSquared));
      const distance = Math.hypot(x - ax - along * dx, y - ay - along * dy);
      const coverage = Math.min(1, reach - distance);
      const at = y * DIGIT_SIZE + x;
      if (coverage > canvas[at]) canvas[at] = coverage;
    }
  }
}
