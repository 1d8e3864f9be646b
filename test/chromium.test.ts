import { existsSync } from 'node:fs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { chromiumFlags, findChromium } from './browser/chromium.js';

vi.mock('node:fs', async (original) => ({ ...(await original<typeof import('node:fs')>()), existsSync: vi.fn() }));
const only = (...paths: string[]) => vi.mocked(existsSync).mockImplementation((path) => paths.includes(String(path)));
afterEach(() => vi.unstubAllEnvs());

describe('the browser of the suites', () => {
  it('is that of CHROMIUM_PATH, or else of the system', () => {
    only('/usr/bin/chromium', '/opt/mine');
    vi.stubEnv('CHROMIUM_PATH', '');
    expect(findChromium()).toBe('/usr/bin/chromium');
    vi.stubEnv('CHROMIUM_PATH', '/opt/mine');
    expect(findChromium()).toBe('/opt/mine');
  });

  it('says how to get one where there is none', () => {
    only();
    vi.stubEnv('CHROMIUM_PATH', '');
    expect(() => findChromium()).toThrow(/^test:browser: no Chromium was found\. Install one \(`apt-get install chromium`, .*CHROMIUM_PATH=… npm run test:browser\.$/);
    vi.stubEnv('CHROMIUM_PATH', '/opt/gone');
    expect(() => findChromium()).toThrow("test:browser: CHROMIUM_PATH is '/opt/gone', and there is no such file.");
  });

  it('is started with the flag that webgpu needs, and with those of TFWS_CHROMIUM_FLAGS', () => {
    vi.stubEnv('TFWS_CHROMIUM_FLAGS', ' --use-angle=vulkan  --x ');
    expect(chromiumFlags()).toContain('--enable-unsafe-webgpu');
    expect(chromiumFlags().slice(-2)).toEqual(['--use-angle=vulkan', '--x']);
  });
});
