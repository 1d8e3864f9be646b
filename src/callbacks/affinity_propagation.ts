/**
 * Affinity propagation: clustering by messages between items, which finds the number of clusters and takes an item of each as exemplar.
 * Frey & Dueck, Science 315 (2007); options, stopping rule and final refinement as scikit-learn has them, so that partitions agree.
 */

/** `[n, n]`, row after row. */
export type SimilarityMatrix = Float32Array;

export interface AffinityPropagationArgs {
  /** How readily an item becomes an exemplar, on the scale of the similarities: higher gives more clusters. Default: their median. */
  preference?: number;
  /** Share of the old message that is kept, 0.5 … < 1. Default 0.5. */
  damping?: number;
  /** Default 200. */
  maxIterations?: number;
  /** Iterations without a change of the exemplars that count as convergence. Default 15. */
  stableIterations?: number;
  /**
   * Afterwards adds or takes away single exemplars while that raises the net similarity (Σ preferences + Σ similarities to the own
   * exemplar). Messages settle on too few or too many where clusters are pairs, whose members are exchangeable; scikit-learn leaves
   * it at that. Default false.
   */
  improve?: boolean;
}

export interface Clustering {
  /** Cluster of each item, 0 … clusters − 1. */
  labels: Int32Array;
  /** The item that stands for each cluster. */
  exemplars: Int32Array;
  converged: boolean;
  iterations: number;
}

/** Three matrices of n² floats: 768 MiB at this size. */
export const MAX_ITEMS = 8192;

/** ⟨r_i, r_j⟩ / max(‖r_i‖², ‖r_j‖²) of the rows of `[rows, width]`: 1 for equal rows, less where lengths or directions differ. */
export function rowSimilarity(matrix: ArrayLike<number>, rows: number): SimilarityMatrix {
  const width = matrix.length / rows;
  const data = Float32Array.from(matrix);
  const similarity = new Float32Array(rows * rows);
  const squares = new Float64Array(rows);
  const dot = (i: number, j: number): number => {
    let [a, b] = [i * width, j * width];
    let [even, odd] = [0, 0];
    const end = a + width - 1;
    for (; a < end; a += 2, b += 2) {
      even += data[a] * data[b];
      odd += data[a + 1] * data[b + 1];
    }
    return even + odd + (a === end ? data[a] * data[b] : 0);
  };
  for (let i = 0; i < rows; i++) squares[i] = dot(i, i);
  for (let i = 0; i < rows; i++) {
    similarity[i * rows + i] = 1;
    for (let j = 0; j < i; j++) {
      const larger = Math.max(squares[i], squares[j]);
      similarity[i * rows + j] = similarity[j * rows + i] = larger === 0 ? 1 : dot(i, j) / larger;
    }
  }
  return similarity;
}

/**
 * Clusters n items by their similarities. Deterministic. Memory 12 n² bytes, time O(n²) an iteration.
 *
 * Does not converge where messages oscillate (higher `damping` helps); then the state of the last iteration is what counts, as in
 * scikit-learn, and without an exemplar in it every item is a cluster of its own.
 */
export function affinityPropagation(similarity: SimilarityMatrix, items: number, args: AffinityPropagationArgs = {}): Clustering {
  const n = items;
  if (n > MAX_ITEMS) throw new Error(`affinityPropagation: at most ${MAX_ITEMS} items, got ${n}. Cluster them another way.`);
  const { preference = median(similarity, n), damping = 0.5, maxIterations = 200, stableIterations = 15, improve = false } = args;
  const S = similarity.slice();
  for (let i = 0; i < n; i++) S[i * n + i] = preference;
  const trivial = degenerate(S, n, preference);
  if (trivial !== null) return trivial;
  breakTies(S);

  const messages = new Messages(S, n, damping);
  let unchanged = 0;
  let iterations = 0;
  let exemplars: Int32Array = new Int32Array();
  let converged = false;
  while (iterations < maxIterations && !converged) {
    messages.iterate();
    iterations++;
    const next = messages.exemplars();
    unchanged = iterations > 1 && same(exemplars, next) ? unchanged + 1 : 1;
    exemplars = next;
    // As scikit-learn counts: the window of stableIterations must be full before it is looked at.
    converged = iterations > stableIterations && unchanged >= stableIterations && exemplars.length > 0;
  }
  if (improve) exemplars = improved(S, n, exemplars);
  return { ...partition(S, n, exemplars), converged, iterations };
}

/** Responsibilities R and availabilities A, each matrix read and written once an iteration. */
class Messages {
  readonly #A: Float32Array;
  readonly #R: Float32Array;
  /** Σ_i≠k max(0, R[i, k]), and R[k, k]. */
  #positive: Float64Array;
  readonly #own: Float64Array;
  readonly #ownAvailability: Float64Array;

  constructor(
    readonly S: Float32Array,
    readonly n: number,
    readonly damping: number,
  ) {
    this.#A = new Float32Array(n * n);
    this.#R = new Float32Array(n * n);
    this.#positive = new Float64Array(n);
    this.#own = new Float64Array(n);
    this.#ownAvailability = new Float64Array(n);
  }

