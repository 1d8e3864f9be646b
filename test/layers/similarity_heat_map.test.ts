import { describe, expect, it } from 'vitest';
import { similarityHeatMap } from '../../src/layers/similarity_heat_map.js';

const similarity = (matrix: number[][], layers = matrix.map((_, i) => `conv${i}`), bank: string | null = 'templates') => ({ bank, layers, coefficients: [], matrix });

/** What is drawn: colours of cells in reading order, and all text. */
function drawn(svg: string) {
  return {
    colours: [...svg.matchAll(/<rect [^>]*fill="([^"]+)"/g)].map(([, fill]) => fill),
    texts: [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map(([, text]) => text),
    titles: [...svg.matchAll(/<title>([^<]*)<\/title>/g)].map(([, text]) => text),
  };
}

describe('similarityHeatMap', () => {
  it('draws a cell for each pair, from white to dark, with its number and the names of its layers', () => {
    const { colours, texts, titles } = drawn(similarityHeatMap(similarity([[1, 0, 0.5], [0, 1, 0.25], [0.5, 0.25, 1]])));
    expect(colours).toEqual(['rgb(12,52,104)', 'rgb(255,255,255)', 'rgb(134,154,180)', 'rgb(255,255,255)', 'rgb(12,52,104)', 'rgb(194,204,217)', 'rgb(134,154,180)', 'rgb(194,204,217)', 'rgb(12,52,104)']);
    expect(texts).toEqual(["Similarity of layers on 'templates'", 'conv0', 'conv0', 'conv1', 'conv1', 'conv2', 'conv2', '1.00', '0.00', '0.50', '0.00', '1.00', '0.25', '0.50', '0.25', '1.00']);
    expect(titles[5]).toBe('conv1, conv2: 0.2500');
  });

  it('lies inside of its size, names being as long as they are', () => {
    const svg = similarityHeatMap(similarity([[1, 1], [1, 1]], ['a', 'a_name_that_is_much_longer_than_any_that_a_person_would_give'], null));
    const [, width, height] = /viewBox="0 0 (\d+) (\d+)"/.exec(svg)!.map(Number);
    for (const [, x, y] of svg.matchAll(/<rect x="(\d+)" y="(\d+)"/g)) {
      expect(Number(x) + 30).toBeLessThanOrEqual(width);
      expect(Number(y) + 30).toBeLessThanOrEqual(height);
    }
    expect(drawn(svg).texts[0]).toBe('Similarity of layers on one bank');
    expect(drawn(svg).texts[3]).toMatch(/^….{39}$/);
  });

  it('leaves the numbers out where there are many layers, and nobody’s name is markup', () => {
    const many = Array.from({ length: 17 }, (_, i) => Array.from({ length: 17 }, (_, j) => (i === j ? 1 : 0)));
    expect(drawn(similarityHeatMap(similarity(many))).texts.length).toBe(1 + 2 * 17);
    const svg = similarityHeatMap(similarity([[1]], ['<script>&"'], 'a<b'));
    expect(svg).not.toContain('<script>');
    expect(drawn(svg).texts.slice(0, 2)).toEqual(["Similarity of layers on 'a&lt;b'", '&lt;script&gt;&amp;&quot;']);
  });

  it('draws what was not measured in grey, under any title: divergences of attention', () => {
    const divergence = [[0, Math.LN2 + 1e-7, -1], [Math.LN2 + 1e-7, 0, -1], [-1, -1, 0]];
    const layers = ['layer 0', 'layer 1', 'layer 2'];
    const matrix = divergence.map((row) => row.map((nats) => (nats < 0 ? -1 : 1 - nats / Math.LN2)));
    const { colours, texts, titles } = drawn(similarityHeatMap({ layers, matrix }, { title: 'Attention & memory' }));
    expect(colours.slice(0, 3)).toEqual(['rgb(12,52,104)', 'rgb(255,255,255)', '#bbb']);
    expect([texts[0], ...texts.slice(7, 10)]).toEqual(['Attention &amp; memory', '1.00', '0.00', '–']);
    expect(titles.slice(1, 3)).toEqual(['layer 0, layer 1: 0.0000', 'layer 0, layer 2: not measured']);
    expect(drawn(similarityHeatMap({ layers, matrix: divergence })).texts[0]).toBe('Similarity of layers');
  });

  it('says what is wrong', () => {
    expect(() => similarityHeatMap([] as never)).toThrow('similarityHeatMap: expected {layers, matrix}, names and numbers, as layerSimilarity returns them, got [].');
    expect(() => similarityHeatMap(similarity([[1, 0], [0, 1]], ['a']))).toThrow('similarityHeatMap: the matrix must have a row and a column for each of the 1 layers, got rows of 2, 2.');
    expect(() => similarityHeatMap(similarity([[1, NaN], [0, 1]]))).toThrow('similarityHeatMap: similarities must be in [0, 1], or −1 where there is none, got NaN.');
    expect(() => similarityHeatMap(similarity([[1, -0.5], [0, 1]]))).toThrow('or −1 where there is none, got -0.5.');
    expect(() => similarityHeatMap(similarity([[1]]), { tittle: 'a' } as never)).toThrow("similarityHeatMap: unknown option 'tittle'. Did you mean 'title'?");
    expect(() => similarityHeatMap(similarity([[1]]), { title: 3 } as never)).toThrow('similarityHeatMap: title must be text, got 3.');
  });
});
