// Writes the trained model as the embedded one: float16 weights, tokenizer, generation defaults.
// usage: node publish/publish-weights.mjs --model runs/chat-lora/model --out packages/embedded-model/model
import { copyFile, mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { useBackend } from '@therapeutic-moe/backend';
import { loadModelDirectory, saveModelDirectory } from '@therapeutic-moe/model';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'runs/chat-lora/model' },
    out: { type: 'string', default: 'packages/embedded-model/model' },
  },
});
await mkdir(values.out, { recursive: true });
await useBackend('wasm');
const model = await loadModelDirectory(values.model);
await saveModelDirectory(model, values.out, { dtype: 'F16' });
for (const name of ['tokenizer.json', 'tokenizer_config.json']) {
  await copyFile(join(values.model, name), join(values.out, name));
}
const generation = {
  bos_token_id: model.config.bosTokenId,
  do_sample: true,
  eos_token_id: model.config.eosTokenId,
  guidance_scale: 2,
  max_new_tokens: 160,
  repetition_penalty: 1.1,
  temperature: 0.4,
  top_k: 20,
  top_p: 0.9,
};
await writeFile(join(values.out, 'generation_config.json'), `${JSON.stringify(generation, null, 2)}\n`);
model.dispose();
const { size } = await stat(join(values.out, 'model.safetensors'));
console.log(`${values.out}: ${(size / 1e6).toFixed(2)} MB of weights`);
