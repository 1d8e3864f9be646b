import { describe, expect, it } from 'vitest';
import { crc32 } from '../../src/compression/checksum.js';
import { decodeModelArtifacts, encodeModelArtifacts } from '../../src/compression/container.js';
import { decodeContainer, HEADER_BYTES } from '../../src/compression/container_reader.js';
import { codeText } from '../../src/compression/byte_model.js';
import { codeNumber, RangeEncoder } from '../../src/compression/range_coder.js';
import { nestedRows, seal } from './fuzz/hostile_files.js';
import { artifactsOf, float32, seeded } from './helpers.js';

const random = seeded(5);
const good = encodeModelArtifacts(artifactsOf([float32('w', [40], Float32Array.from({ length: 40 }, random))]));

/** A file with a valid frame around whatever stream. */
function framed(write: (encoder: RangeEncoder) => void): Uint8Array {
  const encoder = new RangeEncoder();
  write(encoder);
  const stream = encoder.finish();
  const crc = crc32(stream);
  return Uint8Array.of(84, 70, 87, 83, 1, crc, crc >>> 8, crc >>> 16, crc >>> 24, ...stream);
}

function withText(text: string): Uint8Array {
  return framed((encoder) => {
    const bytes = new TextEncoder().encode(text);
    codeNumber(encoder, bytes.length);
    codeText(encoder, bytes);
    codeNumber(encoder, 0);
    encoder.raw(new Uint8Array(0), 0, 1);
  });
}

describe('a file that cannot be read', () => {
  it.each([
    ['empty', new Uint8Array(0), /compressed: 'm' is empty\. Fetch or save it again\./],
    ['foreign', new TextEncoder().encode('{"modelTopology":{}}'), /'m' is not a \.tfws file \(it does not begin with 'TFWS'\)\. Load a stock model\.json without/],
    ['of a newer version', good.map((byte, i) => (i === 4 ? 2 : byte)), /'m' has format version 2, this package reads version 1\. Install a newer tfjs-weight-sharing\./],
    ['cut in the header', good.slice(0, 7), /'m' is truncated or damaged/],
    ['cut in the body', good.slice(0, good.length - 1), /'m' is truncated or damaged: its checksum does not match/],
    ['too long', Uint8Array.of(...good, 0), /'m' is truncated or damaged/],
  ])('is named, with the reason: %s', (_, bytes, message) => {
    expect(() => decodeContainer(bytes, "'m'")).toThrow(message);
  });

  it('is found out by any single flipped bit', () => {
    for (let bit = 0; bit < 8 * good.length; bit++) {
      const bytes = good.slice();
      bytes[bit >> 3] ^= 1 << (bit & 7);
      expect(() => decodeContainer(bytes)).toThrow(/not a \.tfws file|format version|truncated or damaged/);
    }
  });

  it('may have a valid checksum and still declare what its bytes cannot hold', () => {
    const huge = '{"weightSpecs":[{"name":"w","shape":[1000000,1000000],"dtype":"float32"}]}';
    expect(() => decodeContainer(withText(huge))).toThrow(/is damaged: 1000000000000 weights cannot be in \d+ bytes\./);
    expect(() => decodeContainer(framed((encoder) => codeNumber(encoder, 2 ** 29)))).toThrow(/536870912 bytes cannot be in \d+ bytes/);
    const negative = '{"weightSpecs":[{"name":"w","shape":[-1],"dtype":"float32"}]}';
    expect(() => decodeContainer(withText(negative))).toThrow(/is damaged: its weights are not described/);
    const unknown = '{"weightSpecs":[{"name":"w","shape":[1],"dtype":"float64"}]}';
    expect(() => decodeContainer(withText(unknown))).toThrow(/its weights are not described/);
    expect(() => decodeContainer(withText('{"weightSpecs":'))).toThrow(/is damaged/);
  });

  it('cannot make the decoder follow rows of rows of rows', () => {
    const bytes = seal(nestedRows(8000, 6000));
    expect(bytes.length).toBeLessThan(40_000);
    // At the first level: what follows is never read.
    expect(() => decodeContainer(bytes)).toThrow('compressed: these bytes is damaged: an index is out of range.');
  });

  it('never does anything but throw, whatever its bytes', () => {
    for (let seed = 0; seed < 200; seed++) {
      const noise = seeded(seed);
      const bytes = withText(`{"weightSpecs":[{"name":"w","shape":[${seed + 1},3],"dtype":"float32"}]}`);
      const spoiled = Uint8Array.from(bytes, (byte, i) => (i > bytes.length - 4 ? noise() * 256 : byte));
      const crc = crc32(spoiled.subarray(HEADER_BYTES));
      for (let k = 0; k < 4; k++) spoiled[5 + k] = crc >>> (8 * k);
      try {
        decodeContainer(spoiled);
      } catch (error) {
        expect((error as Error).message).toMatch(/^compressed: these bytes is damaged/);
      }
    }
  });
});

describe('artefacts that cannot be written', () => {
  it('are refused when data and specifications disagree, or the topology is binary', () => {
    const artifacts = artifactsOf([float32('w', [2], [1, 2])]);
    expect(() => encodeModelArtifacts({ ...artifacts, weightData: new ArrayBuffer(4) })).toThrow(
      /the weight specifications describe 8 bytes, but the weight data has 4/,
    );
    expect(() => encodeModelArtifacts({ modelTopology: new ArrayBuffer(4) })).toThrow(/modelTopology is an ArrayBuffer/);
  });
});

describe('encodeModelArtifacts', () => {
  it('refuses what are no artefacts', () => {
    const given = (artifacts: unknown) => () => encodeModelArtifacts(artifacts as never);
    expect(given(Promise.resolve({}))).toThrow('encodeModelArtifacts: expected model artefacts, got a Promise. Await it first.');
    expect(given({ save() {} })).toThrow('expected model artefacts, with modelTopology or weightSpecs, got Object. Save the model into an IOHandler, whose save(artifacts) gets them.');
    for (const [wrong, got] of [[{}, 'Object'], [null, 'null'], [good, 'Uint8Array'], ['model.json', "'model.json'"]] as const) expect(given(wrong)).toThrow(`with modelTopology or weightSpecs, got ${got}.`);
  });
});

describe('decodeModelArtifacts', () => {
  it('refuses what is no array of bytes, and says how to make one', () => {
    expect(decodeModelArtifacts(good)).toEqual(decodeContainer(good));
    const given = (bytes: unknown) => () => decodeModelArtifacts(bytes as Uint8Array);
    expect(given(good.slice().buffer)).toThrow('decodeModelArtifacts: expected the bytes of a .tfws file as a Uint8Array, got ArrayBuffer. Give new Uint8Array(buffer).');
    for (const [bytes, got] of [['model.tfws', "'model.tfws'"], [null, 'null'], [[84, 70], '[84, 70]']] as const) expect(given(bytes)).toThrow(`as a Uint8Array, got ${got}.`);
  });
});
