/** Convolutions that are alike and were not made one, and why (pure). */
import type { TemplateConv2D } from '../layers/template_conv2d.js';

/** Two convolutions that passed the threshold and did not become one, in the order of the model. */
export interface KeptLayers {
  layers: [string, string];
  why: string;
}

export interface KeptQuestions {
  /** Which block a convolution is in, and at which place there; null where it is in none. */
  placeOf: (conv: TemplateConv2D) => { block: number; unit: number } | null;
  alike: (a: TemplateConv2D, b: TemplateConv2D) => boolean;
  /** Two convolutions at one place of two blocks that are not alike. */
  unlike: (i: number, j: number) => [string, string] | null;
  /** What keeps block j from being the recursion after block i, similarity aside. */
  whyApart: (i: number, j: number) => string | null;
  /** Whether two blocks became recursions of one layer. */
  together: (i: number, j: number) => boolean;
  /** Why a run that both are in was left; null where they are in none. */
  whyLeft: (i: number, j: number) => string | null;
}

export function keptLayers(convolutions: readonly TemplateConv2D[], questions: KeptQuestions): KeptLayers[] {
  return convolutions.flatMap((a, p) =>
    convolutions.slice(p + 1).flatMap((b): KeptLayers[] => {
      const why = questions.alike(a, b) ? whyKept(a, b, questions) : null;
      return why === null ? [] : [{ layers: [a.name, b.name], why }];
    }),
  );
}

/** Null where they became one. */
function whyKept(a: TemplateConv2D, b: TemplateConv2D, { placeOf, unlike, whyApart, together, whyLeft }: KeptQuestions): string | null {
  const [first, second] = [placeOf(a), placeOf(b)];
  if (first === null || second === null) return `'${(first === null ? a : b).name}' is called more than once, or stands inside of another model or layer`;
  const [i, j] = [first.block, second.block];
  if (i === j) return 'they are two convolutions of one residual block';
  if (first.unit !== second.unit) return 'they stand at different places of their residual blocks';
  if (together(i, j)) return null;
  const others = unlike(i, j);
  if (others !== null) return `'${others[0]}' and '${others[1]}', in the same residual blocks, are not alike`;
  return whyLeft(i, j) ?? whyApart(i, j) ?? 'others of the run are less alike';
}
