/** The film of a report, played in Chromium as a reader would. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium, type Browser } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { histogramFilm } from '../../examples/common/compression/film.js';
import { htmlPage } from '../../examples/common/html.js';
import { browserHere, chromiumFlags } from '../browser/chromium.js';
import { syntheticSeed } from './synthetic_record.js';

const executablePath = browserHere();

describe.skipIf(executablePath === null)('the film of the weights, in a page', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tfws-film-'));
  const file = join(folder, 'report.html');
  let browser: Browser;

  beforeAll(async () => {
    writeFileSync(file, htmlPage('film', 'film', histogramFilm(syntheticSeed(1))));
    browser = await chromium.launch({ executablePath: executablePath!, args: chromiumFlags() });
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('draws the epoch of the slider, plays from the beginning to the end, and stops by itself', async () => {
    const page = await browser.newPage();
    const errors: string[] = [];
    page.on('pageerror', ({ message }) => void errors.push(message));
    await page.goto(pathToFileURL(file).href);
    const [slider, button, output] = ['input', 'button', 'output'].map((name) => page.locator(`.film ${name}`));
    const drawn = () => Promise.all(['.bars', '.mixture'].map((path) => page.locator(`.film ${path}`).getAttribute('d')));
    const [bars, mixture] = await drawn();
    await expect.poll(() => output.textContent()).toMatch(/^epoch 60: /);

    await slider.fill('0');
    expect(await output.textContent()).toMatch(/^epoch 1: held-out error \d\.\d\d %, 17 components/);
    const [firstBars, firstMixture] = await drawn();
    expect([firstBars === bars, firstMixture === mixture]).toEqual([false, false]);

    // The script draws what the report was made with.
    await slider.fill('59');
    expect(await drawn()).toEqual([bars, mixture]);

    await slider.fill('57');
    await button.click();
    expect(await button.textContent()).toBe('pause');
    await expect.poll(() => slider.inputValue(), { timeout: 5000 }).toBe('59');
    await expect.poll(() => button.textContent()).toBe('play');
    expect(await drawn()).toEqual([bars, mixture]);

    // At the end it begins again.
    await button.click();
    expect(Number(await slider.inputValue())).toBeLessThan(59);
    await button.click();
    expect(await button.textContent()).toBe('play');
    const stopped = await slider.inputValue();
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(await slider.inputValue()).toBe(stopped);
    expect(errors).toEqual([]);
    await page.close();
  });
});
