/** The two files that a report is: one self-contained HTML page and one PNG. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { toPng } from './plots.js';

export interface ReportFiles {
  html: string;
  png: string;
}

/** Writes report.html and, of `pictures` (SVG), report.png into `directory` and returns their paths. */
export function writeReportFiles(directory: string, html: string, pictures: string): ReportFiles {
  mkdirSync(directory, { recursive: true });
  const files = { html: join(directory, 'report.html'), png: join(directory, 'report.png') };
  writeFileSync(files.html, html);
  writeFileSync(files.png, toPng(pictures));
  return files;
}
