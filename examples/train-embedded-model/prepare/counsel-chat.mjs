import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'csv-parse/sync';
import { createGroups } from './split.mjs';
import * as text from './text.mjs';

/** Topics that data/README assigns to mental_health; every other topic is general_therapeutic. */
export const mentalHealthTopics = new Set([
  'depression',
  'anxiety',
  'trauma',
  'self-harm',
  'eating-disorders',
  'diagnosis',
  'substance-abuse',
  'addiction',
  'sleep-improvement',
  'grief-and-loss',
  'stress',
]);

const upstreamSplit = { train: 'train', val: 'validation', test: 'test' };
const referral =
  /\b(?:seek|find|contact|call|see|consult|reach out to|speak (?:to|with)|talk (?:to|with)|schedule|look for|visit|meet with)\b.{0,60}\b(?:therapist|counsell?or|psychologist|psychiatrist|professional|doctor|therapy|counsell?ing|hotline|appointment|consultation|office|website|my site|my book)\b/iu;
const advert =
  /\b(?:my (?:website|book|blog|practice|podcast|online course|office)|free consultation|contact me|call me|email me|sign up|subscribe)\b/iu;

/** True where at least half of a short answer's sentences only send the reader elsewhere, or it advertises. */
export function isReferralOnly(answer) {
  const all = text.sentences(answer.replace(/\n+/gu, ' '));
  const referring = all.filter((sentence) => referral.test(sentence)).length;
  return text.countWords(answer) < 70 && referring * 2 >= all.length;
}

function cleanAnswer(raw, drop) {
  const normal = text.separateSentences(text.normalise(raw));
  const words = text.countWords(normal);
  if (text.looksSpanish(normal)) return drop('not English');
  if (text.countMasks(normal) * 25 >= words && text.countMasks(normal) > 1) return drop('mostly links or masks');
  const kept = text
    .dropContactSentences(normal)
    .split('\n\n')
    .map((paragraph) =>
      text
        .sentences(paragraph)
        .filter((sentence) => !advert.test(sentence))
        .join(' '),
    )
    .filter(Boolean)
    .join('\n\n');
  const length = text.countWords(kept);
  if (length < 25) return drop('too short');
  if (length < words / 2) return drop('mostly links or adverts');
  if (isReferralOnly(kept)) return drop('referral only');
  return kept;
}

function cleanQuestion(title, body) {
  const [head, rest] = [title, body].map((part) => text.removeMasks(text.separateSentences(text.normalise(part))));
  const [headKey, restKey] = [head, rest].map(text.fingerprint);
  if (!restKey || headKey.includes(restKey)) return head;
  if (restKey.includes(headKey) || !headKey) return rest;
  return /[.!?]$/u.test(head) ? `${head} ${rest}` : `${head}. ${rest}`;
}

/** Question and answer pairs. `group` is the questionID (joined where two ids ask the same), `split` the upstream one. */
export async function readCounselChat(folder, count) {
  const file = join(folder, 'counsel_chat', '20200325_counsel_chat.csv');
  const rows = parse(await readFile(file, 'utf8'), { columns: true, bom: true });
  const groups = createGroups();
  for (const row of rows)
    groups.join(`id:${row.questionID}`, `text:${text.fingerprint(`${row.questionTitle} ${row.questionText}`)}`);
  const splits = new Map();
  const rank = { train: 0, validation: 1, test: 2 };
  for (const row of rows) {
    const group = groups.root(`id:${row.questionID}`);
    const split = upstreamSplit[row.split];
    if (!split) throw new Error(`counsel_chat: split must be train, val or test, got "${row.split}".`);
    if (!splits.has(group) || rank[split] > rank[splits.get(group)]) splits.set(group, split);
  }
  const topics = new Map();
  for (const row of rows) if (!topics.has(row.questionID)) topics.set(row.questionID, row.topic);
  const pairs = [];
  for (const [i, row] of rows.entries()) {
    const group = groups.root(`id:${row.questionID}`);
    const answer = cleanAnswer(row.answerText, (why) => void count(`counsel_chat: ${why}`));
    const question = cleanQuestion(row.questionTitle, row.questionText);
    if (!answer) continue;
    if (text.looksSpanish(question)) {
      count('counsel_chat: not English');
      continue;
    }
    const domain = mentalHealthTopics.has(topics.get(row.questionID)) ? 'mental_health' : 'general_therapeutic';
    pairs.push({
      id: `counsel_chat/${row.questionID}/${i}`,
      source: 'counsel_chat',
      group,
      domain,
      split: splits.get(group),
      question,
      answer,
    });
  }
  return { files: [file], pairs };
}
