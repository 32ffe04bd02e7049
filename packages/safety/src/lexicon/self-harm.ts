import { type CrisisPattern, entry } from './crisis-pattern.js';
import { OWN, SELF } from './words.js';

/** Hurting oneself. */
export const selfHarm: readonly CrisisPattern[] = [
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
    `(starve|starving|starved|bruise|bruising|choke|choking|scar|scarring|mutilate|mutilating|slap|slapping|stabbing) ${SELF}`,
    'deserve to {1} (hurt|suffer|bleed|be in pain|feel pain)',
  ),
  entry(
    'hurt-body',
    'self-harm',
    0.7,
    `(cut|cuts|cutting|burn|burns|burning|burned|slit|slitting|slash|slashed|slashing|scratch|scratched|scratching|carve|carved|carving|slice|slicing|sliced) {2} ${OWN} [own] (arm|arms|forearm|forearms|wrist|wrists|leg|legs|thigh|thighs|skin|stomach|body|veins|throat)`,
    '(until|till) (it|they|i) (bleed|bleeds|bled|see blood)',
    'until (it|my _|they|the skin) {1} (bleed|bleeds|bled|bleeding)',
    '(so hard|so deep) {2} (it|that it|i|they) (bled|bleed|bleeds|bruised)',
    '(bash|bashed|bashing|bang|banging|banged|slam|slamming|slammed) my (head|fist|fists|face|hand|hands|arm) {1} (against|on|into|in) {2} (wall|floor|door|desk|table)',
    '(hitting|punching|slapping) (my (own )?(head|face|legs|stomach)|the wall until)',
    '(cut|cuts|cutting) {1} (too deep|so deep|deeper|deep this time)',
    'not stop {1} bleeding',
    '(keeps|still|keep) bleeding',
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
    '(blade|blades|razor|razors|cutter|scissors|knife|lighter) {5} (only thing|helps|calms|relief|calling|for an hour|gave in|my skin|against my|to my skin)',
    '(feel|feeling|better|alive|real|calm|numb|relief|cope) {6} (when|after|by|until|unless|except when|without) [i am|i] (cut|cutting)',
    '(except|only|unless) when i {1} (cut|burn|hurt|bleed)',
    'relapsed {4} (clean|days|weeks|months|years|last night|again|cutting)',
    '(scars|cuts|wounds|marks) {2} (on|all over|up) my (arm|arms|wrist|wrists|legs|thighs|body|stomach)',
    '(want|need|have) to cut$',
  ),
];
