// What other examples read of this one: the long texts of the recipe, split as the embedded model's were.
export { readAnnomi } from './dialogues.mjs';
export { readOpenstax } from './openstax.mjs';
