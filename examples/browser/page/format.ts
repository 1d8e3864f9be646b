/** Numbers as the page shows them. */

export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${Math.round(bytes)} bytes`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(bytes < 1e5 ? 1 : 0)} kB` : `${(bytes / 1e6).toFixed(2)} MB`;
}

/** Decoding speed counts the float32 bytes that come out. */
export function formatDecoding(milliseconds: number, parameters: number): string {
  const time = milliseconds < 10 ? `${milliseconds.toFixed(1)} ms` : `${Math.round(milliseconds)} ms`;
  return `${time}, ${((4 * parameters) / (1000 * Math.max(milliseconds, 0.1))).toFixed(0)} MB of float32 weights a second`;
}

export const escapeMarkup = (text: string): string => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
