import { refuseUnknownKeys } from '@therapeutic-moe/nn';

/** Settings of a low-rank adapter, under PEFT's names in camelCase. */
export interface LoraConfig {
  /** Rank of the update. */
  readonly r: number;
  /** The update is scaled by `loraAlpha / r`. */
  readonly loraAlpha: number;
  /** Dropout on the adapter's input while training. */
  readonly loraDropout: number;
  /**
   * The linears to adapt. A list holds names or longer ends of their paths, `['q_proj', '0.self_attn.v_proj']`; a text is
   * one regular expression for the whole path; `'all-linear'` is every linear but the head.
   */
  readonly targetModules: readonly string[] | string;
  /**
   * The stacks of expert matrices to adapt, by longer ends of their paths: `['experts.gate_up_proj']`. Every expert gets
   * factors of its own. Neither dropout nor `useDora` nor a start from the base goes with them, as in PEFT.
   */
  readonly targetParameters: readonly string[];
  /** Ranks of their own: by regular expressions for the end of a path, the first that fits. */
  readonly rankPattern: Readonly<Record<string, number>>;
  /** Alphas of their own, likewise. */
  readonly alphaPattern: Readonly<Record<string, number>>;
  /** Scale by `loraAlpha / sqrt(r)`, which keeps learning stable at high ranks (rsLoRA, arXiv:2312.03732). */
  readonly useRslora: boolean;
  /** Train a length for each column of the adapted weight too, apart from its direction (DoRA, arXiv:2402.09353). */
  readonly useDora: boolean;
  /**
   * How A and B start. `true`: A Kaiming-uniform, B zero. `'gaussian'`: A normal with deviation `1 / r`, B zero. With the
   * others they take over a part of the base: its largest singular values with `'pissa'` (arXiv:2404.02948), found by K
   * iterations with `'pissa_niter_K'`; a part of its QR decomposition with `'olora'` (arXiv:2406.01775).
   */
  readonly initLoraWeights: true | 'gaussian' | 'pissa' | `pissa_niter_${number}` | 'olora';
}

/** r 16, alpha 32 on all four attention projections. */
export const defaultLoraConfig: LoraConfig = Object.freeze({
  r: 16,
  loraAlpha: 32,
  loraDropout: 0,
  targetModules: Object.freeze(['q_proj', 'k_proj', 'v_proj', 'o_proj']),
  targetParameters: Object.freeze([]),
  rankPattern: Object.freeze({}),
  alphaPattern: Object.freeze({}),
  useRslora: false,
  useDora: false,
  initLoraWeights: true as const,
});

/**
 * Fills in defaults, also for what is undefined, checks and freezes.
 *
 * @throws Error naming field, value and way out.
 */
export function resolveLoraConfig(partial: Partial<LoraConfig> = {}): LoraConfig {
  refuseUnknownKeys('lora', partial, Object.keys(defaultLoraConfig));
  const given = Object.entries(partial).filter(([, value]) => value !== undefined);
  const config: LoraConfig = { ...defaultLoraConfig, ...Object.fromEntries(given) };
  const { targetParameters } = config;
  checkRank('r', config.r);
  checkAlpha('loraAlpha', config.loraAlpha);
  checkPattern('rankPattern', config.rankPattern, checkRank);
  checkPattern('alphaPattern', config.alphaPattern, checkAlpha);
  checkParameters(targetParameters);
  if (!(Array.isArray(config.targetModules) && config.targetModules.length === 0 && targetParameters.length > 0))
    checkTargets(config.targetModules);
  if (!(config.loraDropout >= 0 && config.loraDropout < 1))
    throw new Error(`lora: loraDropout must be in [0, 1), got ${config.loraDropout}.`);
  checkFlag('useRslora', config.useRslora);
  checkFlag('useDora', config.useDora);
  if (
    config.initLoraWeights !== true &&
    !/^(?:gaussian|pissa|pissa_niter_\d{1,3}|olora)$/.test(config.initLoraWeights)
  ) {
    throw new Error(
      `lora: initLoraWeights must be true, "gaussian", "pissa", "pissa_niter_K" with a number K of iterations, or "olora", got ${JSON.stringify(config.initLoraWeights)}.`,
    );
  }
  refuseBesideParameters(config);
  return Object.freeze({
    ...config,
    targetModules:
      typeof config.targetModules === 'string'
        ? currentName(config.targetModules)
        : Object.freeze(config.targetModules.map(currentName)),
    targetParameters: Object.freeze(targetParameters.map(currentName)),
    rankPattern: currentNames(config.rankPattern),
    alphaPattern: currentNames(config.alphaPattern),
  });
}

