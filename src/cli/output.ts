/** What a command says: text for people, or one JSON object, on stdout; warnings on stderr. */
export interface Output {
  quiet: boolean;
  text(line: string): void;
  json(value: unknown): void;
  warn(line: string): void;
}

export function makeOutput({ json = false, quiet = false }: { json?: boolean; quiet?: boolean }): Output {
  return {
    quiet: quiet || json,
    text: (line) => void (json || quiet || process.stdout.write(`${line}\n`)),
    json: (value) => void (json && process.stdout.write(`${JSON.stringify(value)}\n`)),
    warn: (line) => void process.stderr.write(`warning: ${line}\n`),
  };
}

/** Whoever reads may stop reading, as `head` does: what goes into files is written nevertheless. */
export function bearClosedPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
}
