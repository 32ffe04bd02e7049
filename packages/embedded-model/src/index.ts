import { fileURLToPath } from 'node:url';

/**
 * The folder of the embedded demonstration model in Hugging Face's layout: `config.json`, `model.safetensors` (float16), `tokenizer.json`,
 * `tokenizer_config.json`, `generation_config.json`. Its weights are licensed CC BY-NC-SA 4.0; MODEL_CARD.md says what it cannot do.
 */
export const modelDirectory: string = fileURLToPath(new URL('../model', import.meta.url));
