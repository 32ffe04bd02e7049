import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { splitGroups } from './split.mjs';
import * as text from './text.mjs';

/** Question and answer pairs about mental health, split by topic (`focus`). */
export async function readMedquad(folder, seed, count) {
  const file = join(folder, 'medquad_mental_health', 'derived_medquad_mental_health.jsonl');
  const rows = (await readFile(file, 'utf8'))
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  const groups = rows.map((row) => text.fingerprint(row.focus));
  const splits = splitGroups(groups, `${seed}:medquad`, { validation: 0.08, test: 0.08 });
  const seen = new Set();
  const pairs = [];
  for (const [i, row] of rows.entries()) {
    const question = text
      .normalise(row.question)
      .replace(/ \(are\)/u, '')
      .replace(/ ([?.,])/gu, '$1');
    const answer = text.dropContactSentences(text.separateSentences(text.normalise(row.answer)));
    if (text.countWords(answer) < 20 || seen.has(text.fingerprint(answer))) {
      count(`medquad_mental_health: ${text.countWords(answer) < 20 ? 'too short' : 'repeated answer'}`);
      continue;
    }
    seen.add(text.fingerprint(answer));
    pairs.push({
      id: `medquad/${i}`,
      source: 'medquad_mental_health',
      group: groups[i],
      domain: 'mental_health',
      split: splits.get(groups[i]),
      question,
      answer,
    });
  }
  return { files: [file], pairs };
}
