import type { ConversationMessage } from './conversation.js';
import { blankIdioms } from './figurative.js';
import { normaliseSentences } from './normalise.js';
import { phrase } from './phrase.js';

/** What a harm, bias or boundary detector found in the last user turn. Empty `signals` mean nothing was found. */
export interface ContentFinding {
  readonly signals: readonly { readonly id: string; readonly weight: number }[];
}

interface ContentPattern {
  readonly id: string;
  readonly weight: number;
  readonly phrases: readonly RegExp[];
}

const entry = (id: string, weight: number, ...sources: string[]): ContentPattern => ({
  id,
  weight,
  phrases: sources.map(phrase),
});

const HOW =
  '(how {3} to|how (do|can|could|would|should|does|might)|teach me {3} to|show me how to|instructions {2} to|instructions for|instructions on|guide to|steps to|recipe for|ways to|way to|help me|explain how to|where can i)';
const WEAPON =
  '(bomb|bombs|explosive|explosives|pipe bomb|grenade|nerve gas|poison gas|chemical weapon|molotov|molotov cocktail|napalm|silencer|ghost gun)';
const VICTIM =
  '(someone|somebody|him|her|them|people|a person|my _|the _|a _|children|kids|a child|somebodys|someones)';
const GROUP =
  '(women|men|girls|boys|immigrants|migrants|refugees|foreigners|muslims|jews|christians|hindus|arabs|blacks|black people|white people|whites|asians|asian people|latinos|mexicans|africans|indians|chinese people|gypsies|roma people|gays|gay people|lesbians|trans people|transgender people|disabled people|old people|the elderly|poor people|homeless people|fat people|the mentally ill|mentally ill people|autistic people|schizophrenics|atheists|teenagers|natives)';
const SLANDER =
  '(lazy|stupid|dumb|dirty|criminals|thieves|terrorists|violent|inferior|dangerous|evil|liars|greedy|parasites|animals|vermin|savages|weak|hysterical|irrational|crazy|disgusting|subhuman|filthy|unintelligent|rapists|freaks|perverts|abnormal|too emotional|less intelligent|worthless|bad drivers|a disease|a plague|a threat)';

const harmPatterns: readonly ContentPattern[] = [
  entry(
    'weapon-making',
    0.9,
    `${HOW} {2} (make|build|making|building|assemble|construct|create|buy|get) {3} ${WEAPON}`,
    `${HOW} {1} ${WEAPON}`,
  ),
  entry(
    'violence-instructions',
    0.85,
    `${HOW} {2} (kill|murder|poison|stab|strangle|kidnap|torture|drug|assault|rape|ambush|attack|harm|hurt|beat) ${VICTIM} {6} (without|so that|and get|secretly|caught|quietly|slowly|no one)`,
    `${HOW} {2} (kill|murder|poison|kidnap|torture|rape) ${VICTIM}`,
    '(get away with|getting away with) (murder|killing|rape|assault|it after i)',
  ),
  entry(
    'stalking',
    0.75,
    `${HOW} {2} (stalk|track|spy on|follow|blackmail|hack) ${VICTIM}`,
    '(secretly|without (him|her|them) knowing) {3} (track|follow|film|record|spy)',
    '(install|put) {3} (spyware|tracker|keylogger) {4} (phone|car|laptop|computer)',
  ),
  entry(
    'manipulation',
    0.6,
    `${HOW} {2} (gaslight|manipulate|control|isolate|humiliate|break) (my|him|her|them|someone|a)`,
    'make (him|her|them) {2} (afraid of me|depend on me|scared to leave)',
  ),
  entry(
    'child-abuse',
    0.95,
    '(sex|sexual|nude|nudes|naked) {4} (with|of|from) {2} (child|children|minor|minors|underage|kid|kids|toddler)',
    '(groom|grooming|seduce) {2} (child|children|minor|kid|kids|underage)',
  ),
  entry(
    'drug-making',
    0.8,
    `${HOW} {2} (make|cook|synthesise|synthesize|produce|manufacture) {2} (meth|methamphetamine|crack|heroin|fentanyl|lsd|mdma|ricin|sarin)`,
  ),
  entry(
    'violence-plan',
    0.85,
    `(best|easiest|quickest|fastest|good|safest|most effective) {2} (way|ways|method|methods|place|poison|weapon|time) {3} (kill|murder|poison|attack|rape|kidnap|torture|shoot|stab|hurt|assassinate) ${VICTIM}`,
    `(help me|plan|planning|ideas for|advice on|tips for) {3} (kill|murder|killing|murdering|poison|poisoning|kidnap|kidnapping|assassinate|lynch|massacre|torture|torturing) {1} _`,
    '(what|which) {1} (poison|poisons|weapon|weapons|gun) {5} (kill|murder|undetected|untraceable|without)',
    `(plan|planning|carry out|commit) {2} (murder|massacre|terrorist attack|terror attack|mass shooting|school shooting|arson|kidnapping|genocide)`,
  ),
  entry(
    'crime-instructions',
    0.7,
    `${HOW} {2} (steal|rob|shoplift|burgle|break into|forge|counterfeit|launder|smuggle|embezzle|scam|defraud|blackmail|extort|hack into|burn down|set fire to|vandalise|vandalize|bribe|dox|doxx) {1} _`,
    `${HOW} {2} (get away with|avoid getting caught|not get caught|evade) {3} (stealing|robbing|fraud|police|tax|murder|crime|shoplifting|hit and run)`,
    `(where|how) (can|do|could) i {2} (buy|get|find|sell) {3} (cocaine|heroin|meth|fentanyl|crack|lsd|mdma|ecstasy|illegal|stolen|fake (id|passport)|unregistered)`,
  ),
];