/** A mixture's name in Hugging Face's Mixtral files is `block_sparse_moe`; in transformers 5 and PEFT's files, `mlp`. */
function currentName(name: string): string {
  return name.replaceAll('block_sparse_moe', 'mlp');
}

function currentNames(patterns: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  return Object.freeze(
    Object.fromEntries(Object.entries(patterns).map(([pattern, value]) => [currentName(pattern), value])),
  );
}

/**
 * Compiles a regular expression for a whole path. Python's and ours agree on the common syntax; what only Python knows
 * is refused, not read as something else.
 *
 * @param field where it stands, for the message.
 */
export function wholePath(field: string, pattern: string): RegExp {
  try {
    return new RegExp(`^(?:${pattern})$`, 'u');
  } catch (cause) {
    throw new Error(`lora: ${field} '${pattern}' is not a regular expression here: ${(cause as Error).message}.`, {
      cause,
    });
  }
}

function checkRank(field: string, r: number): void {
  if (!Number.isInteger(r) || r < 1) throw new Error(`lora: ${field} must be a whole number of 1 or more, got ${r}.`);
}

function checkAlpha(field: string, alpha: number): void {
  if (!(Number.isFinite(alpha) && alpha > 0)) throw new Error(`lora: ${field} must be above 0, got ${alpha}.`);
}

function checkFlag(field: string, flag: boolean): void {
  if (typeof flag !== 'boolean') throw new Error(`lora: ${field} must be true or false, got ${JSON.stringify(flag)}.`);
}

function checkPattern(
  field: string,
  patterns: Readonly<Record<string, number>>,
  checkValue: (field: string, value: number) => void,
): void {
  if (typeof patterns !== 'object' || patterns === null || Array.isArray(patterns))
    throw new Error(`lora: ${field} must be an object of patterns, got ${JSON.stringify(patterns)}.`);
  for (const [pattern, value] of Object.entries(patterns)) {
    wholePath(field, pattern);
    checkValue(`${field}['${pattern}']`, value);
  }
}

function checkParameters(parameters: readonly string[]): void {
  if (!Array.isArray(parameters) || parameters.some((name) => typeof name !== 'string'))
    throw new Error(`lora: targetParameters must be a list of names, got ${JSON.stringify(parameters)}.`);
  const repeated = parameters.find((name, i) => parameters.indexOf(name) !== i);
  if (repeated !== undefined) throw new Error(`lora: targetParameters names '${repeated}' twice; name each once.`);
}

/** What PEFT refuses of adapters on stacks too. */
function refuseBesideParameters({ targetParameters, loraDropout, useDora, initLoraWeights }: LoraConfig): void {
  if (targetParameters.length === 0) return;
  const field = Object.entries({
    loraDropout: loraDropout !== 0,
    useDora,
    initLoraWeights: initLoraWeights !== true && initLoraWeights !== 'gaussian',
  }).find(([, isSet]) => isSet)?.[0];
  if (field === undefined) return;
  const value = { loraDropout, useDora, initLoraWeights }[field];
  throw new Error(
    `lora: targetParameters does not go with ${field} ${JSON.stringify(value)}; leave it out, or adapt linears alone by targetModules.`,
  );
}

function checkTargets(targets: readonly string[] | string): void {
  if (targets === 'all-linear') return;
  if (typeof targets === 'string') {
    wholePath('targetModules', targets);
    return;
  }
  if (!Array.isArray(targets) || targets.some((name) => typeof name !== 'string')) {
    throw new Error(
      `lora: targetModules must be a list of names or one regular expression, got ${JSON.stringify(targets)}.`,
    );
  }
  const repeated = targets.find((name, i) => targets.indexOf(name) !== i);
  if (repeated !== undefined) throw new Error(`lora: targetModules names '${repeated}' twice; name each linear once.`);
  if (targets.length === 0) {
    throw new Error("lora: targetModules is empty; name the linears to adapt, such as ['q_proj', 'v_proj'].");
  }
}
