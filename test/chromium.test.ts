import { afterEach, describe, expect, it, vi } from 'vitest';
import { chromiumFlags, findChromium } from './browser/chromium.js';

const only = (...paths: string[]) => (path: string) => paths.includes(path);
afterEach(() => vi.unstubAllEnvs());

describe('the browser of the suites', () => {
  it('is that of CHROMIUM_PATH, or else of the system', () => {
    const exists = only('/usr/bin/chromium', '/opt/mine');
    vi.stubEnv('CHROMIUM_PATH', '');
    expect(findChromium(exists)).toBe('/usr/bin/chromium');
    vi.stubEnv('CHROMIUM_PATH', '/opt/mine');
    expect(findChromium(exists)).toBe('/opt/mine');
  });

  it('says how to get one where there is none', () => {
    vi.stubEnv('CHROMIUM_PATH', '');
    expect(() => findChromium(only())).toThrow(/^test:browser: no Chromium was found\. Install one \(`apt-get install chromium`, .*CHROMIUM_PATH=… npm run test:browser\.$/);
    vi.stubEnv('CHROMIUM_PATH', '/opt/gone');
    expect(() => findChromium(only())).toThrow("test:browser: CHROMIUM_PATH is '/opt/gone', and there is no such file.");
  });

  it('is started with the flag that webgpu needs, and with those of TFWS_CHROMIUM_FLAGS', () => {
    vi.stubEnv('TFWS_CHROMIUM_FLAGS', ' --use-angle=vulkan  --x ');
    expect(chromiumFlags()).toContain('--enable-unsafe-webgpu');
    expect(chromiumFlags().slice(-2)).toEqual(['--use-angle=vulkan', '--x']);
  });
});
