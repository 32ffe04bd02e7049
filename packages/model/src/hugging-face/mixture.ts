import type { PartialMixtureConfig } from '../mixture-config.js';
import type { ReadFamily } from './defaults.js';
import type { JsonFields } from './json-fields.js';

/** The mixture of a `config.json`; nothing where all layers are dense. */
export function mixtureFromHuggingFace(family: ReadFamily, fields: JsonFields): PartialMixtureConfig | undefined {
  if (family === 'mistral') return undefined;
  return family === 'mixtral' ? mixtralMixture(fields) : qwen2MoeMixture(fields);
}

function mixtralMixture({ json, number, refuse }: JsonFields): PartialMixtureConfig {
  if (json.router_jitter_noise !== 0)
    refuse('router_jitter_noise', '0: noise on what both router and experts see is not implemented; set it to 0');
  return {
    numExperts: number('num_local_experts'),
    numExpertsPerTok: number('num_experts_per_tok'),
    softmaxOrder: 'before-top-k',
    normTopkProb: true, // Mixtral always renormalises
  };
}

function qwen2MoeMixture(fields: JsonFields): PartialMixtureConfig | undefined {
  const { number, boolean } = fields;
  const layers = sparseLayers(fields);
  if (number('num_experts') === 0 || layers?.length === 0) return undefined;
  const width = number('moe_intermediate_size');
  return {
    numExperts: number('num_experts'),
    numExpertsPerTok: number('num_experts_per_tok'),
    softmaxOrder: 'before-top-k',
    normTopkProb: boolean('norm_topk_prob'),
    ...(layers && { layers }),
    ...(width !== number('intermediate_size') && { moeIntermediateSize: width }),
    sharedExpert: { intermediateSize: number('shared_expert_intermediate_size'), gate: true },
  };
}

/** Every `decoder_sparse_step`-th layer but those of `mlp_only_layers`; undefined: every layer. */
function sparseLayers({ json, number, refuse }: JsonFields): readonly number[] | undefined {
  const step = number('decoder_sparse_step');
  if (!(Number.isInteger(step) && step >= 1)) refuse('decoder_sparse_step', 'a whole number of 1 or more');
  const dense: unknown = json.mlp_only_layers ?? [];
  if (!Array.isArray(dense) || !dense.every((layer) => Number.isInteger(layer)))
    return refuse('mlp_only_layers', 'a list of layer numbers');
  const all = Array.from({ length: number('num_hidden_layers') }, (_, layer) => layer);
  const layers = all.filter((layer) => (layer + 1) % step === 0 && !dense.includes(layer));
  return layers.length === all.length ? undefined : layers;
}
