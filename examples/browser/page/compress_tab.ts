/** The tab that compresses a model of the user's. */
import { byId, drawBars, showError } from './dom.js';
import { droppedFiles } from './dropped_files.js';
import { escapeMarkup, formatBytes, formatDecoding } from './format.js';
import { drawHistogram } from './histogram.js';
import type { CompressionTask, WorkerMessage } from './messages.js';
import { readModelFiles, type ModelFiles } from './model_files.js';

let chosen: ModelFiles | null = null;
let worker: Worker | null = null;
let address: string | null = null;

export function startCompression(): void {
  const input = byId<HTMLInputElement>('files');
  const area = byId('drop');
  input.addEventListener('change', () => {
    const files = Array.from(input.files ?? []);
    // So that choosing the same files again is a change.
    input.value = '';
    if (files.length > 0) void choose(Promise.resolve(files));
  });
  const over = (on: boolean) => (event: DragEvent) => {
    event.preventDefault();
    area.classList.toggle('over', on);
  };
  area.addEventListener('dragover', over(true));
  area.addEventListener('dragleave', over(false));
  area.addEventListener('drop', (event) => {
    over(false)(event);
    if (event.dataTransfer !== null) void choose(droppedFiles(event.dataTransfer));
  });
  // A miss must not leave the page.
  for (const kind of ['dragover', 'drop'] as const) addEventListener(kind, (event) => event.preventDefault());
  const [goal, amount] = [byId<HTMLSelectElement>('goal'), byId<HTMLInputElement>('amount')];
  goal.addEventListener('change', () => ([amount.value, amount.step] = GOALS[goal.value as keyof typeof GOALS]));
  byId<HTMLFormElement>('settings').addEventListener('submit', (event) => {
    event.preventDefault();
    if (chosen !== null) compress({ artifacts: chosen.artifacts, options: { [goal.value]: amount.valueAsNumber } }, chosen.bytes);
  });
  byId('cancel').addEventListener('click', () => stop('Cancelled.'));
}

/** Default and step of what can be asked for. */
const GOALS = { ratio: ['10', 'any'], bits: ['4', 'any'], maxError: ['0.05', 'any'] } as const;

async function choose(files: Promise<File[]>): Promise<void> {
  stop('');
  reset();
  chosen = null;
  byId<HTMLButtonElement>('start').disabled = true;
  byId('chosen').textContent = '';
  try {
    chosen = await readModelFiles(await files);
    const { artifacts, bytes, unused } = chosen;
    const count = artifacts.weightSpecs?.length ?? 0;
    byId('chosen').textContent = `Model with ${count} weight tensors, ${formatBytes(bytes)}.${unused.length > 0 ? ` Not part of it, left out: ${unused.join(', ')}.` : ''}`;
    byId<HTMLButtonElement>('start').disabled = false;
  } catch (error) {
    showError('compress-error', error as Error);
  }
}

function reset(): void {
  showError('compress-error', null);
  byId('result').hidden = true;
  if (address !== null) URL.revokeObjectURL(address);
  address = null;
}

function compress(task: CompressionTask, inputBytes: number): void {
  stop('');
  reset();
  byId('work').hidden = false;
  byId<HTMLButtonElement>('start').disabled = true;
  worker = new Worker(new URL('./compress_worker.ts', import.meta.url), { type: 'module' });
  worker.onerror = (event) => fail(`The worker failed: ${event.message || 'it could not be loaded'}. Load the page again.`);
  worker.onmessage = ({ data }: MessageEvent<WorkerMessage>) => {
    if (data.kind === 'progress') {
      byId<HTMLProgressElement>('work-bar').value = data.done;
      byId('work-text').textContent = `${Math.round(100 * data.done)} %, ${data.what}`;
    } else if (data.kind === 'failed') fail(data.message);
    else {
      stop('');
      showResult(data, inputBytes);
    }
  };
  worker.postMessage(task);
}

function fail(message: string): void {
  stop('');
  showError('compress-error', new Error(message));
}

/** Ends a running compression. */
function stop(said: string): void {
  worker?.terminate();
  worker = null;
  byId('work').hidden = true;
  byId<HTMLProgressElement>('work-bar').value = 0;
  byId('work-text').textContent = 'Starts …';
  byId('cancelled').textContent = said;
  byId<HTMLButtonElement>('start').disabled = chosen === null;
}

function showResult({ file, report, decodeMilliseconds, before, after }: Extract<WorkerMessage, { kind: 'done' }>, inputBytes: number): void {
  address = URL.createObjectURL(new Blob([file], { type: 'application/octet-stream' }));
  byId<HTMLAnchorElement>('download').href = address;
  byId('download').textContent = `Download model.tfws (${formatBytes(file.length)})`;
  byId('result-text').textContent = `${report.parameters.toLocaleString('en')} weights, ${report.ratio.toFixed(1)} times smaller than float32. Relative error of the weights ${report.relativeError.toPrecision(2)}; none moved by more than ${report.maxDeviation.toPrecision(2)}. Decoded again in ${formatDecoding(decodeMilliseconds, report.parameters)}.`;
  byId('result-warnings').innerHTML = report.warnings.map((warning) => `<li>${escapeMarkup(warning)}</li>`).join('');
  byId('result-sizes').innerHTML = drawBars([
    { name: 'your files', value: inputBytes, text: formatBytes(inputBytes) },
    { name: 'compressed', value: file.length, text: formatBytes(file.length), marked: true },
  ]);
  byId('result-histogram').innerHTML = drawHistogram('Histogram of the weights before and after compression', before, after);
  byId('result-rows').innerHTML = report.weights
    .map((w) => [w.name, w.shape.join(' × '), w.reason === undefined ? w.treatment : `${w.treatment}: ${w.reason}`, w.values > 0 ? String(w.values) : '', formatBytes(w.bytesBefore), `≈ ${formatBytes(w.bytesEstimate)}`, w.relativeError.toPrecision(2)])
    .map((cells) => `<tr>${cells.map((cell) => `<td>${escapeMarkup(cell)}</td>`).join('')}</tr>`)
    .join('');
  byId('result').hidden = false;
  byId('result-heading').focus();
}
