import type { ModelConfig } from '../model-config.js';
import { ropeFitsHuggingFace } from './rope.js';

/** What a mixture may set and still be a Mixtral. */
const mixtralFields = new Set(['numExperts', 'numExpertsPerTok', 'softmaxOrder', 'normTopkProb', 'domains']);

/** Whether Hugging Face's Mistral or Mixtral can say all that a config says. Mixtral always renormalises the weights. */
export function fitsHuggingFace(config: ModelConfig): boolean {
  const { attention, positions, mixture } = config;
  if (attention || positions || !ropeFitsHuggingFace(config)) return false;
  if (!mixture) return true;
  const renormalises = mixture.normTopkProb || mixture.numExpertsPerTok === 1;
  return renormalises && Object.keys(mixture).every((field) => mixtralFields.has(field));
}
