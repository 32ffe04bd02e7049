import { phrase } from './phrase.js';

/** What a crisis signal speaks of. */
export type CrisisCategory =
  | 'ideation'
  | 'plan'
  | 'means'
  | 'self-harm'
  | 'hopelessness'
  | 'burden'
  | 'goodbye'
  | 'harm-to-others'
  | 'abuse'
  | 'danger';

/** One entry of the lexicon: any of its phrases raises the signal once. */
export interface CrisisPattern {
  readonly id: string;
  readonly category: CrisisCategory;
  /** Weight from 0 to 1: how sure a single match makes us, before context. */
  readonly weight: number;
  readonly phrases: readonly RegExp[];
}

const entry = (id: string, category: CrisisCategory, weight: number, ...sources: string[]): CrisisPattern => ({
  id,
  category,
  weight,
  phrases: sources.map(phrase),
});

const ADVERB =
  '[just|really|only|simply|honestly|actually|kind of|kinda|sort of|so badly|fucking|desperately|sometimes|always]';
const SELF = '(myself|himself|herself|themself|themselves)';
const OWN = '(my|his|her|their)';
const GONE =
  '(gone|dead|not around|not here|not alive|no longer here|no longer around|no longer alive|no longer in it|no more|out of the way)';
const ANY_MORE = '(any more|any longer|much longer)';
const DRUGS =
  '(pills|tablets|meds|medication|medicine|painkillers|sleeping pills|paracetamol|ibuprofen|tylenol|antidepressants|sedatives)';
const GUN = '(gun|shotgun|rifle|pistol|revolver|handgun|firearm)';
const HEIGHT = '(bridge|roof|rooftop|building|cliff|balcony|window|ledge|overpass|tower)';
const TRACKS = '(train|trains|tracks|train tracks|railway|bus|truck|lorry|car|cars|traffic|platform|motorway|highway)';
const PERSON =
  '(he|she|they|husband|wife|partner|boyfriend|girlfriend|ex|dad|father|mum|mom|mother|stepdad|stepfather|stepmother|brother|sister|uncle|cousin|son|man|guy|someone|boss|who)';
const TARGET =
  '(him|her|them|someone|people|everyone|others|you|the man|the woman|the guy|(my|his|her|their|our) [own|little|older|ex] _)';

/**
 * The crisis lexicon, written for normalised text (see `normaliseSentences`). Weights are our judgement, set on the dev split of our own
 * sentences; they are not calibrated probabilities.
 */
