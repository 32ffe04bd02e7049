// Shared pieces of phrases, in the notation of `phrase`.
export const ADVERB =
  '[just|really|only|simply|honestly|actually|kind of|kinda|sort of|so badly|fucking|desperately|sometimes|always]';
export const SELF = '(myself|himself|herself|themself|themselves)';
export const OWN = '(my|his|her|their)';
export const GONE =
  '(gone|dead|deceased|buried|not here any more|six feet under|not around|not here|not alive|no longer here|no longer around|no longer alive|no longer in it|no more|out of the way)';
export const ANY_MORE = '(any more|any longer|much longer)';
export const DRUGS =
  '(pills|tablets|meds|medication|medicine|painkillers|sleeping pills|sleeping tablets|capsules|benzos|xanax|valium|opioids|insulin|paracetamol|ibuprofen|tylenol|antidepressants|sedatives)';
export const GUN = '(gun|shotgun|rifle|pistol|revolver|handgun|firearm)';
export const HEIGHT =
  '(bridge|roof|rooftop|building|cliff|balcony|window|ledge|parking garage|car park|multi storey|terrace|viaduct|dam|crane|stairwell|scaffolding|overpass|tower)';
export const TRACKS =
  '(train|trains|tracks|train tracks|railway|bus|truck|lorry|car|cars|traffic|platform|motorway|highway)';
export const PERSON =
  '(he|she|they|husband|wife|partner|boyfriend|girlfriend|ex|dad|father|mum|mom|mother|stepdad|stepfather|stepmother|brother|sister|uncle|cousin|son|man|guy|someone|boss|who)';
export const TARGET =
  '(him|her|them|someone|people|everyone|others|you|the man|the woman|the guy|(my|his|her|their|our) [own|little|older|ex] _)';
