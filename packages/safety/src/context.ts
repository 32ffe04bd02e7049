/** How the words around a match change what it says. */
export type MatchContext = 'stated' | 'denied' | 'other-person' | 'topic' | 'past-and-well';

const NEGATORS = new Set(['not', 'never', 'without', 'nor', 'neither', 'hardly', 'no']);
// After these, a negator does not deny: "can not stop thinking about", "not sure if", "no reason not to".
const KEEPS_MEANING =
  /(?<![^ ])(?:not (?:think(?! (?:about|of))|believe(?! in)|feel like|stop|help|resist|promise|sure|only|just|know|shake|escape|tell|told|afraid|scared|hide|trust|say|told|control|sleep|keep|decide|deny|lie|lying|joking|kidding|the first)|no (?:one|longer know|reason|doubt|idea|choice|other)|no way (?:out|but)|why not|if not|or not)(?![^ ])/;
const UNSURE =
  /(?<![^ ])(?:(?:not|never|am not) (?:sure|certain|confident|trust)|can not (?:promise|guarantee|say)|do not (?:know|trust)|hard to promise)(?![^ ])/;
const MEDIA =
  /(?<![^ ])(?:novel|book|film|movie|series|episode|documentary|character|protagonist|lyrics|song|poem|play|essay|article|research|paper|statistics|study|studies|campaign|campaigns|prevention|awareness|lecture|textbook|history|news|headline|actor|singer|celebrity|podcast|opera|myth|legend|case study|seminar|training course|dissertation|video game|level|boss fight|plot|chapter|scene|romeo|hamlet|psychology class|exam question|bachelor|helpline volunteer|public health|rates?|game)(?![^ ])/;
const OTHERS =
  /^(?:he|she|they|friend|friends|brother|sister|mother|father|mum|mom|dad|son|daughter|husband|wife|partner|boyfriend|girlfriend|cousin|uncle|aunt|colleague|neighbour|neighbor|roommate|flatmate|student|patient|client|teacher|who|him|her|them|man|woman|guy|girl|boy|someone|character|people)$/;
const FIRST = /^(?:i|me|my|myself|we|us)$/;
const WELL_NOW =
  /(?<![^ ])(?:(?:am|feel|feeling|doing|been|much|so much) (?:well|fine|better|good|great|okay|happy|stable|recovered)(?: now| these days| since| today)?|recovered|no longer feel|not any more|(?:years|long time|decade) ago)(?![^ ])/;
const PAST =
  /(?<![^ ])(?:used to|years ago|decade ago|back then|as a teenager|when i was|in the past|long ago)(?![^ ])/;

/**
 * Reads the sentence around a match.
 *
 * @param sentence normalised sentence with idioms blanked.
 * @param start offset of the match, `end` the offset after it.
 */
export function contextOf(sentence: string, start: number, end: number): MatchContext {
  const match = sentence.slice(start, end).split(' ');
  const before = sentence.slice(0, start).trim().split(' ').filter(Boolean);
  const person = personOf(match, before);
  if (isDenied(before)) return 'denied';
  if (isTopic(sentence, match, before, person, end)) return 'topic';
  if (person === 'other') return 'other-person';
  if (PAST.test(sentence) && WELL_NOW.test(sentence.replace(PAST, ''))) return 'past-and-well';
  return 'stated';
}

/** A negator among the last five words denies, unless "i" starts a new statement in between or the phrase keeps its meaning. */
function isDenied(before: readonly string[]): boolean {
  const near = before.slice(-5);
  const clauseStart =
    Math.max(...['i', 'but', 'because', 'so', 'except', 'unless', 'until'].map((word) => near.lastIndexOf(word))) + 1;
  const clause = near.slice(clauseStart);
  if (!clause.some((word) => NEGATORS.has(word))) return false;
  return !KEEPS_MEANING.test(clause.join(' ')) && !UNSURE.test(before.join(' '));
}

/** "I" in front does not make a topic personal ("I am writing an essay about ..."), "myself" in the match does. */
function isTopic(
  sentence: string,
  match: readonly string[],
  before: readonly string[],
  person: Person,
  end: number,
): boolean {
  if (match.some((word) => FIRST.test(word))) return false;
  if (person !== 'first') return MEDIA.test(sentence);
  const sinceSubject = before.slice(Math.max(before.lastIndexOf('i'), before.lastIndexOf('we')) + 1);
  const nextWord = sentence.slice(end).trim().split(' ', 1);
  return MEDIA.test([...sinceSubject, '|', ...nextWord].join(' '));
}

type Person = 'first' | 'other' | 'none';

/** Who the match speaks of: a word inside it, else the nearest person named before it. */
function personOf(match: readonly string[], before: readonly string[]): Person {
  if (match.some((word) => FIRST.test(word))) return 'first';
  if (match.some((word) => /^(?:himself|herself|themselves|themself)$/.test(word))) return 'other';
  const nearest = before.findLast((word) => /^(?:i|we|us|myself)$/.test(word) || OTHERS.test(word));
  if (nearest === undefined) return 'none';
  return OTHERS.test(nearest) ? 'other' : 'first';
}
