import type { ModelConfig } from '../model-config.js';

/** What a mixture may set and still be a Mixtral. */
const mixtralFields = new Set(['numExperts', 'numExpertsPerTok', 'softmaxOrder', 'normTopkProb', 'domains']);

/** Whether Hugging Face's Mistral or Mixtral can say all that a config says. Mixtral always renormalises the weights. */
export function fitsHuggingFace({ mixture, ropeScaling }: ModelConfig): boolean {
  if (ropeScaling.type !== 'none' && ropeScaling.type !== 'linear') return false;
  if (!mixture) return true;
  const renormalises = mixture.normTopkProb || mixture.numExpertsPerTok === 1;
  return renormalises && Object.keys(mixture).every((field) => mixtralFields.has(field));
}
