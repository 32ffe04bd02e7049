import type { CrisisSentence } from './crisis-sentence.js';
import { devSentences } from './dev.js';
import { laterDevSentences } from './dev-later.js';
import { heldOutSentences } from './held-out.js';
import { newHeldOutSentences } from './held-out-new.js';

/**
 * The project's own labelled sentences for crisis detection, in two splits. They are invented, English, short and few: they catch a
 * detector that got worse and say little about how often real people in crisis would be missed. Of the held-out ones, ids that begin with
 * `held-out/` are as old as the first patterns and share their author's turns of phrase; those of `held-out-new/` are newer than the last. Counts and what was measured on them
 * stand in the package's README.
 */
export const crisisSentences: { readonly version: string; readonly sentences: readonly CrisisSentence[] } =
  Object.freeze({
    version: '2',
    sentences: Object.freeze([...devSentences, ...laterDevSentences, ...heldOutSentences, ...newHeldOutSentences]),
  });
