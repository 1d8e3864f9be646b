/** Ctrl-C as a request: work ends at the next safe point and can be saved; a second Ctrl-C ends at once. */

/** Thrown at a safe point after Ctrl-C. */
export class Interrupted extends Error {
  constructor() {
    super('interrupted');
    this.name = 'Interrupted';
  }
}

export interface InterruptWatch {
  /** Lets pending signals arrive; throws `Interrupted` if Ctrl-C was pressed. */
  check(): Promise<void>;
  stop(): void;
}

/** Watches for Ctrl-C from now on; `say` gets one line when it comes. */
export function watchInterrupt(say: (line: string) => void): InterruptWatch {
  let requested = false;
  const listener = () => {
    if (requested) process.exit(130);
    requested = true;
    say('\nStopping at the next batch; press Ctrl-C again to stop at once, without saving.');
  };
  process.on('SIGINT', listener);
  process.on('SIGTERM', listener);
  return {
    async check() {
      // Training awaits only microtasks, which would keep signals waiting for ever.
      await new Promise((resolve) => setImmediate(resolve));
      if (requested) throw new Interrupted();
    },
    stop() {
      process.off('SIGINT', listener);
      process.off('SIGTERM', listener);
    },
  };
}
