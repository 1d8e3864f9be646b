/** Small parts of the page that both tabs use. */
import { escapeMarkup } from './format.js';

export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`The page has no element '${id}'.`);
  return found as T;
}

/** Shows an error where it belongs, or takes it away. */
export function showError(id: string, error: Error | null): void {
  const place = byId(id);
  place.hidden = error === null;
  place.textContent = error === null ? '' : error.message;
}

export interface Bar {
  name: string;
  value: number;
  text: string;
  marked?: boolean;
}

/** Horizontal bars, the longest of `most`, as rows of a list. */
export function drawBars(bars: readonly Bar[], most = Math.max(...bars.map(({ value }) => value))): string {
  const row = ({ name, value, text, marked = false }: Bar): string =>
    `<li${marked ? ' class="marked"' : ''}><span>${escapeMarkup(name)}</span><i style="--part:${((100 * value) / (most || 1)).toFixed(2)}%"></i><b>${escapeMarkup(text)}</b></li>`;
  return bars.map(row).join('');
}
