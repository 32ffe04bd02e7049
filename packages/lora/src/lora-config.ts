import { refuseUnknownKeys } from '@therapeutic-moe/nn';

/** Settings of a low-rank adapter, under PEFT's names in camelCase. */
export interface LoraConfig {
  /** Rank of the update. */
  readonly r: number;
  /** The update is scaled by `loraAlpha / r`. */
  readonly loraAlpha: number;
  /** Dropout on the adapter's input while training. */
  readonly loraDropout: number;
  /** Names of the linears to adapt, as the last part of their path: `['q_proj', 'v_proj']`. */
  readonly targetModules: readonly string[];
}

/** r 16, alpha 32 on all four attention projections. */
export const defaultLoraConfig: LoraConfig = Object.freeze({
  r: 16,
  loraAlpha: 32,
  loraDropout: 0,
  targetModules: Object.freeze(['q_proj', 'k_proj', 'v_proj', 'o_proj']),
});

/** Fills in defaults, checks and freezes. @throws Error naming field, value and way out. */
export function resolveLoraConfig(partial: Partial<LoraConfig> = {}): LoraConfig {
  refuseUnknownKeys('lora', partial, Object.keys(defaultLoraConfig));
  const config = { ...defaultLoraConfig, ...partial };
  if (!Number.isInteger(config.r) || config.r < 1)
    throw new Error(`lora: r must be a whole number of 1 or more, got ${config.r}.`);
  if (!(Number.isFinite(config.loraAlpha) && config.loraAlpha > 0))
    throw new Error(`lora: loraAlpha must be above 0, got ${config.loraAlpha}.`);
  if (!(config.loraDropout >= 0 && config.loraDropout < 1)) {
    throw new Error(`lora: loraDropout must be in [0, 1), got ${config.loraDropout}.`);
  }
  const repeated = config.targetModules.find((name, i) => config.targetModules.indexOf(name) !== i);
  if (repeated !== undefined) throw new Error(`lora: targetModules names '${repeated}' twice; name each linear once.`);
  if (config.targetModules.length === 0) {
    throw new Error("lora: targetModules is empty; name the linears to adapt, such as ['q_proj', 'v_proj'].");
  }
  return Object.freeze({ ...config, targetModules: Object.freeze([...config.targetModules]) });
}
