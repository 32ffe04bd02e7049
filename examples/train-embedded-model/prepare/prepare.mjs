#!/usr/bin/env node
// Turns the source folders into the JSONL files of the two training stages. Usage: node prepare.mjs --data DIR --out DIR [--seed 7]
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { phraseBias, readBias } from './bias.mjs';
import { readCounselChat } from './counsel-chat.mjs';
import { readAnnomi, readEsconv } from './dialogues.mjs';
import { readMedquad } from './medquad.mjs';
import { derivePairs, groupParagraphs, readOpenstax } from './openstax.mjs';
import { hashFraction, pick } from './split.mjs';
import * as text from './text.mjs';

export const domains = ['psychology', 'mental_health', 'bias_detection', 'general_therapeutic'];

/** Shares of the windows (base stage) and of the conversations (chat stage) that training draws from each domain. */
export const domainWeights = {
  base: { psychology: 0.34, mental_health: 0.24, bias_detection: 0.14, general_therapeutic: 0.28 },
  chat: { psychology: 0.27, mental_health: 0.27, bias_detection: 0.14, general_therapeutic: 0.32 },
};

const answerWords = 180;
const questionWords = 120;

const definitionQuestions = [
  (x, be) => `What ${be} ${x}?`,
  (x, be) => `What ${be} ${x}?`,
  (x) => `Can you explain ${x}?`,
  (x) => `What is meant by ${x}?`,
  (x) => `Tell me about ${x}.`,
  (x, be) => `what ${be} ${x}`,
];
const sectionQuestions = [
  (x) => `Tell me about ${x}.`,
  (x) => `What should I know about ${x}?`,
  (x) => `Can you explain ${x}?`,
  (x) => `What does psychology say about ${x}?`,
];

function sectionQuestion(id, { subject }, seed) {
  if (/^(?:what|why|how|who|when|where|do|does|is|are|can)\b/iu.test(subject))
    return `${subject[0].toUpperCase()}${subject.slice(1).replace(/\?$/u, '')}?`;
  return pick(sectionQuestions, `${seed}:section`, id)(subject);
}

const conversation = (question, answer) => [
  { role: 'user', content: question },
  { role: 'assistant', content: answer },
];

const chatRow = (item, question, answer) => ({
  ...item,
  key: text.fingerprint(answer).split(' ').slice(0, 40).join(' '),
  messages: conversation(
    text.truncateAtSentence(question, questionWords),
    text.truncateAtSentence(answer, answerWords),
  ),
});

/** Rows of both stages from question and answer pairs: one base document per question, one conversation per answer. */
function fromPairs(pairs) {
  const documents = new Map();
  for (const pair of pairs) {
    const key = `${pair.source}|${pair.group}|${text.fingerprint(pair.question)}`;
    const open = documents.get(key);
    if (open) open.text += `\n\n${pair.answer}`;
    else
      documents.set(key, {
        id: pair.id,
        source: pair.source,
        domain: pair.domain,
        split: pair.split,
        text: `${pair.question}\n\n${pair.answer}`,
      });
  }
  return {
    base: [...documents.values()].map((row) => ({ ...row, key: text.fingerprint(row.text) })),
    chat: pairs.map(({ id, source, domain, split, question, answer }) =>
      chatRow({ id, source, domain, split }, question, answer),
    ),
  };
}

function fromModules(modules, seed) {
  const shared = { source: 'openstax_psychology', domain: 'psychology' };
  const base = modules.flatMap((module) =>
    groupParagraphs(module.sections).map((piece, i) => ({
      ...shared,
      id: `openstax/${module.id}/${i}`,
      split: module.split,
      text: piece,
      key: text.fingerprint(piece),
    })),
  );
  const chat = modules.flatMap((module) =>
    derivePairs(module).map((pair, i) => {
      const id = `openstax/${module.id}/${pair.kind}/${i}`;
      const be = pair.question.startsWith('What are') ? 'are' : 'is';
      const question =
        pair.kind === 'definition'
          ? pick(definitionQuestions, `${seed}:definition`, id)(pair.subject, be)
          : pair.kind === 'section'
            ? sectionQuestion(id, pair, seed)
            : pair.question;
      return chatRow({ ...shared, id, split: module.split }, question, pair.answer);
    }),
  );
  return { base, chat };
}

