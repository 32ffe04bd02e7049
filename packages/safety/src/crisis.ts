import { contextOf, type MatchContext } from './context.js';
import type { ConversationMessage } from './conversation.js';
import { crisisLexicon } from './crisis-lexicon.js';
import { blankIdioms } from './figurative.js';
import type { CrisisCategory, CrisisPattern } from './lexicon/crisis-pattern.js';
import { normaliseSentences } from './normalise.js';

/** How serious the whole user side of a conversation reads. */
export type CrisisLevel = 'none' | 'concern' | 'high' | 'imminent';

/** One piece of evidence. It names the lexicon's entry and never carries the user's words. */
export interface CrisisSignal {
  readonly id: string;
  readonly category: CrisisCategory;
  /** The entry's weight after context and age of the turn, 0 to 1. */
  readonly weight: number;
}

/** What the crisis detector found. */
export interface CrisisFinding {
  readonly level: CrisisLevel;
  /** 0 to 1; a ranking, not a probability. */
  readonly score: number;
  /** Strongest first. */
  readonly signals: readonly CrisisSignal[];
}

/** Scores from which a level holds. */
export interface CrisisThresholds {
  readonly concern: number;
  readonly high: number;
}

/** What a match is still worth in its context. A denial is weak evidence, and several denials are not more. */
const CONTEXT_FACTOR: Readonly<Record<MatchContext, number>> = {
  stated: 1,
  denied: 0.12,
  'other-person': 0.7,
  topic: 0.15,
  'past-and-well': 0.3,
};
/** Categories in which the other person is the danger, so a third-person subject takes nothing away. */
const ABOUT_OTHERS: ReadonlySet<CrisisCategory> = new Set(['abuse', 'danger', 'harm-to-others', 'burden', 'goodbye']);
const ACUTE: ReadonlySet<CrisisCategory> = new Set([
  'ideation',
  'plan',
  'means',
  'harm-to-others',
  'abuse',
  'danger',
  'goodbye',
  'self-harm',
]);
const NOW =
  /(?<![^ ])(?:tonight|right now|now|today|this evening|this morning|about to|an hour ago|minutes ago|just (?:took|swallowed|cut)|already (?:took|taken|swallowed|cut)|in my hand|next to me|in front of me|on the table|knife ready|loaded|standing on|sitting on the|(?:took|swallowed) (?:all|an overdose|a whole|the whole|too many)|by the time you|at the door)(?![^ ])/;
const EARLIER_TURN_FACTOR = 0.92;
const EARLIER_TURN_FLOOR = 0.7;

interface TurnReading {
  readonly signals: ReadonlyMap<string, CrisisSignal>;
  readonly immediate: boolean;
}

/**
 * Looks for signs of crisis in everything the user said. The last user turn counts in full; an earlier one keeps at least 70 % of its
 * weight, so that risk stated once is not forgotten by changing the subject. A signal counts once, at its strongest, and the score is
 * `1 - product(1 - weight)` over the signals.
 */
export function detectCrisis(messages: readonly ConversationMessage[], thresholds: CrisisThresholds): CrisisFinding {
  const turns = messages.filter((message) => message.role === 'user');
  const strongest = new Map<string, CrisisSignal>();
  let immediate = false;
  turns.forEach((turn, index) => {
    const age = turns.length - 1 - index;
    const factor = age === 0 ? 1 : Math.max(EARLIER_TURN_FLOOR, EARLIER_TURN_FACTOR ** age);
    const reading = readTurn(turn.content);
    immediate ||= reading.immediate && age <= 1;
    for (const signal of reading.signals.values())
      keepStrongest(strongest, { ...signal, weight: round(signal.weight * factor) });
  });
  return findingOf([...strongest.values()], immediate, thresholds);
}

function findingOf(found: CrisisSignal[], immediate: boolean, thresholds: CrisisThresholds): CrisisFinding {
  const signals = found.sort((a, b) => b.weight - a.weight || a.id.localeCompare(b.id));
  const score = round(1 - signals.reduce((rest, signal) => rest * (1 - signal.weight), 1));
  const acute = signals.some((signal) => ACUTE.has(signal.category) && signal.weight >= 0.6);
  const level: CrisisLevel =
    score < thresholds.concern
      ? 'none'
      : score < thresholds.high
        ? 'concern'
        : immediate && acute
          ? 'imminent'
          : 'high';
  return { level, score, signals };
}

function readTurn(text: string): TurnReading {
  const signals = new Map<string, CrisisSignal>();
  let denied = 0;
  let immediate = false;
  for (const sentence of normaliseSentences(text)) {
    const blanked = blankIdioms(sentence);
    for (const pattern of crisisLexicon) {
      const best = strongestMatch(pattern, blanked);
      if (!best) continue;
      if (best.context === 'denied' && denied++ > 0) continue;
      keepStrongest(signals, { id: pattern.id, category: pattern.category, weight: round(best.weight) });
    }
    immediate ||= NOW.test(blanked);
  }
  return { signals, immediate };
}

function strongestMatch(
  pattern: CrisisPattern,
  sentence: string,
): { weight: number; context: MatchContext } | undefined {
  let best: { weight: number; context: MatchContext } | undefined;
  for (const expression of pattern.phrases) {
    for (const [start, end] of overlappingMatches(expression, sentence)) {
      const read = contextOf(sentence, start, end);
      const context = isStatedAnyway(pattern, read) ? 'stated' : read;
      const weight = pattern.weight * CONTEXT_FACTOR[context];
      if (!best || weight > best.weight) best = { weight, context };
    }
  }
  return best;
}

/** Danger from others is not less for being about them, and not wanting to be a burden denies nothing. */
function isStatedAnyway({ category }: CrisisPattern, context: MatchContext): boolean {
  return (context === 'other-person' && ABOUT_OTHERS.has(category)) || (context === 'denied' && category === 'burden');
}

/** Every place where the expression matches, also inside an earlier match: a denied one may hide a stated one. */
function* overlappingMatches(expression: RegExp, sentence: string): Generator<[start: number, end: number]> {
  expression.lastIndex = 0;
  for (let match = expression.exec(sentence); match; match = expression.exec(sentence)) {
    const { index } = match;
    yield [index, index + match[0].length];
    expression.lastIndex = index + 1;
  }
}

function keepStrongest(signals: Map<string, CrisisSignal>, signal: CrisisSignal): void {
  const known = signals.get(signal.id);
  if (!known || known.weight < signal.weight) signals.set(signal.id, signal);
}

const round = (value: number): number => Math.round(value * 1000) / 1000;
