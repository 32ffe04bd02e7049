import { refuseUnknownKeys } from '@therapeutic-moe/nn';
import { type ModelConfig, resolveConfig } from '../model-config.js';
import { requireObject } from '../require-object.js';
import { maxPositions } from '../rotary-positions.js';
import { familyDefaults, type ReadFamily } from './defaults.js';
import { fieldsOf, type Json, type JsonFields } from './json-fields.js';
import { mixtureFromHuggingFace } from './mixture.js';
import { OWN_SECTION } from './own-section.js';
import { quantizationFromHuggingFace } from './quantization.js';
import { ropeFromHuggingFace } from './rope.js';
import { windowFromHuggingFace } from './window.js';

/** What none of the families has in transformers; a file that asks for it comes from another code. */
const foreign = ['attention_bias', 'mlp_bias'] as const;

/**
 * Translates a `config.json` of `mistral`, `mixtral` or `qwen2_moe`. What a file leaves out is what transformers 5.18 takes
 * then (`familyDefaults`); key-value heads that are null are as many as the heads.
 *
 * @param content the parsed JSON.
 * @param file named in errors.
 * @throws when a value is of the wrong kind, or asks for something that is not implemented.
 */
export function configFromHuggingFace(content: unknown, file = 'config.json'): ModelConfig {
  const json = requireObject(content, `${file}: the content`);
  const partial = translate(json, file);
  try {
    return resolveConfig(partial);
  } catch (cause) {
    throw new Error(`${file}: ${(cause as Error).message}`, { cause });
  }
}

function translate(given: Json, file: string): Parameters<typeof resolveConfig>[0] {
  const family = familyOf(given, file);
  const present = Object.entries(given).filter(([, value]) => value !== undefined);
  const fields = fieldsOf({ ...familyDefaults[family], ...Object.fromEntries(present) }, file);
  const { json, number, boolean } = fields;
  refuseUnimplemented(family, fields);
  const [hiddenSize, heads] = [number('hidden_size'), number('num_attention_heads')];
  const maxPositionEmbeddings = number('max_position_embeddings');
  const rope = ropeFromHuggingFace(json, familyDefaults[family].rope_theta, file);
  const positions = maxPositions({ maxPositionEmbeddings, ropeScaling: rope.ropeScaling });
  const mixture = mixtureFromHuggingFace(family, fields);
  const domains = domainsOf(fields, mixture);
  return {
    vocabSize: number('vocab_size'),
    hiddenSize,
    intermediateSize: number('intermediate_size'),
    numHiddenLayers: number('num_hidden_layers'),
    numAttentionHeads: heads,
    numKeyValueHeads: json.num_key_value_heads === null ? heads : number('num_key_value_heads'),
    headDim: (json.head_dim ?? null) === null ? Math.floor(hiddenSize / heads) : number('head_dim'),
    maxPositionEmbeddings,
    slidingWindow: windowFromHuggingFace(fields, positions),
    rmsNormEps: number('rms_norm_eps'),
    ...rope,
    ...(family === 'qwen2_moe' && boolean('qkv_bias') && { qkvBias: true }),
    tieWordEmbeddings: boolean('tie_word_embeddings'),
    initializerRange: number('initializer_range'),
    bosTokenId: tokenId(fields, 'bos_token_id'),
    eosTokenId: tokenIds(fields, 'eos_token_id'),
    mixture: mixture && { ...mixture, ...(domains !== undefined && { domains }) },
  };
}

function familyOf(json: Json, file: string): ReadFamily {
  const type = json.model_type;
  if (typeof type === 'string' && Object.hasOwn(familyDefaults, type)) return type as ReadFamily;
  const known = "'mistral', 'mixtral' or 'qwen2_moe'; other families are not implemented";
  return fieldsOf(json, file).refuse('model_type', known);
}

function refuseUnimplemented(family: ReadFamily, { json, file, refuse }: JsonFields): void {
  if (json.hidden_act !== 'silu') refuse('hidden_act', "'silu'; other activations are not implemented");
  quantizationFromHuggingFace(json, file); // refuses what is not read; a model is the same however it was stored
  if (json.attention_dropout !== 0)
    refuse(
      'attention_dropout',
      '0; dropout of attention weights is not implemented. Set it to 0, it acts in training only',
    );
  const unknown = family === 'qwen2_moe' ? foreign : ([...foreign, 'qkv_bias'] as const);
  for (const field of unknown)
    if (json[field]) refuse(field, `false; ${family} has no such biases in transformers. Is model_type right?`);
}

function domainsOf({ json, file }: JsonFields, mixture: object | undefined): string[] | undefined {
  const own = requireObject(json[OWN_SECTION] ?? {}, `${file}: ${OWN_SECTION}`) as { domains?: string[] | null };
  refuseUnknownKeys(`${file}: ${OWN_SECTION}`, own, ['domains']);
  if (own.domains && !mixture)
    throw new Error(`${file}: ${OWN_SECTION}.domains names experts, but the model has none; take it out.`);
  return own.domains ?? undefined;
}

function tokenId({ json, number }: JsonFields, field: string): number | undefined {
  return (json[field] ?? null) === null ? undefined : number(field);
}

/** One id or a list of them; an empty list names none. */
function tokenIds(fields: JsonFields, field: string): number | readonly number[] | undefined {
  const ids = fields.json[field];
  if (!Array.isArray(ids)) return tokenId(fields, field);
  if (!ids.every((id) => typeof id === 'number')) return fields.refuse(field, 'a number or a list of numbers');
  return ids.length > 0 ? ids : undefined;
}
