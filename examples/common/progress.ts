/** Progress with time left on stderr: a bar on a terminal, a line now and then elsewhere. */
import cliProgress from 'cli-progress';

export interface Progress {
  update(done: number, note?: string): void;
  /** Ends the bar, or prints the last line. */
  finish(note?: string): void;
}

/** Runs `work` with progress of `label` over `total` steps, of which `start` are done; an error leaves no bar running. */
export async function withProgress<T>(label: string, total: number, start: number, work: (progress: Progress) => Promise<T>): Promise<T> {
  const { stop, ...progress } = startProgress(label, total, start, process.stderr);
  try {
    return await work(progress);
  } finally {
    stop();
  }
}

function startProgress(label: string, total: number, start: number, out: NodeJS.WriteStream): Progress & { stop(): void } {
  return out.isTTY ? barProgress(label, total, start, out) : { ...lineProgress(label, total, start, (line) => out.write(`${line}\n`)), stop() {} };
}

/** Lines at every tenth of the way; `now` in milliseconds is for tests. */
export function lineProgress(label: string, total: number, start: number, print: (line: string) => void, now: () => number = () => performance.now()): Progress {
  const begun = now();
  let printed = Math.floor((10 * start) / total);
  return {
    update(done, note = '') {
      const tenth = Math.floor((10 * done) / total);
      if (tenth <= printed || done >= total) return;
      printed = tenth;
      const left = ((now() - begun) / (done - start)) * (total - done);
      print(`${label}: ${Math.round((100 * done) / total)} %, ${duration(left / 1000)} left${note && `, ${note}`}`);
    },
    finish(note = '') {
      print(`${label}: done in ${duration((now() - begun) / 1000)}${note && `, ${note}`}`);
    },
  };
}

function barProgress(label: string, total: number, start: number, stream: NodeJS.WriteStream): Progress & { stop(): void } {
  const bar = new cliProgress.SingleBar(
    { format: `${label} [{bar}] {percentage} % | {eta_formatted} left | {note}`, stream, hideCursor: true, etaBuffer: 50, forceRedraw: false, gracefulExit: false },
    cliProgress.Presets.rect,
  );
  bar.start(total, start, { note: '' });
  let last = '';
  return {
    update: (done, note) => bar.update(done, { note: (last = note ?? last) }),
    finish(note) {
      bar.update(total, { note: note ?? last });
    },
    // Its timer would keep the process alive, and the cursor hidden.
    stop: () => bar.stop(),
  };
}

/** Seconds as `8 s` or `2 min 05 s`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
}
