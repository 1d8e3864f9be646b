/** Whether weights can belong to a topology, as far as names and the commonest layers tell without building the model. */
import type { io } from '@tensorflow/tfjs-core';

type Node = Record<string, unknown>;

/** Models in models in …, by levels of JSON. The host recurses through them. */
const MAX_DEPTH = 500;

/** The layers, inner ones included, under the names that weights carry as prefixes. */
function collectNodes(value: unknown, names: Set<string>, layers: Array<{ type: string; config: Node }>, depth = 0): void {
  if (typeof value !== 'object' || value === null) return;
  if (depth > MAX_DEPTH) throw new Error(`compressed: the topology is nested more than ${MAX_DEPTH} levels deep, as that of no model: it is damaged or means harm.`);
  if (Array.isArray(value)) {
    for (const item of value) collectNodes(item, names, layers, depth + 1);
    return;
  }
  const node = value as Node;
  if (typeof node['name'] === 'string') names.add(node['name']);
  if (typeof node['class_name'] === 'string' && typeof node['config'] === 'object' && node['config'] !== null) {
    layers.push({ type: node['class_name'], config: node['config'] as Node });
  }
  for (const key in node) collectNodes(node[key], names, layers, depth + 1);
}

/** What a layer's name could be in that of a weight: names may hold slashes, too. */
function runs(name: string): string[] {
  const parts = name.split('/');
  if (parts.length > MOST_PARTS) return parts;
  return parts.flatMap((_, from) => parts.slice(from).map((__, length) => parts.slice(from, from + length + 1).join('/')));
}

/** More than any name has that was given to be read. */
const MOST_PARTS = 40;

const ANY = Symbol('of any size');

/** Throws if the model weights of `artifacts` cannot be those of its topology. `source` names the file. */
export function checkTopology({ modelTopology, modelInitializer, weightSpecs = [] }: io.ModelArtifacts, source: string): void {
  const names = new Set<string>();
  const layers: Array<{ type: string; config: Node }> = [];
  collectNodes([modelTopology, modelInitializer], names, layers);
  const fail = (why: string): never => {
    throw new Error(`compressed: ${source}: the topology does not match the weights: ${why}. Save the model again with model.save().`);
  };
  const weights = weightSpecs.filter(({ group }) => group !== 'optimizer');
  const seen = new Set<string>();
  for (const { name } of weights) {
    if (seen.has(name)) fail(`two weights are named '${name}'`);
    seen.add(name);
  }
  const isGraph = Array.isArray((modelTopology as Node | null)?.['node']);
  if (!isGraph && layers.length === 0 && weights.length > 0) fail('it has no layer');
  for (const { name } of weights) {
    // A graph's weights are nodes.
    if (name.includes('/') && !names.has(name) && !runs(name).some((part) => names.has(part))) fail(`no layer owns the weight '${name}'`);
  }
  const sizes = new Map<string, unknown[]>();
  for (const { type, config } of layers) {
    const size = /^(Dense|Conv[123]D)$/.test(type) ? (config['units'] ?? config['filters']) : ANY;
    const name = config['name'] as string;
    const same = sizes.get(name);
    if (same === undefined) sizes.set(name, [size]);
    else same.push(size);
  }
  for (const { name, shape } of weights) {
    if (!name.endsWith('/kernel')) continue;
    const layer = name.slice(0, -'/kernel'.length);
    const own = sizes.get(layer) ?? [ANY];
    // A layer inside of another one may be called the same.
    if (!own.includes(ANY) && !own.includes(shape[shape.length - 1])) fail(`layer '${layer}' has ${own.join(' or ')} outputs, but its kernel has the shape [${shape.join(', ')}]`);
  }
}

/** Names of the weights, of those in `weightSpecs`, that a layer of the topology holds under a constraint. */
export function constrainedWeights({ modelTopology, weightSpecs = [] }: io.ModelArtifacts): string[] {
  const layers: Array<{ type: string; config: Node }> = [];
  collectNodes(modelTopology, new Set(), layers);
  // `kernel_constraint` is of `dense/kernel`, `recurrent_constraint` of `lstm/recurrent_kernel`.
  const constraints = layers.flatMap(({ config }) =>
    Object.keys(config).flatMap((key) =>
      key.endsWith('_constraint') && config[key] !== null ? [{ layer: config['name'], weight: key.slice(0, -'_constraint'.length) }] : [],
    ),
  );
  return weightSpecs.filter(({ name, group }) => {
    const end = name.lastIndexOf('/');
    const [path, own] = [`/${name.slice(0, end)}/`, name.slice(end + 1)];
    return group !== 'optimizer' && end >= 0 && constraints.some(({ layer, weight }) => path.includes(`/${layer as string}/`) && own.startsWith(weight));
  }).map(({ name }) => name); // prettier-ignore
}
