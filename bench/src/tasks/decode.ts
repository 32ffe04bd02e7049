import { type BackendName, useBackend } from '@therapeutic-moe/backend';
import { CausalLm } from '@therapeutic-moe/model';
import type { Timing } from '../comparison.js';
import { bytesPerToken, type DecodeInput } from '../decode.js';
import { timing } from '../measure.js';
import { randomIds } from '../random-ids.js';

/** Greedy decoding with our session. Weights are random, so every token is decoded, no end token stops it. */
export async function decodeOurs(input: DecodeInput & { readonly backend: BackendName }): Promise<Timing> {
  const { backend, model: config, prompt, tokens } = input;
  const { kernels } = await useBackend(backend);
  const model = CausalLm.create(config, 7);
  const times: number[] = [];
  for (const timed of [false, true]) {
    const session = model.createSession();
    let { logits } = await session.append([...randomIds(prompt, config.vocabSize)]);
    for (let i = 0; i < tokens; i++) {
      const start = performance.now();
      ({ logits } = await session.append([indexOfGreatest(logits)]));
      if (timed) times.push(performance.now() - start);
    }
    session.dispose();
  }
  const found = timing(times);
  const rate = bytesPerToken(input) / 1e6 / found.medianMs; // bytes per millisecond / 1e6 = GB/s
  return { ...found, detail: `kernels ${kernels}, ${rate.toFixed(1)} GB/s` };
}

function indexOfGreatest(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  return best;
}
