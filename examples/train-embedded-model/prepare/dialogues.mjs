import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'csv-parse/sync';
import * as text from './text.mjs';

// Unseen dialogue: for evaluation only, never written to a training file.

const strategies =
  /^\[(?:Questions?|Others?|Affirmation and Reassurance|Providing Suggestions(?: or Information)?|Self-disclosure|Reflection of feelings|Information|Restatement or Paraphrasing)\]\s*/iu;

/** Neighbouring turns of one speaker are one message. */
function toMessages(turns) {
  const messages = [];
  for (const { role, content } of turns) {
    const clean = text.removeMasks(text.normalise(content)).replace(/\s*\n\s*/gu, ' ');
    if (!clean) continue;
    if (messages.at(-1)?.role === role) messages.at(-1).content += ` ${clean}`;
    else messages.push({ role, content: clean });
  }
  return messages;
}

const toRow = (id, turns) => {
  const messages = toMessages(turns);
  return { id, domain: 'general_therapeutic', text: messages.map((message) => message.content).join('\n\n'), messages };
};

/** Rebuilds whole dialogues from sliding windows: utterances carry their number, and it falls back where a dialogue starts. */
export function rebuildEsconv(content) {
  const dialogues = [];
  let last = Number.POSITIVE_INFINITY;
  for (const line of content.split('\n').filter(Boolean)) {
    const window = line
      .split(/\s*EOS\s*/u)
      .filter(Boolean)
      .map((utterance) => {
        const [, , speaker, turn, said] = /^([\d.]+) ([01]) (\d+) ?([\s\S]*)$/u.exec(utterance) ?? [];
        return {
          role: speaker === '0' ? 'user' : 'assistant',
          turn: Number(turn),
          content: (said ?? '').replace(strategies, ''),
        };
      })
      .filter((utterance) => Number.isInteger(utterance.turn));
    const end = window.at(-1)?.turn ?? 0;
    if (end <= last) dialogues.push(new Map());
    for (const utterance of window) dialogues.at(-1).set(utterance.turn, utterance);
    last = end;
  }
  return dialogues.map((turns) => [...turns.values()].sort((a, b) => a.turn - b.turn));
}

/** ESConv's upstream dev and test dialogues. */
export async function readEsconv(folder) {
  const files = [];
  const rows = [];
  for (const part of ['dev', 'test']) {
    const file = join(folder, 'esconv', `${part}WithStrategy_short.tsv`);
    files.push(file);
    rebuildEsconv(await readFile(file, 'utf8')).forEach(
      (turns, i) => void rows.push(toRow(`esconv/${part}/${i}`, turns)),
    );
  }
  return { files, rows };
}

/** AnnoMI transcripts of high quality. */
export async function readAnnomi(folder) {
  const file = join(folder, 'annomi', 'AnnoMI-simple.csv');
  const transcripts = new Map();
  for (const row of parse(await readFile(file, 'utf8'), { columns: true, bom: true })) {
    if (row.mi_quality !== 'high') continue;
    const turns = transcripts.get(row.transcript_id) ?? [];
    turns.push({
      order: Number(row.utterance_id),
      role: row.interlocutor === 'client' ? 'user' : 'assistant',
      content: row.utterance_text,
    });
    transcripts.set(row.transcript_id, turns);
  }
  return {
    files: [file],
    rows: [...transcripts].map(([id, turns]) =>
      toRow(
        `annomi/${id}`,
        turns.sort((a, b) => a.order - b.order),
      ),
    ),
  };
}
