import { type LoraConfig, resolveLoraConfig, wholePath } from './lora-config.js';

/** What the adapter of one linear is made with. */
export interface LoraLayerConfig extends Pick<LoraConfig, 'r' | 'loraDropout' | 'useDora' | 'initLoraWeights'> {
  /** The update is `scale A B`. */
  readonly scale: number;
}

/** What a model has that can be adapted. */
export interface AdaptablePaths {
  readonly linears: Iterable<string>;
  /** Stacks of expert matrices. */
  readonly stacks: Iterable<string>;
}

/** What an adapter goes on, by path, in the order of the model. */
export interface LoraPlan {
  readonly linears: ReadonlyMap<string, LoraLayerConfig>;
  readonly stacks: ReadonlyMap<string, LoraLayerConfig>;
}

/**
 * Which linears and stacks an adapter goes on, and with what rank and scale, by PEFT's rules of matching.
 *
 * @param where who asks, for the messages.
 * @param model the paths of what it has.
 * @throws when a target names nothing, or a pattern nothing that is adapted.
 */
export function planLora(where: string, model: AdaptablePaths, config: LoraConfig): LoraPlan {
  const linears = selectTargets(where, [...model.linears], config.targetModules);
  const stacks = selectNamed(where, 'targetParameters', [...model.stacks], config.targetParameters, experts);
  const rankOf = patternLookup(where, 'rankPattern', config.rankPattern, [...linears, ...stacks]);
  const alphaOf = patternLookup(where, 'alphaPattern', config.alphaPattern, [...linears, ...stacks]);
  const { loraDropout, useDora, initLoraWeights, useRslora } = config;
  const planned = (paths: readonly string[]) =>
    new Map(
      paths.map((path) => {
        const [r, alpha] = [rankOf(path) ?? config.r, alphaOf(path) ?? config.loraAlpha];
        return [path, { r, scale: alpha / (useRslora ? Math.sqrt(r) : r), loraDropout, useDora, initLoraWeights }];
      }),
    );
  return { linears: planned(linears), stacks: planned(stacks) };
}

/** Sizes of what a model has that can be adapted, by path. */
export interface AdaptableSizes {
  /** `[inputSize, outputSize]` */
  readonly linears: ReadonlyMap<string, readonly [number, number]>;
  /** `[experts, inputSize, outputSize]` */
  readonly stacks: ReadonlyMap<string, readonly [number, number, number]>;
}

/**
 * Counts the trainable parameters of an adapter, exactly, without building anything.
 *
 * @param where who asks, for the messages.
 * @throws as attaching such an adapter would.
 */
export function countLoraParameters(where: string, sizes: AdaptableSizes, config: Partial<LoraConfig>): number {
  const { linears, stacks } = sizes;
  const plan = planLora(where, { linears: linears.keys(), stacks: stacks.keys() }, resolveLoraConfig(config));
  let count = 0;
  for (const [path, { r, useDora }] of plan.linears) {
    const [inputSize, outputSize] = linears.get(path)!;
    count += r * (inputSize + outputSize) + (useDora ? outputSize : 0);
  }
  for (const [path, { r }] of plan.stacks) {
    const [experts, inputSize, outputSize] = stacks.get(path)!;
    count += experts * r * (inputSize + outputSize);
  }
  return count;
}

function selectTargets(where: string, paths: readonly string[], targets: LoraConfig['targetModules']): string[] {
  if (targets === 'all-linear') return paths.filter((path) => path !== 'lm_head');
  if (typeof targets !== 'string') return selectNamed(where, 'targetModules', paths, targets, lastName);
  const expression = wholePath('targetModules', targets);
  const matching = paths.filter((path) => expression.test(path));
  if (matching.length > 0) return matching;
  throw new Error(
    `${where}: targetModules '${targets}' fits no whole path; the model has ${namesOf(paths, lastName)}, such as ${paths[0]}.`,
  );
}

/** The paths that end in one of the names. */
function selectNamed(
  where: string,
  field: string,
  paths: readonly string[],
  targets: readonly string[],
  nameOf: (path: string) => string,
): string[] {
  const isEnd = (path: string, target: string) => path === target || path.endsWith(`.${target}`);
  for (const target of targets) {
    if (paths.some((path) => isEnd(path, target))) continue;
    const why = target === 'lm_head' ? '; a head that shares the embedding is no linear of its own' : '';
    throw new Error(`${where}: ${field} names '${target}', but the model has ${namesOf(paths, nameOf)}${why}.`);
  }
  return paths.filter((path) => targets.some((target) => isEnd(path, target)));
}

const lastName = (path: string) => path.slice(path.lastIndexOf('.') + 1);
/** `experts.gate_up_proj` */
const experts = (path: string) => path.split('.').slice(-2).join('.');

function namesOf(paths: readonly string[], nameOf: (path: string) => string): string {
  return [...new Set(paths.map(nameOf))].join(', ') || 'none';
}

/** @returns the value of the first pattern that fits the end of a path, from a dot or the start on. */
function patternLookup(
  where: string,
  field: string,
  patterns: Readonly<Record<string, number>>,
  targeted: readonly string[],
): (path: string) => number | undefined {
  const entries = Object.entries(patterns).map(([pattern, value]) => ({
    expression: wholePath(field, `(?:.*\\.)?(?:${pattern})`),
    pattern,
    value,
  }));
  for (const { expression, pattern } of entries) {
    if (!targeted.some((path) => expression.test(path)))
      throw new Error(`${where}: ${field} '${pattern}' fits nothing that targetModules and targetParameters adapt.`);
  }
  return (path) => entries.find(({ expression }) => expression.test(path))?.value;
}
