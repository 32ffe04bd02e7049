#!/usr/bin/env node
// Trains the embedded model's tokenizer. Usage: node train-tokenizer.mjs --corpus FILE.jsonl --out DIR [--vocab 4096]
import { createReadStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { CHAT_SPECIAL_TOKENS, chatTokenizerConfig, trainBpe } from '@therapeutic-moe/tokenizer';

/** Writes tokenizer.json and tokenizer_config.json into `out`. */
export async function trainTokenizer({ corpus, out, vocabSize }) {
  const texts = [];
  for await (const line of createInterface({ input: createReadStream(corpus) }))
    if (line) texts.push(JSON.parse(line).text);
  const json = trainBpe(texts, { vocabSize, specialTokens: CHAT_SPECIAL_TOKENS });
  await mkdir(out, { recursive: true });
  await writeFile(join(out, 'tokenizer.json'), `${JSON.stringify(json)}\n`);
  await writeFile(join(out, 'tokenizer_config.json'), `${JSON.stringify(chatTokenizerConfig(512), null, 2)}\n`);
  return Object.keys(json.model.vocab).length;
}

if (process.argv[1] === import.meta.filename) {
  const { values } = parseArgs({
    options: {
      corpus: { type: 'string', default: 'runs/data/tokenizer-corpus.jsonl' },
      out: { type: 'string', default: 'runs/tokenizer' },
      vocab: { type: 'string', default: '4096' },
    },
  });
  const entries = await trainTokenizer({ corpus: values.corpus, out: values.out, vocabSize: Number(values.vocab) });
  console.log(`${values.out}: ${entries} entries`);
}
