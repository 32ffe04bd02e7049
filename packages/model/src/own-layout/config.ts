import { type ModelConfig, type PartialConfig, resolveConfig } from '../model-config.js';
import { requireObject } from '../require-object.js';

/** `model_type` of a `config.json` in this project's own layout. */
export const OWN_MODEL_TYPE = 'therapeutic_moe';

/** The `config.json` of our own layout: our config whole, under names of ours. */
export function configToOwn(config: ModelConfig, dtype: string): Readonly<Record<string, unknown>> {
  return { architectures: ['TherapeuticMoeForCausalLM'], model_type: OWN_MODEL_TYPE, dtype, config };
}

/**
 * Reads the `config.json` of our own layout.
 *
 * @param content the parsed JSON. @param file named in errors.
 * @throws when a field is unknown or impossible: a newer version may have written it.
 */
export function configFromOwn(content: unknown, file: string): ModelConfig {
  const json = requireObject(content, `${file}: the content`);
  const config = requireObject(json.config, `${file}: config`) as unknown as PartialConfig;
  try {
    return resolveConfig(config);
  } catch (cause) {
    throw new Error(`${file}: ${(cause as Error).message}`, { cause });
  }
}
