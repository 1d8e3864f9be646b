/** Numbers and tables for a terminal. Pure. */

/** Bytes as a person reads them. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${Math.round(bytes)} B`;
  const units = ['kB', 'MB', 'GB'];
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : value.toFixed(0)} ${units[unit]}`;
}

/** Three significant digits. */
export const formatNumber = (value: number): string => (value === 0 ? '0' : Number.isInteger(value) ? String(value) : value.toPrecision(3));

/** Columns side by side: the first `left` to the left, the others to the right; a rule under the head. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[], left = 1): string {
  const widths = head.map((title, c) => Math.max(title.length, ...rows.map((row) => row[c].length)));
  const line = (cells: readonly string[]): string => cells.map((cell, c) => (c < left ? cell.padEnd(widths[c]) : cell.padStart(widths[c]))).join('  ').trimEnd();
  return [line(head), widths.map((width) => '─'.repeat(width)).join('  '), ...rows.map(line)].join('\n');
}

/** Long names keep their ends, which tell weights apart. */
export const shorten = (name: string, most = 44): string => (name.length <= most ? name : `…${name.slice(1 - most)}`);