function fromBias(rows, seed) {
  const phrased = rows.map((row) => ({ row, ...phraseBias(row, seed) }));
  const item = ({ row }) => ({
    id: row.id,
    source: row.source,
    domain: 'bias_detection',
    split: row.split,
    key: row.key,
  });
  return {
    base: phrased.map((one) => ({ ...item(one), text: `${one.question}\n\n${one.answer}` })),
    chat: phrased.map((one) => ({ ...item(one), messages: conversation(one.question, one.answer) })),
  };
}

/** One of each key; where a key stands in several splits, the held-out copy stays and the training copy goes. */
function removeDuplicates(rows, stage, count) {
  const rank = { test: 0, validation: 1, train: 2 };
  const owner = new Map();
  for (const row of [...rows].sort((a, b) => rank[a.split] - rank[b.split]))
    if (!owner.has(row.key)) owner.set(row.key, row);
  return rows.filter((row) => {
    if (owner.get(row.key) === row) return true;
    count(`${stage}: duplicate ${owner.get(row.key).split === row.split ? 'within' : 'across'} splits (${row.source})`);
    return false;
  });
}

const bytesOf = (row) => Buffer.byteLength(row.text ?? row.messages.map((message) => message.content).join('\n'));
const shuffled = (rows, seed) =>
  [...rows].sort((a, b) => hashFraction(`${seed}:order`, a.id) - hashFraction(`${seed}:order`, b.id));

async function writeRows(out, name, rows) {
  const lines = rows
    .map(
      ({ id, domain, text: body, messages }) =>
        `${JSON.stringify({ id, domain, ...(body === undefined ? {} : { text: body }), ...(messages ? { messages } : {}) })}\n`,
    )
    .join('');
  await writeFile(join(out, name), lines);
  const perDomain = Object.fromEntries(
    domains.map((domain) => {
      const own = rows.filter((row) => row.domain === domain);
      return [domain, { rows: own.length, bytes: own.reduce((sum, row) => sum + bytesOf(row), 0) }];
    }),
  );
  return {
    rows: rows.length,
    bytes: rows.reduce((sum, row) => sum + bytesOf(row), 0),
    sha256: createHash('sha256').update(lines).digest('hex'),
    domains: perDomain,
  };
}

/** The text a tokenizer learns from: every domain in equal parts by bytes, training rows only. */
function selectTokenizerCorpus(rows, bytesPerDomain) {
  return domains.flatMap((domain) => {
    let bytes = 0;
    return rows.filter((row) => {
      if (row.domain !== domain || bytes >= bytesPerDomain) return false;
      bytes += bytesOf(row);
      return true;
    });
  });
}

