/** Where the browser suites find Chromium, and how it is started. */
import { existsSync } from 'node:fs';
import { chromium } from 'playwright';

const USUAL = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome-stable',
  '/usr/bin/google-chrome',
  '/snap/bin/chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
];

/**
 * The executable of `CHROMIUM_PATH`, of this system, or of playwright.
 * @throws Error that says how to get one.
 */
export function findChromium(exists: (path: string) => boolean = existsSync): string {
  const asked = process.env.CHROMIUM_PATH;
  if (asked) {
    if (exists(asked)) return asked;
    throw new Error(`test:browser: CHROMIUM_PATH is '${asked}', and there is no such file.`);
  }
  const found = [...USUAL, chromium.executablePath()].find((path) => exists(path));
  if (found) return found;
  throw new Error(
    'test:browser: no Chromium was found. Install one (`apt-get install chromium`, `npx playwright install chromium`), or name yours: CHROMIUM_PATH=… npm run test:browser.',
  );
}

/** For suites that are left out where there is no browser, unless TFWS_REQUIRE_BROWSER asks for them. */
export function browserHere(): string | null {
  try {
    return findChromium();
  } catch (error) {
    if (process.env.TFWS_REQUIRE_BROWSER) throw error;
    return null;
  }
}

/**
 * webgl runs without a GPU as it is; webgpu needs the first flag, without which there is no adapter. `TFWS_CHROMIUM_FLAGS` adds some, e.g.
 * `--use-angle=vulkan --enable-features=Vulkan --ignore-gpu-blocklist` for a machine with a GPU, where headless Chromium may prefer SwiftShader.
 */
export const chromiumFlags = (): string[] => [
  '--enable-unsafe-webgpu',
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  ...(process.env.TFWS_CHROMIUM_FLAGS?.split(/\s+/).filter(Boolean) ?? []),
];
