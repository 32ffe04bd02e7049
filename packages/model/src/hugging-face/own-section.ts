/** Name of the section of our own that a Hugging Face `config.json` may carry; other readers ignore it. */
export const OWN_SECTION = 'therapeutic_moe';
