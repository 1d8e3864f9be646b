/** A canvas to draw strokes on, with pointer or keyboard. */
import type { Point } from '../../common/digits.js';

/** Points are in [0, 1]², y down. */
const KEY_STEP = 1 / 32;
const PEN = 0.055;

const ARROWS: Readonly<Record<string, Point>> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Pad {
  strokes: Point[][] = [];
  #drawing = false;
  /** Of the keyboard's pen; null until a key is used. */
  #cursor: Point | null = null;
  #penDown = false;

  /** `changed` is called after every change of the strokes, `said` gets what a keyboard's user should hear. */
  constructor(readonly canvas: HTMLCanvasElement, readonly changed: () => void, readonly said: (text: string) => void) {
    canvas.addEventListener('pointerdown', (event) => this.#begin(event));
    canvas.addEventListener('pointermove', (event) => this.#move(event));
    for (const end of ['pointerup', 'pointercancel'] as const) canvas.addEventListener(end, () => (this.#drawing = false));
    canvas.addEventListener('keydown', (event) => this.#key(event));
    canvas.addEventListener('blur', () => this.#lift());
    this.#paint();
  }

  clear(): void {
    this.#penDown = false;
    this.#drawing = false;
    this.show([]);
  }

  show(strokes: Point[][]): void {
    this.strokes = strokes;
    this.#changed();
  }

  #begin(event: PointerEvent): void {
    if (event.button !== 0 || !event.isPrimary) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.#cursor = null;
    this.#penDown = false;
    this.#drawing = true;
    this.strokes.push([this.#place(event)]);
    this.#changed();
  }

  #move(event: PointerEvent): void {
    if (!this.#drawing || !event.isPrimary) return;
    const passed = event.getCoalescedEvents?.() ?? [];
    for (const part of passed.length > 0 ? passed : [event]) this.strokes.at(-1)!.push(this.#place(part));
    this.#changed();
  }

  #place(event: PointerEvent): Point {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    return [inside((event.clientX - left) / width), inside((event.clientY - top) / height)];
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === 'Delete' || event.key === 'Backspace') {
      this.clear();
      this.said('Cleared.');
    } else if (event.key === ' ' || event.key === 'Enter') {
      this.#cursor ??= [0.5, 0.2];
      this.#penDown = !this.#penDown;
      if (this.#penDown) this.strokes.push([this.#cursor]);
      this.said(this.#penDown ? 'Pen down.' : 'Pen up.');
      this.#changed();
    } else if (event.key in ARROWS) {
      const [x, y] = this.#cursor ?? [0.5, 0.2];
      const [dx, dy] = ARROWS[event.key];
      const step = event.shiftKey ? 4 * KEY_STEP : KEY_STEP;
      this.#cursor = [inside(x + dx * step), inside(y + dy * step)];
      if (this.#penDown) this.strokes.at(-1)!.push(this.#cursor);
      this.#changed();
    } else return;
    event.preventDefault();
  }

  #lift(): void {
    this.#penDown = false;
    this.#cursor = null;
    this.#paint();
  }

  #changed(): void {
    this.#paint();
    this.changed();
  }

  #paint(): void {
    const { width } = this.canvas;
    const context = this.canvas.getContext('2d')!;
    context.clearRect(0, 0, width, width);
    context.lineCap = context.lineJoin = 'round';
    context.lineWidth = PEN * width;
    context.strokeStyle = '#1c2733';
    for (const stroke of this.strokes) {
      context.beginPath();
      stroke.forEach(([x, y], i) => (i === 0 ? context.moveTo(x * width, y * width) : context.lineTo(x * width, y * width)));
      if (stroke.length === 1) context.lineTo(stroke[0][0] * width + 0.01, stroke[0][1] * width);
      context.stroke();
    }
    if (this.#cursor === null) return;
    context.beginPath();
    context.arc(this.#cursor[0] * width, this.#cursor[1] * width, 0.045 * width, 0, 2 * Math.PI);
    context.lineWidth = 0.012 * width;
    context.strokeStyle = this.#penDown ? '#b3401a' : '#1f5fa8';
    context.stroke();
  }
}

const inside = (x: number): number => Math.min(1, Math.max(0, x));