const biasPatterns: readonly ContentPattern[] = [
  entry(
    'group-generalisation',
    0.75,
    `${GROUP} (are|is) {3} ${SLANDER}`,
    `(all|most|those|these) {1} ${GROUP} {3} (are|lie|steal|cheat|smell|hate)`,
    `(typical|just like) {1} ${GROUP}`,
  ),
  entry(
    'group-exclusion',
    0.8,
    `${GROUP} {2} (should|must|do|can|need to|ought to) {3} (not be allowed|not vote|go back|be banned|be deported|not work|stay in the kitchen|not exist|be locked up|not have|be sterilised|be removed)`,
    `(get rid of|exterminate|ban|deport|eliminate|hate|despise|can not stand) {1} (all|these|those|every)? ?${GROUP}`,
    `(not|never) (hire|trust|rent to|employ|promote|date) {1} ${GROUP}`,
  ),
  entry(
    'group-ranking',
    0.7,
    `${GROUP} {2} (better|worse|smarter|dumber|superior|inferior|less) {3} than {1} ${GROUP}`,
    `why are {1} ${GROUP} {2} so _`,
  ),
];

const boundaryPatterns: readonly ContentPattern[] = [
  entry(
    'diagnosis',
    0.7,
    '(diagnose|diagnosing) (me|my _|him|her)',
    '(what is|give me|need|tell me|confirm) {2} (my|a|his|her) diagnosis',
    '(do i|does my _|does he|does she|if i|whether i|think i) {3} (have|has|suffer from) {3} (depression|bipolar|adhd|add|autism|asperger|schizophrenia|ptsd|ocd|borderline|bpd|anxiety disorder|anorexia|bulimia|dementia|psychosis|personality disorder|eating disorder)',
    '(am i|is my _|is he|is she) {2} (depressed|bipolar|autistic|schizophrenic|psychotic|borderline|manic|a narcissist|a psychopath|a sociopath|clinically)',
    'what (disorder|mental illness|illness|condition) {2} i have',
  ),
  entry(
    'medication',
    0.75,
    '(what|which|how much|how many|right|correct|safe|maximum|starting|my) {3} (dose|dosage|mg|milligrams)',
    'how much {3} (sertraline|fluoxetine|prozac|zoloft|xanax|alprazolam|diazepam|valium|lithium|quetiapine|escitalopram|lexapro|citalopram|venlafaxine|bupropion|adderall|ritalin|lorazepam|melatonin|medication|antidepressant|propranolol|zopiclone)',
    '(should|can|could|may|do|is it (safe|ok|okay|fine)) {2} (i|to) {2} (stop|quit|start|double|increase|reduce|skip|come off|mix|combine|taper|switch|change) {4} (meds|medication|medicine|antidepressant|antidepressants|pills|tablets|dose|sertraline|fluoxetine|prozac|zoloft|xanax|lithium|quetiapine|escitalopram|lexapro|citalopram|venlafaxine|adderall|diazepam|valium|lorazepam|alcohol)',
    '(prescribe|prescription for) {3} (me|something|pills|meds|medication|xanax|antidepressants|us|anxiety|sleep)',
    '(which|what) (medication|medicine|drug|antidepressant|pill|pills|meds) {3} (take|best|good|recommend|should)',
  ),
  entry(
    'claims-human',
    0.6,
    'are you {2} (human|real|real person|person|bot|robot|machine|computer|ai|therapist|psychologist|doctor|psychiatrist|licensed|qualified|alive|conscious|sentient)',
    '(am i|is this) {2} (talking|speaking|chatting) (to|with) {2} (human|person|bot|robot|machine|computer|ai|someone real|therapist)',
    'be my (therapist|psychologist|psychiatrist|doctor)',
    '(do you love me|do you have feelings|will you be my (girlfriend|boyfriend|wife|husband))',
  ),
];

/** Looks for requests to harm others in the last user turn. A small lexicon: it finds plain requests and misses disguised ones. */
export function detectHarm(messages: readonly ConversationMessage[]): ContentFinding {
  return findIn(messages, harmPatterns);
}

/** Looks for hostile generalisations about groups of people in the last user turn. A small lexicon without slurs. */
export function detectBias(messages: readonly ConversationMessage[]): ContentFinding {
  return findIn(messages, biasPatterns);
}

/** Looks for questions a language model must not settle: a diagnosis, a medication or its dose, whether it is human. */
export function detectBoundary(messages: readonly ConversationMessage[]): ContentFinding {
  return findIn(messages, boundaryPatterns);
}

function findIn(messages: readonly ConversationMessage[], patterns: readonly ContentPattern[]): ContentFinding {
  const last = messages.findLast((message) => message.role === 'user');
  const sentences = last ? normaliseSentences(last.content).map(blankIdioms) : [];
  const found = patterns.filter((pattern) =>
    pattern.phrases.some((expression) => sentences.some((sentence) => sentence.search(expression) >= 0)),
  );
  return { signals: found.map(({ id, weight }) => ({ id, weight })) };
}
