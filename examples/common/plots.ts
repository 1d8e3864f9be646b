/**
 * Plots without a browser: Observable Plot on a linkedom document gives SVG, resvg makes a PNG of it.
 * resvg drops every text for which it finds no font, so the font comes with the examples (DejaVu Sans).
 */
import { createRequire } from 'node:module';
import * as Plot from '@observablehq/plot';
import { Resvg } from '@resvg/resvg-js';
import { parseHTML } from 'linkedom';

export const FONT_FAMILY = 'DejaVu Sans';
const FONTS = ['dejavu-fonts-ttf/ttf/DejaVuSans.ttf', 'dejavu-fonts-ttf/ttf/DejaVuSans-Bold.ttf'];
const TITLE_HEIGHT = 46;
const GAP = 24;

export interface Panel {
  title: string;
  /** One line below the title. */
  subtitle: string;
  width: number;
  height: number;
  svg: string;
}

/** One plot as a self-contained piece of SVG. */
export function panel(title: string, subtitle: string, options: Plot.PlotOptions & { width: number; height: number }): Panel {
  const { document } = parseHTML('<html><body></body></html>');
  const figure = Plot.plot({ ...options, document: document as unknown as Document, style: { fontFamily: FONT_FAMILY, fontSize: '12px', background: 'white' } });
  if (figure.tagName.toLowerCase() !== 'svg') throw new Error(`plots: '${title}' is not a plain SVG; leave out options that add HTML, such as legends.`);
  figure.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  return { title, subtitle, width: options.width, height: options.height, svg: figure.outerHTML };
}

/** Height of the heading's letters. */
const HEADING = 20;

/** Panels in rows, each with its title above it, as one SVG. */
export function composePanels(heading: string, rows: readonly (readonly Panel[])[]): string {
  const headingHeight = 56;
  // A letter of the heading is about two thirds as wide as high.
  const width = Math.max(2 * GAP + Math.ceil(0.68 * HEADING * heading.length), ...rows.map((row) => row.reduce((sum, p) => sum + p.width + GAP, GAP)));
  const parts: string[] = [];
  let y = headingHeight;
  for (const row of rows) {
    let x = GAP;
    for (const { title, subtitle, svg, width: panelWidth } of row) {
      parts.push(
        `<text x="${x}" y="${y + 16}" font-size="15" font-weight="bold">${escapeMarkup(title)}</text>`,
        `<text x="${x}" y="${y + 34}" font-size="12" fill="#555">${escapeMarkup(subtitle)}</text>`,
        `<g transform="translate(${x},${y + TITLE_HEIGHT})">${svg}</g>`,
      );
      x += panelWidth + GAP;
    }
    y += TITLE_HEIGHT + Math.max(...row.map((p) => p.height)) + GAP;
  }
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y}" viewBox="0 0 ${width} ${y}" font-family="${FONT_FAMILY}" fill="#222">` +
    `<rect width="${width}" height="${y}" fill="white"/><text x="${GAP}" y="36" font-size="${HEADING}" font-weight="bold">${escapeMarkup(heading)}</text>${parts.join('')}</svg>`
  );
}

/** Renders SVG at `zoom` times its size. */
export function toPng(svg: string, zoom = 1.5): Uint8Array {
  const fontFiles = shippedFonts();
  return new Resvg(svg, {
    background: 'white',
    fitTo: { mode: 'zoom', value: zoom },
    font: { fontFiles, loadSystemFonts: fontFiles.length === 0, defaultFontFamily: FONT_FAMILY, sansSerifFamily: FONT_FAMILY },
  })
    .render()
    .asPng();
}

/** The numbers of all epochs, or some ten of many. */
export function epochTicks(rows: readonly { epoch: number }[]): number[] {
  const last = Math.max(...rows.map(({ epoch }) => epoch));
  const step = Math.ceil(last / 12);
  return Array.from({ length: Math.ceil(last / step) }, (_, i) => 1 + i * step);
}

export function escapeMarkup(text: string): string {
  return text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c] as string);
}

/** Font files of the package that the examples depend on; none where it is absent (then the system's fonts serve). */
function shippedFonts(): string[] {
  const { resolve } = createRequire(import.meta.url);
  return FONTS.flatMap((font) => {
    try {
      return [resolve(font)];
    } catch {
      return [];
    }
  });
}
