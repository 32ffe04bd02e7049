import { type LoraConfig, resolveLoraConfig, wholePath } from './lora-config.js';

/** What the adapter of one linear is made with. */
export interface LoraLayerConfig extends Pick<LoraConfig, 'r' | 'loraDropout' | 'useDora' | 'initLoraWeights'> {
  /** The update is `scale A B`. */
  readonly scale: number;
}

/**
 * Which linears an adapter goes on, and with what rank and scale, by PEFT's rules of matching.
 *
 * @param where who asks, for the messages.
 * @param paths of all linears of the model.
 * @throws when a target names no linear, or a pattern none that is adapted.
 */
export function planLora(where: string, paths: Iterable<string>, config: LoraConfig): Map<string, LoraLayerConfig> {
  const targeted = selectTargets(where, [...paths], config.targetModules);
  const rankOf = patternLookup(where, 'rankPattern', config.rankPattern, targeted);
  const alphaOf = patternLookup(where, 'alphaPattern', config.alphaPattern, targeted);
  const { loraDropout, useDora, initLoraWeights, useRslora } = config;
  return new Map(
    targeted.map((path) => {
      const [r, alpha] = [rankOf(path) ?? config.r, alphaOf(path) ?? config.loraAlpha];
      return [path, { r, scale: alpha / (useRslora ? Math.sqrt(r) : r), loraDropout, useDora, initLoraWeights }];
    }),
  );
}

/**
 * Counts the trainable parameters of an adapter, exactly, without building anything.
 *
 * @param where who asks, for the messages.
 * @param sizes `[inputSize, outputSize]` of all linears of the model by path.
 * @throws as attaching such an adapter would.
 */
export function countLoraParameters(
  where: string,
  sizes: ReadonlyMap<string, readonly [number, number]>,
  config: Partial<LoraConfig>,
): number {
  const resolved = resolveLoraConfig(config);
  let count = 0;
  for (const [path, { r, useDora }] of planLora(where, sizes.keys(), resolved)) {
    const [inputSize, outputSize] = sizes.get(path)!;
    count += r * (inputSize + outputSize) + (useDora ? outputSize : 0);
  }
  return count;
}

function selectTargets(where: string, paths: readonly string[], targets: LoraConfig['targetModules']): string[] {
  const names = () => [...new Set(paths.map((path) => path.slice(path.lastIndexOf('.') + 1)))].join(', ');
  if (typeof targets === 'string') {
    const expression = wholePath('targetModules', targets);
    const matching = paths.filter((path) => expression.test(path));
    if (matching.length > 0) return matching;
    throw new Error(
      `${where}: targetModules '${targets}' fits no whole path; the model has ${names()}, such as ${paths[0]}.`,
    );
  }
  const isEnd = (path: string, target: string) => path === target || path.endsWith(`.${target}`);
  for (const target of targets) {
    if (!paths.some((path) => isEnd(path, target)))
      throw new Error(`${where}: targetModules names '${target}', but the model has ${names()}.`);
  }
  return paths.filter((path) => targets.some((target) => isEnd(path, target)));
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
      throw new Error(`${where}: ${field} '${pattern}' fits none of the linears that targetModules adapts.`);
  }
  return (path) => entries.find(({ expression }) => expression.test(path))?.value;
}