  iterate(): void {
    const { S, n, damping } = this;
    const [A, R, own, sums] = [this.#A, this.#R, this.#own, this.#positive];
    const fresh = 1 - damping;
    const positive = new Float64Array(n);
    // R of the last iteration gives A; both are brought up to date row by row, while the row is in the cache.
    for (let i = 0; i < n; i++) {
      const row = i * n;
      let [first, second, at] = [-Infinity, -Infinity, 0];
      for (let k = 0; k < n; k++) {
        const r = R[row + k];
        let a = own[k] + sums[k] - (r > 0 ? r : 0);
        if (k === i) a = sums[k];
        else if (a > 0) a = 0;
        A[row + k] = damping * A[row + k] + fresh * a;
        const value = A[row + k] + S[row + k];
        if (value > first) {
          second = first;
          first = value;
          at = k;
        } else if (value > second) second = value;
      }
      for (let k = 0; k < n; k++) {
        const r = damping * R[row + k] + fresh * (S[row + k] - (k === at ? second : first));
        R[row + k] = r;
        if (r > 0) positive[k] += r;
      }
      if (R[row + i] > 0) positive[i] -= R[row + i];
    }
    for (let k = 0; k < n; k++) own[k] = R[k * n + k];
    this.#positive = positive;
    for (let k = 0; k < n; k++) this.#ownAvailability[k] = damping * A[k * n + k] + fresh * positive[k];
  }

  /** Items whose responsibility and availability for themselves sum to more than 0. */
  exemplars(): Int32Array {
    return Int32Array.from(this.#own.keys()).filter((k) => this.#own[k] + this.#ownAvailability[k] > 0);
  }
}

/** Exemplars that no single addition or removal betters; each move is the best of its kind. Ends, as every move raises a bounded sum. */
function improved(S: Float32Array, n: number, found: Int32Array): Int32Array {
  const chosen = new Set(found);
  const least = 1e-6;
  for (let moves = 0; moves < 2 * n; moves++) {
    // The two most similar exemplars of each item that is none.
    const [first, second, owner] = [new Float64Array(n).fill(-Infinity), new Float64Array(n).fill(-Infinity), new Int32Array(n).fill(-1)];
    for (const k of chosen) {
      for (let i = 0; i < n; i++) {
        const value = S[i * n + k];
        if (i === k) continue;
        if (value > first[i]) [second[i], first[i], owner[i]] = [first[i], value, k];
        else if (value > second[i]) second[i] = value;
      }
    }
    const gains = new Float64Array(n);
    for (let k = 0; k < n; k++) gains[k] = chosen.has(k) ? first[k] - S[k * n + k] : S[k * n + k] - first[k];
    for (let j = 0; j < n; j++) {
      if (chosen.has(j)) continue;
      if (owner[j] >= 0) gains[owner[j]] += second[j] - first[j];
      for (let i = 0; i < n; i++) if (i !== j && S[j * n + i] > first[j] && !chosen.has(i)) gains[i] += S[j * n + i] - first[j];
    }
    let best = 0;
    for (let k = 1; k < n; k++) if (gains[k] > gains[best]) best = k;
    if (!(gains[best] > least)) break;
    if (!chosen.delete(best)) chosen.add(best);
  }
  return Int32Array.from(chosen).sort();
}

/** Each item to the most similar exemplar; then the member most similar to its whole cluster becomes the exemplar, and again. */
function partition(S: Float32Array, n: number, found: Int32Array): { labels: Int32Array; exemplars: Int32Array } {
  if (found.length === 0) return everyItsOwn(n);
  const assign = (exemplars: Int32Array): Int32Array => {
    const labels = Int32Array.from({ length: n }, (_, i) => {
      let best = 0;
      for (let c = 1; c < exemplars.length; c++) if (S[i * n + exemplars[c]] > S[i * n + exemplars[best]]) best = c;
      return best;
    });
    exemplars.forEach((item, c) => (labels[item] = c));
    return labels;
  };
  const labels = assign(found);
  const exemplars = found.map((exemplar, c) => {
    const members: number[] = [];
    labels.forEach((label, i) => label === c && members.push(i));
    const sum = (j: number) => members.reduce((total, i) => total + S[i * n + j], 0);
    return members.reduce((best, j) => (sum(j) > sum(best) ? j : best), members[0] ?? exemplar);
  });
  return { labels: assign(exemplars), exemplars };
}

const everyItsOwn = (n: number) => ({ labels: Int32Array.from({ length: n }, (_, i) => i), exemplars: Int32Array.from({ length: n }, (_, i) => i) });

/** The cases without an answer by messages: one item, or all similarities equal. */
function degenerate(S: Float32Array, n: number, preference: number): Clustering | null {
  const done = { converged: true, iterations: 0 };
  if (n <= 1) return { ...everyItsOwn(n), ...done };
  const value = S[1];
  for (let i = 0; i < n * n; i++) if (S[i] !== value && i % (n + 1) !== 0) return null;
  if (preference > value) return { ...everyItsOwn(n), ...done };
  return { labels: new Int32Array(n), exemplars: Int32Array.of(0), ...done };
}

/** Noise of the last bits, always the same: items that are exchangeable would oscillate together. */
function breakTies(S: Float32Array): void {
  let state = 1;
  for (let i = 0; i < S.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    S[i] += (Math.abs(S[i]) * 2 ** -22 + 1e-30) * (state / 2 ** 31 - 1);
  }
}

function median(similarity: SimilarityMatrix, n: number): number {
  const others = similarity.filter((_, i) => i % (n + 1) !== 0).sort();
  const middle = others.length >> 1;
  return others.length === 0 ? 0 : others.length % 2 === 1 ? others[middle] : (others[middle - 1] + others[middle]) / 2;
}

const same = (a: Int32Array, b: Int32Array): boolean => a.length === b.length && a.every((value, i) => value === b[i]);
