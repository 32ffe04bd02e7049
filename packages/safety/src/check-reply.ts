import { normaliseSentences } from './normalise.js';
import { phrase } from './phrase.js';
import type { SafetyPolicy } from './policy.js';
import { resourcesFor } from './resources.js';

/** The verdict on a generated reply. */
export interface ReplyCheck {
  readonly action: 'pass' | 'replace';
  /** Names of the rules that fired; never the reply's text. */
  readonly signals: readonly string[];
  /** What to send: the reply itself, or what stands in for it. */
  readonly text: string;
}

interface ReplyRule {
  readonly id: string;
  readonly kind: 'self-harm' | 'violence' | 'boundary';
  readonly phrases: readonly RegExp[];
}

const rule = (id: string, kind: ReplyRule['kind'], ...sources: string[]): ReplyRule => ({
  id,
  kind,
  phrases: sources.map(phrase),
});
const DRUGS = '(pills|tablets|painkillers|meds|medication|sleeping pills|paracetamol|acetaminophen|ibuprofen)';

const rules: readonly ReplyRule[] = [
  rule(
    'encourages-self-harm',
    'self-harm',
    '(you should|you could|you must|you need to|you have to|you can|go|go and|just|please|go ahead and|try to|why do you not|better to|i want you to|it is time to|you ought to|best to) [just|really|probably|definitely] (kill|hang|cut|hurt|burn|harm|shoot|drown|starve|end|punish) (yourself|your life|it all)',
    '(you should|you deserve to|you ought to|you need to|it is okay to|just|it would be better to) [just] (die|be dead|suffer and die)',
    '(better off|happier|better|easier) {5} (without you|if you (died|were dead|were gone|killed yourself)|you (dead|gone))',
    'you (are|would be) better off dead',
    '(no one|everyone) {3} (would miss you|wants you dead|hates you)',
    '(suicide|dying|death|killing yourself|ending your life) {2} (is|would be) {3} (only|best|good|right|easy|easiest|brave|answer|way out|solution)',
    '(you|it) {2} (are|is|has|have) {2} (no reason|not worth) (to live|living)',
    '(your life|life) is not worth living',
    '^kill yourself',
  ),
  rule(
    'describes-method',
    'self-harm',
    `(take|swallow|mix|combine) {3} (all|whole|entire|bottle|handful|as many) {4} ${DRUGS}`,
    '(best|easiest|painless|quickest|effective|surest|most reliable) {2} (way|method|ways|methods) {2} (to (die|kill yourself|end your life|commit suicide|hang yourself|cut yourself|self harm|overdose)|of (dying|suicide|self harm))',
    '(tie|make|tying) {3} (noose|knot) {6} (neck|hang|beam)',
    '(lethal|fatal|deadly) (dose|amount) {2} (is|of|would be) {6} (mg|g|grams|milligrams|pills|tablets|\\d+)',
    '(cut|slice|slit) {4} (lengthwise|vertically|along the vein|deep enough|your (wrist|wrists|veins|throat))',
    '(jump|step|leap) (off|from|in front of) {3} (bridge|building|roof|train|cliff) {3} (and|to) {3} (die|end|over|free)',
  ),
  rule(
    'encourages-violence',
    'violence',
    '(you should|you must|you need to|go and|just|i want you to|you have to) [just|really] (kill|murder|stab|shoot|poison|strangle|beat|rape|hurt) (him|her|them|your|someone|the|everyone|people)',
    '(he|she|they) (deserves|deserve) to (die|be killed|be beaten|be raped)',
    '(it is|that is) your (own)? ?fault (that he|he|she|they) (hit|hits|beat|raped|hurt|abused)',
  ),
  rule(
    'gives-dose',
    'boundary',
    '(take|taking|start with|increase to|increase {4} to|reduce {4} to|use|try|dose {3} is|dosage {3} is) {3} \\d+ ?(mg|milligrams|mcg|micrograms|grams|ml)',
    '(you should|you can|you could|just|simply|you must) {1} (stop|quit|double|skip|increase) {2} (taking|your) {2} (medication|medications|meds|antidepressant|antidepressants|pills|medicine|dose|lithium|insulin)',
  ),
  rule(
    'claims-human',
    'boundary',
    'i am {2} (human|human being|real person|person|licensed therapist|therapist|psychologist|psychiatrist|doctor|physician|licensed counselor|licensed counsellor|counselor|counsellor|social worker|nurse|clinician)',
    '(as|being) {1} (licensed|qualified|certified|registered|practising|practicing) (therapist|psychologist|counselor|counsellor|psychiatrist|professional|clinician) {1} i',
    'in my (practice|private practice|clinical practice|office|clinic)',
  ),
  rule(
    'gives-diagnosis',
    'boundary',
    'you (have|suffer from|are suffering from|clearly have|definitely have) {2} (bipolar|bipolar disorder|schizophrenia|borderline|borderline personality|adhd|autism|ptsd|ocd|major depressive disorder|clinical depression|a personality disorder|an eating disorder|anorexia|bulimia|psychosis|dementia)',
    'you are {2} (bipolar|schizophrenic|psychotic|borderline|autistic|clinically depressed|a narcissist|a psychopath)',
  ),
];

const NEGATED =
  /(?<![^ ])(?:not|never|no|without|avoid|if|whether|refuse|stop|instead of|rather than|thoughts|thinking|urge|urges|feel like|feeling like|might|may|unless|wonder|believe|think|false)(?: [^ ]+){0,4} ?$/;

/**
 * Checks a generated reply before it is shown: encouragement of self-harm or violence, methods, doses, diagnoses and claims to be human
 * are replaced by a fixed text. It reads whole sentences, so a streaming caller checks what it has before it lets a sentence go.
 */
export function checkReply(text: string, policy: SafetyPolicy): ReplyCheck {
  const sentences = normaliseSentences(text);
  const fired = rules.filter((candidate) =>
    sentences.some((sentence) => candidate.phrases.some((expression) => saysIt(sentence, expression))),
  );
  if (fired.length === 0) return { action: 'pass', signals: [], text };
  return { action: 'replace', signals: fired.map(({ id }) => id), text: replacementFor(fired, policy) };
}

function saysIt(sentence: string, expression: RegExp): boolean {
  for (const match of sentence.matchAll(expression)) {
    if (!NEGATED.test(sentence.slice(0, match.index).trim())) return true;
  }
  return false;
}

function replacementFor(fired: readonly ReplyRule[], policy: SafetyPolicy): string {
  const { emergency, resources } = resourcesFor(policy.region);
  const lines = resources.map(({ name, contact }) => `- ${name}: ${contact}`).join('\n');
  if (fired.some(({ kind }) => kind !== 'boundary')) {
    return `I held back a reply that could have done harm. If you are thinking about hurting yourself or someone else, please talk to a person now: in an emergency call ${emergency}, or reach\n${lines}`;
  }
  return 'I held back a reply that went beyond what I can do. I am a computer program: I cannot diagnose, advise on doses or act as a therapist. A doctor, pharmacist or psychologist can answer this for you.';
}
