import type { CrisisSentence } from './crisis-sentence.js';
import { devSentences } from './dev.js';
import { heldOutSentences } from './held-out.js';

/**
 * The project's own labelled sentences for crisis detection, in two splits. They are invented, English, short and few: they catch a
 * detector that got worse and say little about how often real people in crisis would be missed. Counts and what was measured on them
 * stand in the package's README.
 */
export const crisisSentences: { readonly version: string; readonly sentences: readonly CrisisSentence[] } =
  Object.freeze({
    version: '1',
    sentences: Object.freeze([...devSentences, ...heldOutSentences]),
  });
