/** A progress bar on stderr, on a terminal only: logs stay readable. */
import cliProgress from 'cli-progress';

export interface Progress {
  update(done: number, what: string): void;
  stop(): void;
}

export function startProgress(quiet: boolean): Progress {
  if (quiet || !process.stderr.isTTY) return { update: () => undefined, stop: () => undefined };
  const bar = new cliProgress.SingleBar({ format: '[{bar}] {percentage} % {what}', stream: process.stderr, hideCursor: true, clearOnComplete: true, gracefulExit: false }, cliProgress.Presets.rect);
  bar.start(100, 0, { what: '' });
  return { update: (done, what) => bar.update(Math.round(100 * done), { what: what.slice(0, 50) }), stop: () => bar.stop() };
}
