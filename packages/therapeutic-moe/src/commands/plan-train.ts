import { countParameters, type ModelConfig, maxPositions, presets, readModelConfig } from '@therapeutic-moe/model';
import type { Tokenizer } from '@therapeutic-moe/tokenizer';
import type { TrainConfig } from '@therapeutic-moe/trainer';

/**
 * The config of the model that a run trains, checked against the rest of the run's config. Reads `config.json` at most:
 * no backend, no weights, no data.
 *
 * @throws when preset, overrides, adapter, tokenizer, row length and domains do not fit each other.
 */
export async function planTrain(config: TrainConfig, tokenizer: Tokenizer): Promise<ModelConfig> {
  const { model, lora, data, auxiliary } = config;
  const planned = model.from === undefined ? fromPreset(model, tokenizer) : await readModelConfig(model.from);
  const { vocabSize } = planned;
  if (vocabSize < tokenizer.vocabSize) {
    throw new Error(
      `config: the tokenizer has ${tokenizer.vocabSize} entries, the model's vocabSize is ${vocabSize}; use the tokenizer the model was made for, or a larger vocabSize.`,
    );
  }
  const positions = maxPositions(planned);
  if (data.sequenceLength > positions) {
    throw new Error(
      `config: data.sequenceLength is ${data.sequenceLength}, the model serves ${positions} positions; shorten the rows, raise maxPositionEmbeddings or stretch ropeScaling.`,
    );
  }
  checkAdapter(planned, lora);
  if (auxiliary.domainSupervision > 0) checkDomains(planned, data.domains);
  if (auxiliary.biasUpdateRate !== undefined && (lora || !planned.mixture?.balanceBias)) {
    throw new Error(
      `config: auxiliary.biasUpdateRate is ${auxiliary.biasUpdateRate}, but ${lora ? 'an adapter leaves the router as it is' : "the model's mixture has no balanceBias"}; leave it out, or set balanceBias in model.overrides.mixture.`,
    );
  }
  return planned;
}

function fromPreset({ preset = '', overrides = {} }: TrainConfig['model'], tokenizer: Tokenizer): ModelConfig {
  const make = Object.hasOwn(presets, preset) ? presets[preset as keyof typeof presets] : undefined;
  if (!make)
    throw new Error(`config: model.preset must be one of ${Object.keys(presets).join(', ')}, got "${preset}".`);
  const { eosTokenId, bosTokenId = eosTokenId } = tokenizer;
  return make({ vocabSize: tokenizer.vocabSize, eosTokenId, bosTokenId, ...overrides });
}

function checkAdapter(model: ModelConfig, lora: TrainConfig['lora']): void {
  if (!lora) return;
  try {
    countParameters(model, lora);
  } catch (cause) {
    throw new Error(`config: lora does not fit the model: ${(cause as Error).message}`, { cause });
  }
}

/** Domain supervision teaches expert i the rows of domain i, so both must be listed in one order. */
function checkDomains({ mixture }: ModelConfig, domains: readonly string[]): void {
  const supervised = 'config: auxiliary.domainSupervision is above 0, but';
  if (!mixture) throw new Error(`${supervised} the model is dense and has no router to teach; set it to 0.`);
  const { domains: experts, numExperts } = mixture;
  const listed = domains.join(', ');
  if (experts && experts.join('\n') !== domains.join('\n')) {
    throw new Error(
      `${supervised} data.domains is ${listed} and the model's mixture.domains is ${experts.join(', ')}; name the same domains in the same order, or set it to 0.`,
    );
  }
  if (domains.length !== numExperts) {
    throw new Error(
      `${supervised} data.domains names ${domains.length} domains (${listed}) for ${numExperts} experts; name one per expert, or set it to 0.`,
    );
  }
}