export const crisisLexicon: readonly CrisisPattern[] = [
  // Ideation, said openly.
  entry(
    'kill-self',
    'ideation',
    0.85,
    `(kill|kills|killing|killed|end|ending|off|offing|unalive|unaliving|hang|hanging|hung|hanged|shoot|shooting|shot|drown|drowning|poison|poisoning|suffocate|starve) ${SELF}`,
    `(suicide|suicidal) {2} (plan|attempt|attempts|thoughts|thought|ideation|feelings|urges)`,
    `(commit|committing|committed|attempt|attempted|attempting|contemplating|considering|considered|planning|about|of) suicide`,
    `(am|feel|feeling|been|felt|getting|becoming|still|is|was|so) {1} suicidal`,
  ),
  entry('suicide-word', 'ideation', 0.5, '(suicide|suicidal|unalive|unaliving)'),
  entry(
    'wants-to-die',
    'ideation',
    0.85,
    `(want|wants|wanted|wanting|wish|hope|hoping|hopes|need|like|prefer|prefers|ready|prepared|deserve|deserves|going|trying|plan|planning|rather|better|please let me) [to] ${ADVERB} (die|be dead|not exist|stop existing|not be alive|not live|stop living|be gone forever)`,
    `(wish|wishing|wishes|hope|hoping|hopes|pray|praying) (i|he|she|they) {2} (die|dies|dead|died|would die|could die|never wake up)`,
    'rather be dead',
    'better off dead',
    '(should|could) [just] (be dead|die already|not be alive|not exist)',
    'feel like dying',
    '(die|pass away|slip away) in my sleep',
  ),
  entry('rather-die', 'ideation', 0.3, 'rather die', 'let me die', '(going to|will|might) die'),
  entry(
    'end-life',
    'ideation',
    0.85,
    `(end|ending|ended|ends|take|takes|taking|took|taken|finish|finishing) ${OWN} [own] (life|lives)`,
    '(end|ending|ended|stop) (it|this|everything) (all|forever|for good|once and for all)',
    '(end|ending) (it|things|everything|this) {2} (tonight|now|today|tomorrow|soon|forever|for good|this week|this weekend|on (monday|tuesday|wednesday|thursday|friday|saturday|sunday))',
  ),
  entry(
    'end-it',
    'ideation',
    0.45,
    '(want|going|ready|thinking|thought|like|think|time|decided) {3} (end|ending|finish) (it|things|everything)',
  ),
  entry(
    'not-want-live',
    'ideation',
    0.85,
    '(not|no longer|never) [really|even|actually] (want|wish|care) [to] (live|be alive|exist|keep living|go on living|carry on living|be on this (earth|planet|world)|be in this world)',
    '(not|no longer|never) [really|even|actually] (want|wish) [to] (be here|go on|carry on|continue|keep going|be around|do this|wake up) {1} (any more|any longer|at all)',
    `(not|no longer|never) [really|even|actually] (want|wish) [to] (go on|carry on|keep going) (like this|with (life|my life|this life))`,
    '(no|lost [the|my|all]) (will|desire|wish|reason) to (live|be alive|go on living|stay alive|exist)',
    '(tired|sick|done|fed up|finished|through|had enough) [and tired] (of|with) {1} (living|being alive|life|existing|this life|my life|being here)',
    'hate (being alive|living|existing|that i am alive|that i woke up)',
    '(done|finished|over) with (life|living|this life)',
  ),
  entry(
    'not-want-here',
    'ideation',
    0.5,
    '(not|no longer) [really|even] want to (be here|be around|wake up|go on|exist)',
  ),
  entry(
    'sleep-no-wake',
    'ideation',
    0.8,
    '(want|wanted|wish|wishing|hope|hoping|hopes|love|like|rather|could|prefer|pray|praying|if) {9} (not|never) {2} (wake|waking) up',
    '(go|going|fall|falling) (to sleep|asleep) {4} (not|never) {2} (wake|waking) up',
    '(sleep|asleep) forever',
  ),
  entry(
    'wish-never-born',
    'ideation',
    0.65,
    '(wish|wishing|wishes|if only) {4} never {2} (born|existed)',
    'should {2} never {2} (been born|born)',
    'wish i (was|were) not (alive|here|born)',
    'wish i did not exist',
    '(not|never) (meant|made|supposed) (to be (here|alive)|to live|to exist|for this world|for this life)',
    'not cut out for (life|living|this world)',
  ),
  entry(
    'no-right-to-exist',
    'ideation',
    0.75,
    '(not|never) deserve (to (live|exist|be alive|be here)|life|my life|a place in this world)',
    'waste of (space|air|oxygen|life)',
    'deserve to (die|be dead)',
  ),
  entry(
    'wish-to-vanish',
    'ideation',
    0.6,
    '(want|wanted|wish|wishing|could|like|love|need|better) {4} (disappear|vanish|fade away|cease to exist|stop existing|not exist) [from this world|completely|forever|for good]',
    '(want|wish|hope) {4} everything {2} (disappears|to end|ends)',
  ),
  entry(
    'accident-wish',
    'ideation',
    0.65,
    '(hope|hoping|wish|wishing|pray|praying) {6} (crash|crashes|accident|hits me|hit me|kills me|kill me|cancer|illness|disease|heart attack|takes me|happens to me)',
    '(hope|hoping|wish|wishing|pray|praying) {3} something {2} (happens|happen|happened|would happen)',
    '(if|wish) {3} (bus|car|truck|train|lorry|plane) {4} (hit|hits|ran|runs|crushed|crashed|crashes) {1} (me|over me|tomorrow)',
    '(not|never) {3} (care|mind|matter|bother|bothered|sad|upset) {2} (if|whether) i {2} (live|lived|die|died|dead|wake|woke|survive|survived|make it|crash|crashed|stop breathing|alive)',
    '(not|no longer) {1} care {2} what happens to me',
    '(would|will) be (fine|okay|ok|good|relieved|glad|happy) {4} (if i (died|was dead|were dead|did not wake up)|with dying)',
  ),
  entry(
    'why-alive',
    'ideation',
    0.5,
    'why {3} (i|me) {3} (still alive|alive|still here|exist|bother living|keep living|keep going|bother)',
    '(no|not|any|one|a|give me [a|one]) (reason|point) {5} (to live|to stay alive|to stay|not to (do it|die|end)|to keep (living|going)|to go on|to carry on|to wake up)',
  ),
  entry(
    'no-reason-not-to',
    'ideation',
    0.85,
    'reason {3} not to (kill|end|die|do it|hurt|jump|cut)',
    'why (not|should i not|i should not) {2} (kill myself|end my|die)',
  ),
  entry(
    'envy-the-dead',
    'ideation',
    0.6,
    '(envy|envious|jealous|jealousy) {4} (dead|died|deceased|passed away|passed on|in the ground|corpse)',
    '(join|be with|see|reunite with) {5} (in heaven|on the other side|in the afterlife|in the grave)',
    '(wish|should|could) {3} (had been|have been|was|were|be) me (who|that|instead) {1} (died|dead|passed|killed)',
  ),
  entry(
    'death-on-mind',
    'ideation',
    0.45,
    '(thinking|think|thoughts|thought|dream|dreaming|fantasise|fantasising|fantasize|fantasizing|obsessed|daydream|daydreaming|imagine|imagining) {3} (dying|being dead|my own death|my death|my funeral|not being alive|not existing|not being here|death all)',
    'my [own] (funeral|grave|coffin|obituary)',
    '(death|dying) {3} (relief|peaceful|only (way|answer|escape|peace)|comfort|comforting|appealing|easier)',
  ),

  // Plan and goodbye.
  entry(
    'plan-stated',
    'plan',
    0.8,
    '(have|having|made|making|got|set|there is|know) {2} plan {7} (do it|kill|die|end my|end it|suicide|take my)',
    '(plan|planned|planning|decided|choosing|know|knows|figured out) {3} how {2} (i will|i would|i am going to|to|he will|she will) (do it|die|end it|kill|go)',
    '(going to|will|about to|ready to|planning to) [finally] (do it|go through with it) {1} (tonight|today|tomorrow|now|right now|soon|this time|this week|this weekend|this evening|properly)',
    '(picked|chose|chosen|found|decided|set|know|have) {3} (place|spot|day|date|time|bridge|method|way) {7} (jump|die|end it|end my life|do it|hang|kill|take my life)',
    '(tonight|today|tomorrow) is the (night|day)',
  ),
  entry('final-note', 'plan', 0.8, '(suicide|goodbye|farewell) (note|notes|letter|letters|video|message|messages)'),
  entry(
    'letters-behind',
    'plan',
    0.45,
    '(wrote|written|writing|write|left|leaving) {3} (note|letter|letters|notes) {3} (behind|goodbye|parents|kids|children|family|mum|mom|everyone|wife|husband|for when)',
  ),
  entry(
    'affairs-in-order',
    'plan',
    0.45,
    '(sorted|settled|sorting|settling|put|putting|getting|got|finished|updated) {3} (affairs|will|life insurance|testament) [in order|out]',
    '(cancelled|canceled|paid) everything',
    '(not|never|no longer) {2} need {1} (them|it|these|this|any of it|any of this|my things|my stuff) {1} (any more|any longer|where i am going|after|soon)',
    '(made|making) my (peace|decision|mind up to go)',
    'made peace with {3} (end|going|leaving|dying|it all)',
  ),
  entry(
    'giving-away',
    'plan',
    0.55,
    '(give|giving|gave|given) {3} (things|belongings|stuff|possessions|everything|pets|cat|dog) away',
    '(give|giving|gave|given) away {4} (things|belongings|stuff|possessions|everything i own|everything)',
  ),
  entry(
    'last-words',
    'goodbye',
    0.65,
    '(my|the|a) (last|final) (message|words|letter|post|goodbye|night|day|conversation)',
    'this is (goodbye|the end for me|my last)',
    'goodbye {1} (everyone|world|all|forever|for good|to you all|to everyone|cruel)',
    '(say|saying|said|wanted to say) {2} goodbye {4} (before|forever|for good|everyone|you all|one last time|while i)',
    'by the time {4} (read|reads|see|sees|find|finds|get|gets|hear) {1} this',
    '(will|would) (be|all be) (over|gone|dead) {1} (soon|by (tomorrow|tonight|then|morning|the morning|monday|the weekend))',
  ),
  entry('goodbye-word', 'goodbye', 0.3, 'goodbye', 'thank you for everything', 'before i go', 'thanks for everything'),
  entry(
    'not-around',
    'goodbye',
    0.5,
    '(will|would|shall) (not|no longer|never) {2} (be around|be alive|exist|be in this world|be here {1} (any more|any longer|much longer|soon|to see))',
    '(when|once|after|if) i (am|was|were) {1} (gone|dead|not here any more|no longer here|no longer around|not around)',
    '(will|would) not be {1} (problem|burden|trouble|bother|worry) {4} (after|any more|any longer|soon)',
    'i will be gone {1} (soon|by|tomorrow|forever|then)',
  ),
  entry(
    'message-for-loved-ones',
    'goodbye',
    0.45,
    '(tell|let) {4} (that i|i|know i|know that i) {2} (love|loved|am sorry|was sorry)',
    '(none of this|this|it|nothing) (is|was) {1} (not (his|her|their|your|anyone) fault|(his|her|their|your|anyones) fault)',
    '(look after|take care of|watch over|care for) {5} (when|if|after|once) i (am|was|go|leave)',
  ),
  entry(
    'not-make-it',
    'goodbye',
    0.55,
    '(not|never|doubt) {5} (make it|survive|last|be alive|live) (to|through|past|until|till|for) {1} (weekend|night|tonight|tomorrow|morning|week|month|year|christmas|birthday|spring|summer|autumn|winter)',
    '(not|never) see (another|the next|next) (day|year|birthday|christmas|spring|summer|morning)',
  ),
  entry(
    'calm-departure',
    'goodbye',
    0.4,
    'ready to go {1} (now|any time|for good|in peace)',
    '(at peace|calm|peaceful|relieved) {3} (about (it|dying|leaving|going|the end)|with (dying|my decision|it now)|now that i (have )?decided)',
  ),

  // Means.
  entry(
    'overdose',
    'means',
    0.75,
    '(overdose|overdosed|overdosing|ods|od d|oding)',
    `(take|took|taken|taking|swallow|swallowed|swallowing|ate|down|downed) {4} (all|whole|entire|full|too many|bottle|packet|pack|box|handful|bunch|lot) {4} ${DRUGS}`,
    '(take|taking|took|swallowed|swallow) (all of them|them all|every one of them)',
    '(lethal|fatal|deadly) (dose|doses|amount|combination|mix)',
    `how many {2} ${DRUGS} {6} (die|kill|overdose|too many|fatal|lethal|enough)`,
    `(too many|enough) ${DRUGS}`,
    `how many ${DRUGS}`,
  ),
  entry(
    'stockpile',
    'means',
    0.6,
    `(saving|saved|stockpile|stockpiled|stockpiling|hoard|hoarded|hoarding|collecting|collected|counting|counted|lined|lining|hiding|hidden) {5} ${DRUGS}`,
    `${DRUGS} (are|is|lined|ready|in front|in my hand) {3} (ready|lined|table|hand|waiting|front of me|next to me)`,
  ),
  entry(
    'firearm',
    'means',
    0.65,
    `(load|loaded|loading|cleaned|holding|hold|bought|buy|buying|get|have|got|keep|grabbed|with) {3} ${GUN}`,
    `${GUN} {6} (my head|my mouth|my chest|my temple|on myself|use it|using it|loaded|in the drawer)`,
    '(bullet|gun|trigger) {4} (head|brain|mouth|temple|on myself)',
    'pull the trigger',
  ),
  entry(
    'noose',
    'means',
    0.6,
    '(noose|ligature)',
    '(rope|cord|belt) {6} (neck|beam|tree|ceiling|door|ready|hang|waiting)',
    '(have|got|bought|buy|tied|tie|tying|found) {2} rope',
  ),
  entry(
    'height-or-tracks',
    'means',
    0.75,
    `(jump|jumping|jumped|leap|throw myself|throwing myself|step|stepping|walk|walking) {2} (off|from|in front of|out of|under|onto|into) {3} (${HEIGHT.slice(1, -1)}|${TRACKS.slice(1, -1)})`,
    `(standing|sitting|stood|am|walked|waiting) {2} (on|at) {3} (bridge|ledge|edge|roof|rooftop|cliff|tracks|railing) {9} (jump|jumping|fall|end|let go|think|thinking|wonder)`,
    `(look|looking|stare|staring|stand|standing|walk|walking|watch|watching|go|going|drive|near|by|past) {4} (bridge|ledge|rooftop|cliff|tracks|train tracks|railway|platform) {4} (wonder|wondering|imagine|imagining|how it would feel|how easy|jump|jumping|step|end it)`,
    'going to jump',
    'think i will jump',
  ),
  entry(
    'method-question',
    'means',
    0.65,
    '(painless|painlessly|quick|quickest|easiest|easy|peaceful|fastest|best|least painful|surest|cleanest) {2} (way|ways|method|methods|death) {3} (to die|to kill|to go|to end|suicide|of dying|out of life|end it|for suicide|death)',
    'how {2} to {2} (die|kill myself|end my life|hang myself|overdose)',
    '(painful|hurt|hurts|peaceful|painless|feel like|long does it take|long would it take|easy) {3} to {2} (die|drown|bleed out|hang|suffocate|overdose|freeze to death|bleed to death)',
    '(ways|way) {1} to {1} (die|kill myself|end my life|commit suicide)',
    '(look|looking|looked|search|searching|searched|google|googled|googling|research|researched|researching|reading) {3} (ways|methods|how to|how many|way) {4} (die|kill|suicide|end|too many|overdose|hang|lethal)',
    '(suicide|lethal) (method|methods|dose|means)',
    'what {1} need to end (things|it)',
  ),
  entry(
    'reckless',
    'means',
    0.5,
    '(driv(e|es|ing|en)|drove|cross|crossing|drinking|swim|swimming|climb|climbing) {6} (hope|hoping|wish|wishing|so that|not care|do not care)',
    '(drive|driving|steer|steering|crash|crashing|swerve|swerving) {4} (into|off) {2} (tree|wall|bridge|river|cliff|traffic|pole|barrier|lake)',
    '(stop|stopped|quit|stopping|skipping|skipped|refusing) {2} (insulin|heart medication|heart pills|dialysis|eating and drinking|treatment) {2} (because|so|hoping|and)',
  ),

  // Self-harm.
  entry(
    'self-harm',
    'self-harm',
    0.75,
    'self (harm|harming|harmed|harms|injury|injuring|injure|injured|mutilation|mutilate)',
  ),
  entry(
    'hurt-self',
    'self-harm',
    0.75,
    `(hurt|hurting|hurts|harm|harming|harmed|cut|cutting|cuts|burn|burning|burned|burnt|scratch|scratching|punch|punching|hit|hitting|bite|biting|injure|injuring|injured|stab|stabbing|slit|bleed|punish|punishing) ${SELF}`,
  ),
  entry(
    'hurt-body',
    'self-harm',
    0.7,
    `(cut|cuts|cutting|burn|burns|burning|burned|slit|slitting|slash|slashed|slashing|scratch|scratched|scratching|carve|carved|carving|slice|slicing|sliced) {2} ${OWN} [own] (arm|arms|forearm|forearms|wrist|wrists|leg|legs|thigh|thighs|skin|stomach|body|veins|throat)`,
    '(until|till) (it|they|i) (bleed|bleeds|bled|see blood)',
  ),
  entry(
    'cutting',
    'self-harm',
    0.65,
    '(been|started|start|keep|kept|stop|stopped|clean from|urge to|urges to|relapsed on|relapsed and|relapsed into|back to) (cut|cutting|burning|hurting)',
    '(cut|cutting) again',
    '(urge|urges) to (cut|hurt|harm|burn|bleed)',
    '(razor|razors|razor blade|razor blades|blade|blades) {4} (hide|hid|hidden|drawer|my (skin|arm|wrist|leg)|again|calling)',
    '(hiding|hide|fresh|new|more) {3} (scars|cuts) {3} (arm|arms|wrist|wrists|leg|legs|thighs|sleeves)',
  ),

  // Hopelessness.
  entry(
    'no-point-living',
    'hopelessness',
    0.7,
    '(no|not|any|what is|see|lost) {3} (point|reason|purpose|meaning|use|sense) {2} (living|live|being alive|being here|life|going on|carrying on|continuing|existing|waking up|keep going|staying|stay|getting up)',
    '(nothing|no one|little) {2} (to live for|worth living for|worth staying for|keeping me (here|alive))',
    '(life|living|it) {3} (not|no longer) {1} worth {1} (living|it any more|going on|effort|the effort|the pain|the trouble)',
    '(life|my life|living) (is|feels|seems|has become) {2} (pointless|meaningless|unbearable|over|empty|hell|torture|worthless|no longer worth)',
  ),
  entry(
    'no-way-out',
    'hopelessness',
    0.5,
    'no (way out|escape|way forward|other way|other option|way back)',
    '(only|one) {2} (way|option|solution|thing|escape|exit) {1} (out|left|i have left|for me)',
    '(not|never|can not) {1} (see|imagine|picture) {2} (future|way out|way forward|hope|a tomorrow|light)',
    '(no|without a|without any) (future|hope) {1} (for me|left|any more|at all|anywhere)',
    '(it|things|nothing) (will|would|is going to|can) (never|ever) {1} (get|be|become|feel) {1} (better|okay|ok|good|easier)',
    'nothing {2} (left|matters|helps) [any more|for me]',
  ),
  entry(
    'can-not-go-on',
    'hopelessness',
    0.5,
    `can not [possibly|even] (go on|carry on|keep going|continue|keep doing this|live) (like this|${ANY_MORE.slice(1, -1)}|with (this|it|life|living)|living)`,
    `can not [really|even] (do|take|handle|bear|stand|cope|fight|face|endure|deal|go on|live|keep going|carry on|hold on|survive) {2} ${ANY_MORE}`,
    'can not go on',
    '(too tired|no strength|no energy|not strong enough|no fight) {2} (to fight|to go on|to keep going|to carry on|left|to live)',
    '(want|need|wish) {2} (pain|everything|all|suffering|it|it all|all this|all of this) {2} (to stop|to end|to be over|over|stopped)',
    '(make|wish) {2} (it|pain|all|everything) {1} (stop|stopped|end|go away forever)',
  ),
  entry(
    'gives-up',
    'hopelessness',
    0.4,
    '(give|gave|given|giving) up on (life|living|everything|myself|me)',
    '(i|just|have) {2} (give|given|giving) up',
    '(i am|just|so) done [with (everything|it all|trying|fighting|this)]',
    'end of (my|the) (rope|tether)',
    '(have|got) (no one|nobody|nothing) left',
    'no one left',
  ),
  entry(
    'hopeless',
    'hopelessness',
    0.4,
    '(feel|feeling|felt|am|is|so|completely|everything is|utterly) {2} (hopeless|beyond (help|saving|repair)|broken beyond)',
    '(hopeless|hopelessness)',
    'lost (all|every) hope',
    '(all|any) hope is gone',
  ),
  entry(
    'trapped',
    'hopelessness',
    0.25,
    '(feel|feeling|am|felt|so|and) {2} trapped',
    '(worthless|unlovable|pathetic failure)',
    'hate (my life|myself)',
    '(no one|not anyone) (can|could|will|would|wants to) {1} (help|save|helps) {1} me',
    'no one (cares|would care|loves me)',
  ),

  // Burden.
  entry(
    'better-without-me',
    'burden',
    0.8,
    '(better off|better|happier|easier|relieved|lighter|simpler|nicer|free|freer|fine|glad|best) {5} (without me|if i (died|vanished|disappeared|left this|killed|ended|never))',
    `(better|happier|easier|relieved|lighter|simpler|free|fine|glad|best) {5} (if|when|once|with) (i|me) {2} ${GONE}`,
    '(happier|easier|better|relieved) {4} if i {2} (not|no longer) (around|here|alive|there|exist)',
    '(world|family|everyone|people|life) {6} without me',
  ),
  entry(
    'burden',
    'burden',
    0.6,
    '(am|be|being|been|become|like|just|only|such) {3} burden',
    '(weigh|weighing|drag|dragging|pull|pulling|let|letting) (everyone|everybody|them|people|my family|all of them) down',
    'everyones (problem|problems)',
  ),
  entry(
    'nobody-would-miss',
    'burden',
    0.65,
    `(no one|not anyone|anyone|who|would they|they would not) {3} (notice|care|miss|cry|remember|mind|come|bother) {4} (gone|died|dead|disappeared|vanished|funeral|killed|was not here|were not here|not around|do it)`,
    '(no one|who|not anyone|not one person) (will|would) {2} (miss me|notice|cry for me|remember me|mourn)',
    `if i (was|were|am) {2} ${GONE}`,
    'if i (disappeared|vanished|died|ceased to exist|killed)',
    `(as if|like) i {1} (did not|had never) (exist|existed|been here)`,
  ),

  // Harm to others.
  entry(
    'threat-to-others',
    'harm-to-others',
    0.6,
    `(i|am|i will|and) {2} (going to|want to|planning to|plan to|ready to|about to|intend to|will|could|have to|need to) {1} (kill|murder|stab|shoot|strangle|poison|attack|hurt|beat up|slaughter|execute|burn|choke) ${TARGET}`,
    `(thoughts|thinking|thought|fantasies|fantasising|fantasizing|dream|urge|urges|idea|afraid|scared) {3} (killing|murdering|stabbing|shooting|strangling|hurting|harming|attacking|choking|kill|stab|hurt|harm) ${TARGET}`,
    '(want|wish) (him|her|them|my _) (dead|to die)',
  ),
  entry(
    'attack-plan',
    'harm-to-others',
    0.85,
    '(shoot|shooting|blow|blowing|bomb|bombing) {1} (up|down) {2} (school|office|church|mosque|synagogue|mall|workplace|building|everyone|place)',
    '(planning|plan|going|ready) {2} (stab|shoot|murder|poison|kill) {2} (man|woman|guy|people|everyone|someone|neighbour|neighbor|boss|teacher|family|kids|children|classmates|coworkers|colleagues|stepfather|father|mother|brother|sister|wife|husband|ex)',
  ),
  entry(
    'weapon-ready',
    'harm-to-others',
    0.45,
    '(have|got|with|bring|bringing|brought|bought|holding|carry|carrying|has|holds) {2} (knife|gun|weapon|machete|axe|blade|bat)',
    '(knife|gun|weapon|machete) {1} ready',
  ),
  entry(
    'command-voices',
    'danger',
    0.75,
    '(voice|voices) {5} (tell|tells|telling|say|says|saying|command|order|want|wants|shout) {5} (kill|hurt|harm|die|do it|cut|jump|end|attack|stab)',
  ),

  // Abuse and immediate danger.
  entry(
    'violence-at-home',
    'abuse',
    0.65,
    `${PERSON} {4} (hits|hit|beats|beat|punches|punched|kicked|kicks|slaps|slapped|choked|chokes|choking|strangled|strangles|burned|shoved|pushed|pushes|grabbed|hurts|beating|hitting|raped|molested|abused|abuses|attacked|assaulted) (me|us)`,
    '(hits|hit|beats|beat|hurts|touches|molests|punches|kicks) (my|our|the) (child|children|kid|kids|son|daughter|mother|mum|mom|sister|brother|baby)',
    '(raped|molested|sexually assaulted|sexually abused|being abused|been abused|domestic violence|domestic abuse|physically abused|trafficked)',
    '(force|forced|forces|makes|made) me {2} (to have sex|have sex|into sex|to touch)',
    '(abusive|violent) (husband|wife|partner|boyfriend|girlfriend|father|mother|dad|mum|mom|relationship|home|ex|parents|stepfather|marriage)',
    'touch(es|ed|ing) me {4} (inappropriately|at night|private|there|where)',
  ),
  entry(
    'fear-of-someone',
    'abuse',
    0.7,
    `(afraid|scared|terrified|fear|frightened|worried|think|know|says|said|threatened|threatens|threatening|swears|swore|promised) {5} (he|she|they|him|her|someone|to|it) {3} (kill|hurt|hit|beat|shoot|stab|strangle|choke|find|rape|take) (me|us)`,
    `${PERSON} {2} (will|could|might|would|is going to|are going to|wants to|tried to|tries to|threatened to|threatens to|threatening to) {3} (kill|hurt|shoot|stab|strangle|choke|beat|rape|hunt) (me|us)`,
    '(says|said|promised|warned) {3} next time {4} (worse|kill|dead|finish)',
    '(afraid|scared|terrified) (of|by) (my|him|her) [husband|wife|partner|boyfriend|girlfriend|father|dad|mother|mum|stepfather|brother|uncle|ex]',
    'terrified of what (comes|happens|he|she|they)',
  ),
  entry(
    'held-or-controlled',
    'abuse',
    0.6,
    '(lock|locked|locks|trapped|keeps|kept|held|tied|holding) me {1} (in|up|inside|here|captive|prisoner|hostage|down)',
    '(will not|does not|did not|do not|never|not) (let|allow|lets) me {1} (leave|go out|out|see|go|have|use|call|talk)',
    '(takes|took|checks|controls|hides|hid) my (phone|passport|keys|money|documents)',
  ),
  entry(
    'not-safe',
    'danger',
    0.65,
    '(not|never|no longer|un) {2} safe {1} (at home|here|with (him|her|them|my)|in my|around (him|her|them)|from|tonight|right now|on my own|alone|with myself)',
    'unsafe (at home|here|with|around)',
    '(i am|we are|my kids are|she is|he is|they are) in [real|immediate|serious|grave] danger',
    '(threatening|threatened|threatens) (us|me|to kill|to hurt|my (life|kids|children|family)|with)',
    '(someone|he|she|they) {2} (breaking in|broke in|breaking into|at the door with|following me|outside my|stalking me)',
    '(has|with|holding|pulled|pointing|pointed|waving) [a|the|his|her] (gun|knife|weapon) {5} (door|us|me|house|kids|home|outside|here)',
  ),
  entry(
    'medical-danger',
    'danger',
    0.55,
    '(bleeding|bled) {2} (badly|heavily|out|a lot|will not stop|everywhere)',
    '(not breathing|unconscious|can not wake (him|her|them))',
    '(losing|lost) {2} (consciousness|blood)',
    '(swallowed|took|taken|drank|injected) {6} (dizzy|drowsy|numb|scared|bleach|poison|fading|can not feel)',
  ),
];
