/** The page that a report is: self-contained HTML with figures and tables, nothing loaded from elsewhere. */
import { escapeMarkup, type Panel } from './plots.js';

const STYLE = `
  body { font: 15px/1.5 "DejaVu Sans", system-ui, sans-serif; color: #222; background: white; margin: 2rem auto; max-width: 1300px; padding: 0 1rem; }
  h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
  .figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 600px), 1fr)); gap: 1.5rem; }
  figure { margin: 0; } figcaption { font-size: .85rem; color: #555; } figcaption b { font-size: 1rem; color: #222; }
  figure svg { max-width: 100%; height: auto; }
  table { border-collapse: collapse; font-variant-numeric: tabular-nums; } th, td { padding: .25rem .9rem .25rem 0; text-align: right; border-bottom: 1px solid #ddd; }
  th:first-child, td:first-child, .text td, .text th { text-align: left; } .marked td { font-weight: bold; color: #1d7a45; }
  pre { font-size: .8rem; overflow-x: auto; background: #f6f6f6; padding: 1rem; }
`;

/** `body` is markup; title and heading are text. */
export function htmlPage(title: string, heading: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeMarkup(title)}</title>
<style>${STYLE}</style>
<h1>${escapeMarkup(heading)}</h1>
${body}
</html>
`;
}

export interface TableRow {
  /** Text; escaped here. */
  cells: string[];
  /** Drawn to stand out. */
  marked?: boolean;
}

/** `text`: cells hold words and are set to the left; else numbers, to the right. */
export function htmlTable(head: readonly string[], rows: readonly TableRow[], { text = false } = {}): string {
  const cells = (tag: string, row: readonly string[]) => row.map((cell) => `<${tag}>${escapeMarkup(cell)}</${tag}>`).join('');
  const body = rows.map(({ cells: row, marked }) => `<tr${marked ? ' class="marked"' : ''}>${cells('td', row)}</tr>`).join('\n');
  return `<table${text ? ' class="text"' : ''}><tr>${cells('th', head)}</tr>\n${body}</table>`;
}

/** Panels side by side where the page is wide enough. */
export function htmlFigures(panels: readonly Panel[]): string {
  const figures = panels.map(({ title, subtitle, svg }) => `<figure><figcaption><b>${escapeMarkup(title)}</b><br>${escapeMarkup(subtitle)}</figcaption>${svg}</figure>`);
  return `<div class="figures">\n${figures.join('\n')}\n</div>`;
}
