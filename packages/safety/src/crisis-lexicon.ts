import type { CrisisPattern } from './lexicon/crisis-pattern.js';
import { despair } from './lexicon/despair.js';
import { ideation } from './lexicon/ideation.js';
import { means } from './lexicon/means.js';
import { others } from './lexicon/others.js';
import { planAndGoodbye } from './lexicon/plan-and-goodbye.js';
import { selfHarm } from './lexicon/self-harm.js';

/**
 * The crisis lexicon, written for normalised text (see `normaliseSentences`). Weights are our judgement, set on the dev split of our own
 * sentences; they are not calibrated probabilities.
 */
export const crisisLexicon: readonly CrisisPattern[] = [
  ...ideation,
  ...planAndGoodbye,
  ...means,
  ...selfHarm,
  ...despair,
  ...others,
];
