/** The page of examples/browser, built and used in Chromium as a person would. Needs `npm run build`. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type Browser, type Page } from 'playwright';
import type { PreviewServer } from 'vite';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { digitStrokes } from '../../examples/common/digits.js';
import { buildPage, serveBuilt } from '../../examples/browser/serve.js';
import { decodeContainer } from '../../src/compression/container_reader.js';
import { browserHere, chromiumFlags } from '../browser/chromium.js';
import { seededNormal } from '../helpers.js';

const KERNEL = Float32Array.from({ length: 60 * 80 }, seededNormal(1));
const SPECS = [{ name: 'a/kernel', shape: [60, 80], dtype: 'float32' }, { name: 'a/bias', shape: [80], dtype: 'float32' }];
const TOPOLOGY = { class_name: 'Sequential', config: { name: 's', layers: [{ class_name: 'Dense', config: { name: 'a', units: 80, batch_input_shape: [null, 60] } }] } };
const json = (value: unknown, name = 'model.json') => ({ name, mimeType: 'application/json', buffer: Buffer.from(JSON.stringify(value)) });
const MODEL = json({ format: 'layers-model', modelTopology: TOPOLOGY, weightsManifest: [{ paths: ['group1-shard1of2.bin', 'group1-shard2of2.bin'], weights: SPECS }] });
const BYTES = Buffer.concat([Buffer.from(KERNEL.buffer), Buffer.from(new Float32Array(80).fill(0.125).buffer)]);
const shard = (number: number, buffer: Buffer<ArrayBuffer>) => ({ name: `group1-shard${number}of2.bin`, mimeType: 'application/octet-stream', buffer });
const SHARDS = [shard(1, BYTES.subarray(0, 10_000)), shard(2, BYTES.subarray(10_000))];

const executablePath = browserHere();

describe.skipIf(executablePath === null)('the page of examples/browser', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tfws-page-'));
  let server: PreviewServer;
  let browser: Browser;
  let page: Page;
  let errors: string[] = [];

  beforeAll(async () => {
    await buildPage(folder);
    server = await serveBuilt(folder, 4173);
    browser = await chromium.launch({ executablePath: executablePath!, args: chromiumFlags() });
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close();
    rmSync(folder, { recursive: true, force: true });
  });
  beforeEach(async () => {
    page = await browser.newPage({ viewport: { width: 1000, height: 900 } });
    page.setDefaultTimeout(20_000);
    errors = [];
    page.on('pageerror', ({ message }) => void errors.push(message));
  });
  afterEach(async () => {
    await page.close();
    expect(errors).toEqual([]);
  });

  const open = async (tab = ''): Promise<void> => {
    await page.goto(`${server.resolvedUrls!.local[0]}${tab}`);
    if (tab === '') await page.getByText('Model loaded: 4.1 kB.').waitFor();
  };
  const answer = () => page.textContent('#answer');

  /** Draws a digit in a part of the pad, as a pointer would. */
  async function draw(digit: number, style: number, size: number): Promise<void> {
    const { x, y, width } = (await page.locator('#pad').boundingBox())!;
    const place = ([px, py]: readonly [number, number]): [number, number] => [x + width * (0.5 + size * px), y + width * (0.5 + size * py)];
    for (const [first, ...others] of digitStrokes(digit, style)) {
      await page.mouse.move(...place(first));
      await page.mouse.down();
      for (const point of others) await page.mouse.move(...place(point), { steps: 2 });
      await page.mouse.up();
    }
  }

  it('loads the compressed model and shows sizes, decoding time and weights', async () => {
    await open();
    expect(await page.locator('#sizes li').allTextContents()).toEqual(['float321.07 MB', 'gzip984 kB', 'shared, gzip11.2 kB', 'shared, ours4.1 kB']);
    expect(await page.textContent('#facts')).toContain('260 times smaller');
    expect(await page.textContent('#decode-time')).toMatch(/^Decoded in [\d.]+ ms, \d+ MB of float32 weights a second\.$/);
    expect(await page.textContent('#histogram-text')).toContain('12 different values');
    expect(await page.locator('#histogram rect.after').count()).toBeGreaterThan(8);
  });

  it('reads digits that are drawn, small or large, and clears', async () => {
    await open();
    for (const [digit, style, size] of [[3, 0, 0.4], [7, 0, 0.2], [0, 0, 0.3], [4, 1, 0.35]]) {
      await draw(digit, style, size);
      expect(await answer()).toMatch(new RegExp(`^This is a ${digit} \\(\\d+ %\\)\\.$`));
      await page.click('#pad-clear');
      expect(await answer()).toBe('Draw a digit.');
    }
    const seen: (string | null)[] = [];
    for (let i = 0; i < 10; i++) {
      await page.click('#pad-example');
      seen.push((await answer())!.slice(0, 11));
    }
    expect(seen).toEqual(Array.from({ length: 10 }, (_, i) => `This is a ${i}`));
  });

  it('takes a digit from the keyboard alone', async () => {
    await open();
    for (let i = 0; i < 10 && (await page.evaluate(() => document.activeElement?.id)) !== 'pad'; i++) await page.keyboard.press('Tab');
    expect(await page.evaluate(() => getComputedStyle(document.activeElement!).outlineStyle)).toBe('solid');
    await page.keyboard.press('Space');
    expect(await page.textContent('#pad-said')).toBe('Pen down.');
    for (let i = 0; i < 5; i++) await page.keyboard.press('Shift+ArrowDown');
    await page.keyboard.press('Space');
    expect(await answer()).toMatch(/^This is a 1 /);
    await page.keyboard.press('Delete');
    expect(await answer()).toBe('Draw a digit.');
    await page.focus('#tab-digits');
    await page.keyboard.press('ArrowRight');
    expect(await page.evaluate(() => [document.activeElement?.id, location.hash, document.getElementById('digits')!.hidden, document.getElementById('compress')!.hidden])).toEqual(['tab-compress', '#compress', true, false]);
  });

  it('shows the download as it comes, and a failed one with the way out', async () => {
    await open();
    const file = readFileSync(join(folder, 'digits.tfws'));
    // Half of the file, the rest when the page has been looked at.
    let finish = (): void => undefined;
    const slow = createServer((_, response) => {
      response.writeHead(200, { 'Content-Length': file.length, 'Access-Control-Allow-Origin': '*' }).write(file.subarray(0, 2000));
      finish = () => void response.end(file.subarray(2000));
    });
    await new Promise<void>((resolve) => slow.listen(0, '127.0.0.1', resolve));
    await page.route('**/digits.tfws', (route) => route.continue({ url: `http://127.0.0.1:${(slow.address() as AddressInfo).port}/` }));
    await page.click('#reload');
    await page.getByText('Downloading the model: 2.0 kB of 4.1 kB').waitFor();
    expect(await page.evaluate(() => ['value', 'max'].map((key) => (document.getElementById('load-bar') as never)[key]))).toEqual([2000, file.length]);
    expect(await page.isDisabled('#reload')).toBe(true);
    finish();
    await page.getByText('Model loaded: 4.1 kB.').waitFor();
    await page.unroute('**/digits.tfws');
    slow.close();
    await page.route('**/digits.tfws', (route) => route.fulfill({ status: 404 }));
    await page.click('#reload');
    await page.getByText(/'digits\.tfws' cannot be read: HTTP 404/).waitFor();
    await page.click('#pad-example');
    expect(await answer()).toMatch(/^This is a 0/);
    await page.unroute('**/digits.tfws');
    await page.click('#reload');
    await page.getByText('Model loaded: 4.1 kB.').waitFor();
    expect(await page.isVisible('#load-error')).toBe(false);
  });

  it('compresses a chosen model in a worker, reports, and offers a file that decodes', async () => {
    await open('#compress');
    await page.setInputFiles('#files', [MODEL, ...SHARDS, { name: 'README.md', mimeType: 'text/plain', buffer: Buffer.from('x') }]);
    await page.getByText(/^Model with 2 weight tensors, 19\.\d kB\. Not part of it, left out: README\.md\.$/).waitFor();
    await page.selectOption('#goal', 'bits');
    await page.fill('#amount', '3');
    await page.click('#start');
    await page.getByText(/^4,880 weights, \d+\.\d times smaller than float32\. .* Decoded again in /).waitFor();
    expect(await page.locator('#result-rows tr').first().locator('td').allTextContents()).toEqual(expect.arrayContaining(['a/kernel', '60 × 80', 'codebook', '8']));
    expect(await page.locator('#result-histogram rect.after').count()).toBe(8);
    expect(await page.locator('#result-histogram rect.before').count()).toBeGreaterThan(50);
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('#download')]);
    expect(download.suggestedFilename()).toBe('model.tfws');
    const { weightData, weightSpecs } = decodeContainer(readFileSync(await download.path()));
    expect(weightSpecs!.map(({ name }) => name)).toEqual(['a/kernel', 'a/bias']);
    const values = new Float32Array(weightData as ArrayBuffer);
    expect(new Set(values.subarray(0, 4800)).size).toBe(8);
    expect(values[4800]).toBe(0.125);
    expect(Math.hypot(...KERNEL.map((w, i) => w - values[i])) / Math.hypot(...KERNEL)).toBeLessThan(0.25);
  });

  it('stops a compression that is cancelled, and starts it again', async () => {
    await open('#compress');
    const weights = [{ name: 'w', shape: [700, 1000], dtype: 'float32' }];
    const values = Buffer.from(Float32Array.from({ length: 700_000 }, seededNormal(2)).buffer);
    await page.setInputFiles('#files', [json({ modelTopology: {}, weightsManifest: [{ paths: ['w.bin'], weights }] }), { name: 'w.bin', mimeType: 'application/octet-stream', buffer: values }]);
    await page.click('#start');
    await page.locator('#work-text').getByText(/^\d+ %, /).waitFor();
    await page.click('#cancel');
    expect(await page.textContent('#cancelled')).toBe('Cancelled.');
    expect([await page.isVisible('#work'), await page.isVisible('#result')]).toEqual([false, false]);
    await page.click('#start');
    await page.locator('#work').waitFor();
    expect(await page.textContent('#cancelled')).toBe('');
  });

  it('takes dropped files and is usable on a narrow screen', async () => {
    await page.setViewportSize({ width: 360, height: 700 });
    await open('#compress');
    const files = [MODEL, ...SHARDS].map(({ name, buffer }) => ({ name, bytes: [...buffer] }));
    const transfer = await page.evaluateHandle((given) => {
      const data = new DataTransfer();
      for (const { name, bytes } of given) data.items.add(new File([new Uint8Array(bytes)], name));
      return data;
    }, files);
    await page.dispatchEvent('#drop', 'drop', { dataTransfer: transfer });
    await page.click('#start');
    await page.locator('#result-text').getByText(/times smaller/).waitFor();
    const widths = () => page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    expect(await widths()).toEqual([360, 360]);
    await page.click('#tab-digits');
    await draw(7, 0, 0.4);
    expect(await answer()).toMatch(/^This is a 7/);
    expect(await widths()).toEqual([360, 360]);
  });

  it('says what is wrong with files and options, and goes on', async () => {
    await open('#compress');
    const fails = async (files: (typeof MODEL)[], message: RegExp): Promise<void> => {
      await page.setInputFiles('#files', files);
      await page.locator('#compress-error').getByText(message).waitFor();
      expect(await page.isDisabled('#start')).toBe(true);
    };
    await fails([MODEL, SHARDS[0]], /model\.json needs 'group1-shard2of2\.bin', which is missing\. Choose model\.json together with all/);
    await fails([MODEL, SHARDS[0], shard(2, BYTES.subarray(0, 500))], /describes 19520 bytes of weights in .*, but there are 10500: truncated/);
    await fails([json({ a: 1 }, 'package.json')], /package\.json is JSON, but not a model: it lacks modelTopology/);
    await fails(SHARDS, /There is no model\.json among 'group1-shard1of2\.bin', 'group1-shard2of2\.bin'/);
    await fails([{ ...MODEL, name: 'net.h5' }], /'net\.h5' is not a TensorFlow\.js model\. Convert it/);
    await page.setInputFiles('#files', [MODEL, ...SHARDS]);
    await page.fill('#amount', '5000');
    await page.click('#start');
    await page.locator('#compress-error').getByText(/^compressModel: .*ratio/).waitFor();
    await page.fill('#amount', '8');
    await page.click('#start');
    await page.locator('#result-text').getByText(/times smaller/).waitFor();
    expect(await page.isVisible('#compress-error')).toBe(false);
  });
});
