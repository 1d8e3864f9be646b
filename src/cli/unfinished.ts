/** What is removed if the process ends while it is being written (Ctrl-C: `bin.ts` then exits in order). */
const cleanups = new Set<() => void>();
let listening = false;

/** Runs `work`; if the process ends meanwhile, `clean` is called. */
export async function withCleanup<T>(clean: () => void, work: () => Promise<T>): Promise<T> {
  if (!listening) process.once('exit', () => cleanups.forEach((each) => each()));
  listening = true;
  cleanups.add(clean);
  try {
    return await work();
  } finally {
    cleanups.delete(clean);
  }
}