/** Reads the sources in `data`, writes the files into `out` and returns the manifest (counts and hashes, no rows). */
export async function prepare({ data, out, seed = 7 }) {
  const dropped = {};
  const count = (why) => {
    dropped[why] = (dropped[why] ?? 0) + 1;
  };
  const counsel = await readCounselChat(data, count);
  const medquad = await readMedquad(data, seed, count);
  const openstax = await readOpenstax(data, seed, count);
  const bias = await readBias(data, seed, count);
  const esconv = await readEsconv(data);
  const annomi = await readAnnomi(data);

  const stages = [
    fromPairs(counsel.pairs),
    fromPairs(medquad.pairs),
    fromModules(openstax.modules, seed),
    fromBias(bias.rows, seed),
  ];
  const base = shuffled(
    removeDuplicates(
      stages.flatMap((stage) => stage.base),
      'base',
      count,
    ),
    seed,
  );
  const chat = shuffled(
    removeDuplicates(
      stages.flatMap((stage) => stage.chat).filter((row) => row.messages.every((message) => message.content)),
      'chat',
      count,
    ),
    seed,
  );

  await mkdir(out, { recursive: true });
  const files = {};
  for (const [stage, rows] of Object.entries({ base, chat })) {
    for (const split of ['train', 'validation', 'test']) {
      files[`${stage}-${split}.jsonl`] = await writeRows(
        out,
        `${stage}-${split}.jsonl`,
        rows.filter((row) => row.split === split),
      );
    }
  }
  const held = new Set([...base, ...chat].map((row) => row.key));
  const unseen = (rows) => rows.filter((row) => row.text && !held.has(text.fingerprint(row.text)));
  files['unseen-esconv.jsonl'] = await writeRows(out, 'unseen-esconv.jsonl', unseen(esconv.rows));
  files['unseen-annomi.jsonl'] = await writeRows(out, 'unseen-annomi.jsonl', unseen(annomi.rows));
  files['tokenizer-corpus.jsonl'] = await writeRows(
    out,
    'tokenizer-corpus.jsonl',
    selectTokenizerCorpus(
      base.filter((row) => row.split === 'train'),
      1_000_000,
    ),
  );

  const sources = {};
  for (const file of [counsel, medquad, openstax, bias, esconv, annomi].flatMap((source) => source.files)) {
    sources[`${basename(dirname(file))}/${basename(file)}`] = {
      sha256: createHash('sha256')
        .update(await readFile(file))
        .digest('hex'),
    };
  }
  const perSource = {};
  for (const [stage, rows] of Object.entries({ base, chat }))
    for (const row of rows) {
      perSource[row.source] ??= {};
      perSource[row.source][stage] ??= { train: 0, validation: 0, test: 0 };
      perSource[row.source][stage][row.split] += 1;
    }
  const manifest = {
    seed,
    domains,
    domainAssignment: 'by source, and for counsel_chat by topic; no source carries domain labels',
    splitMethod: {
      counsel_chat:
        'by questionID, the split column of the file (val = validation); ids with the same question text are one group and go to the most held-out split among them',
      openstax_psychology:
        'by module, 5% validation and 4% test by seeded hash; chapter introductions stay in train; the preface is dropped, review questions, references and key terms are cut off',
      medquad_mental_health: 'by topic (focus), 8% validation and 8% test by seeded hash',
      redditbias: 'by normalised text, 4% validation and 4% test by seeded hash',
      toxigen_safenlp: 'by normalised text, 4% validation and 4% test by seeded hash',
      hatemoji: 'the Build split of the files; an original and its perturbation share a split',
      unseen: 'esconv (dev and test dialogues) and annomi (high quality) are for evaluation only',
    },
    duplicates:
      'exact after normalising (lower case, letters, digits and emoji); chat answers also by their first 40 words; the training copy is dropped when a held-out copy exists',
    domainWeights,
    limits: { answerWords, questionWords },
    sources,
    perSource,
    dropped: Object.fromEntries(Object.entries(dropped).sort(([a], [b]) => (a < b ? -1 : 1))),
    files,
  };
  await writeFile(join(out, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  return manifest;
}

if (process.argv[1] === import.meta.filename) {
  const { values } = parseArgs({
    options: {
      data: { type: 'string', default: process.env.TMOE_DATA },
      out: { type: 'string', default: 'runs/data' },
      seed: { type: 'string', default: '7' },
    },
  });
  if (!values.data)
    throw new Error(
      'prepare: --data DIR (or TMOE_DATA) must name the folder that holds counsel_chat, openstax_psychology and the other sources.',
    );
  const manifest = await prepare({ data: values.data, out: values.out, seed: Number(values.seed) });
  for (const [name, { rows, bytes, domains: per }] of Object.entries(manifest.files)) {
    console.log(
      `${name}: ${rows} rows, ${bytes} bytes; ${domains.map((domain) => `${domain} ${per[domain].rows}/${per[domain].bytes}`).join(', ')}`,
    );
  }
}
