import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
// @ts-expect-error: plain scripts without declarations
import { isReferralOnly } from './counsel-chat.mjs';
// @ts-expect-error: plain scripts without declarations
import { rebuildEsconv } from './dialogues.mjs';
// @ts-expect-error: plain scripts without declarations
import { definedTerm, readModule } from './openstax.mjs';
// @ts-expect-error: plain scripts without declarations
import { prepare } from './prepare.mjs';
// @ts-expect-error: plain scripts without declarations
import { dropContactSentences, normalise, separateSentences, truncateAtSentence } from './text.mjs';

interface Row {
  id: string;
  domain: string;
  text?: string;
  messages?: { role: string; content: string }[];
}

// Everything below is invented.
const advice = (topic: string, n: number) =>
  `Thank you for writing about ${topic}.It helps to name what happened on day ${n} and to notice how your body answers. Many people find that a walk, a plan for the evening and one honest talk make the next morning lighter. My number is [PHONE]. Read more at www.example.org today. Be patient with yourself.`;
const prose = (subject: string) =>
  `${subject} is a slow change in how attention moves between the senses and memory (Example, 2011). It was first described in a small study of sailors who slept in shifts. Later work found the same pattern in bakers and nurses.`;

let folder: string;
let data: string;
let out: string;
let manifest: { files: Record<string, { rows: number }>; dropped: Record<string, number> };

const csv = (header: string[], rows: (string | number)[][]) =>
  [header, ...rows].map((row) => row.map((cell) => `"${String(cell).replaceAll('"', '""')}"`).join(',')).join('\n');
const rowsOf = async (name: string): Promise<Row[]> =>
  (await readFile(join(out, name), 'utf8'))
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prepare-'));
  data = join(folder, 'data');
  out = join(folder, 'out');
  const write = async (path: string, content: string) => {
    await mkdir(join(data, path, '..'), { recursive: true });
    await writeFile(join(data, path), content);
  };
  const counsel = Array.from({ length: 12 }, (_, i) => [
    `q${i}`,
    `Question ${i}?`,
    `I have a worry of kind ${i}.`,
    i % 2 ? 'anxiety' : 'marriage',
    advice(`worry ${i}`, i),
    i < 8 ? 'train' : i < 10 ? 'val' : 'test',
  ]);
  counsel.push(['q99', 'Question 9?', 'I have a worry of kind 9.', 'anxiety', advice('another worry', 77), 'train']); // the text of a held-out question
  counsel.push(['q98', 'A copy?', 'Is this answered before?', 'anxiety', advice('worry 11', 11), 'train']); // the answer of a test question
  await write(
    'counsel_chat/20200325_counsel_chat.csv',
    csv(['questionID', 'questionTitle', 'questionText', 'topic', 'answerText', 'split'], counsel),
  );
  const modules = Array.from({ length: 20 }, (_, i) => ({
    module: `m${i}`,
    title: `Topic ${i}`,
    text: [
      'By the end of this section, you will be able to:',
      'Name it',
      prose(`Drift kind ${'abcdefghijklmnopqrst'[i]}`),
      'Review Questions',
      'A question nobody should learn?',
      'Critical Thinking Questions',
      `Why does drift ${i} matter?`,
      `Answers will vary. It matters because case ${i} shows that attention is limited and that rest restores a good part of it.`,
    ].join('\n'),
  }));
  await write(
    'openstax_psychology/derived_psychology2e_text.jsonl',
    modules.map((row) => JSON.stringify(row)).join('\n'),
  );
  const facts = Array.from({ length: 6 }, (_, i) => ({
    focus: `Theme ${i}`,
    question: `What is (are) Theme ${i} ?`,
    answer: `Theme ${i} is a made-up condition. ${prose(`Theme ${i}`).replace(' (Example, 2011)', '')}`,
  }));
  await write(
    'medquad_mental_health/derived_medquad_mental_health.jsonl',
    facts.map((row) => JSON.stringify(row)).join('\n'),
  );
  for (const name of ['gender_female', 'orientation_lgbtq', 'race_black', 'religion1_jews', 'religion2_muslims']) {
    const comments = Array.from({ length: 10 }, (_, i) => [`a ${name} remark of sort ${i}`, i % 2]);
    await write(
      `redditbias/reddit_comments_${name}_processed_phrase_annotated.csv`,
      csv(['comment', 'bias_sent'], comments),
    );
  }
  await write(
    'toxigen_safenlp/toxiGen.json',
    JSON.stringify(
      Array.from({ length: 10 }, (_, i) => ({
        id: i,
        text: `statement number ${i} about people`,
        label: i % 2 ? 'hate' : 'neutral',
        target_groups: ['mexican', 'latino'],
      })),
    ),
  );
  for (const [part, first] of [
    ['train', 0],
    ['validation', 8],
    ['test', 10],
  ] as const) {
    const rows = Array.from({ length: part === 'train' ? 8 : 2 }, (_, i) => [
      first + i,
      `emoji text ${first + i} here`,
      (first + i) % 2,
      "['wom']",
      (first + i) ^ 1,
    ]);
    await write(
      `hatemoji/HatemojiBuild_${part}.csv`,
      csv(['entry_id', 'text', 'label_gold', 'target', 'matched_id'], rows),
    );
  }
  for (const part of ['dev', 'test'])
    await write(
      `esconv/${part}WithStrategy_short.tsv`,
      `1.0 0 0 Hello ${part} there EOS 1.0 1 1 [Question] How are you ${part}?\n`,
    );
  await write(
    'annomi/AnnoMI-simple.csv',
    csv(
      ['transcript_id', 'mi_quality', 'utterance_id', 'interlocutor', 'utterance_text'],
      [
        [1, 'high', 1, 'client', 'Well now.'],
        [1, 'high', 0, 'therapist', 'Good day.'],
        [2, 'low', 0, 'therapist', 'No.'],
      ],
    ),
  );
  manifest = await prepare({ data, out, seed: 7 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('prepare', () => {
  it('keeps a question that is asked under two ids in the more held-out split', async () => {
    const ids = (rows: Row[]) => rows.map((row) => row.id.split('/')[1]);
    expect(ids(await rowsOf('chat-validation.jsonl'))).toEqual(expect.arrayContaining(['q8', 'q9', 'q99']));
    expect(ids(await rowsOf('chat-train.jsonl'))).not.toContain('q99');
  });

  it('drops the training copy of a held-out answer', async () => {
    expect((await rowsOf('chat-train.jsonl')).map((row) => row.id.split('/')[1])).not.toContain('q98');
    expect(manifest.dropped['chat: duplicate across splits (counsel_chat)']).toBe(1);
  });

  it('leaves no mask, address or glued sentence in any row', async () => {
    for (const name of Object.keys(manifest.files)) {
      for (const row of await rowsOf(name)) {
        const text = row.text ?? row.messages?.map((message) => message.content).join('\n') ?? '';
        expect(text, row.id).not.toMatch(/\[[A-Z]+\]|www\.|[a-z]{2}\.[A-Z]|\(Example|Review Questions|nobody should/);
      }
    }
  });

  it('assigns domains by source and by topic, and names the target group of biased text', async () => {
    const rows = [
      ...(await rowsOf('chat-train.jsonl')),
      ...(await rowsOf('chat-validation.jsonl')),
      ...(await rowsOf('chat-test.jsonl')),
    ];
    const domainOf = (id: string) => rows.find((row) => row.id.startsWith(id))?.domain;
    expect([
      domainOf('counsel_chat/q1/'),
      domainOf('counsel_chat/q2/'),
      domainOf('openstax/'),
      domainOf('toxigen/'),
    ]).toEqual(['mental_health', 'general_therapeutic', 'psychology', 'bias_detection']);
    for (const row of rows.filter((one) => one.id.startsWith('toxigen/')))
      expect(row.messages?.[1].content).toContain('Mexican people');
    expect(rows.find((row) => row.id.includes('/thinking/'))?.messages?.[1].content).toMatch(/^It matters because/);
  });

  it('keeps an original and its perturbation together and unseen dialogue apart', async () => {
    const train = (await rowsOf('base-train.jsonl')).map((row) => row.id);
    for (let i = 0; i < 12; i += 2) expect(train.includes(`hatemoji/${i}`)).toBe(train.includes(`hatemoji/${i + 1}`));
    expect(train.some((id) => /esconv|annomi/.test(id))).toBe(false);
    expect((await rowsOf('unseen-annomi.jsonl')).map((row) => row.messages?.map((message) => message.role))).toEqual([
      ['assistant', 'user'],
    ]);
    expect(manifest.files['unseen-esconv.jsonl'].rows).toBe(2);
  });

  it('gives the same files again, and a manifest without rows', async () => {
    const before = await readFile(join(out, 'manifest.json'), 'utf8');
    await prepare({ data, out, seed: 7 });
    expect(await readFile(join(out, 'manifest.json'), 'utf8')).toBe(before);
    expect(before).not.toMatch(/worry|remark of sort|statement number/);
  });
});

describe('cleaning', () => {
  it('separates glued sentences but not abbreviations and numbers', () => {
    expect(separateSentences('I was sad.Then I slept.You know?Yes')).toBe('I was sad. Then I slept. You know? Yes');
    expect(separateSentences('About 3.5 hours, e.g. at night')).toBe('About 3.5 hours, e.g. at night');
  });

  it('normalises quotes, dashes and spaces', () => {
    expect(normalise('It’s\u00a0“fine” — really…\r\n\r\n\r\nyes ')).toBe('It\'s "fine" - really...\n\nyes');
  });

  it('drops sentences with contacts and cuts at a sentence end', () => {
    expect(dropContactSentences('Rest well. Call 555 123 4567 now. Dr. Who agrees.')).toBe(
      'Rest well. Dr. Who agrees.',
    );
    expect(truncateAtSentence('One two three. Four five six. Seven.', 6)).toBe('One two three. Four five six.');
  });

  it('tells a bare referral from advice', () => {
    expect(isReferralOnly('You should talk to a therapist. Please find a good counselor near you.')).toBe(true);
    expect(isReferralOnly('Write down what helps. Breathe slowly. Tell a friend. A therapist can help too.')).toBe(
      false,
    );
  });

  it('finds the term a sentence defines', () => {
    expect(definedTerm('Habituation is a decrease in response.')).toBe('habituation');
    expect(definedTerm('The amygdala is a structure of the brain.')).toBe('the amygdala');
    expect(definedTerm('This is a decrease in response.')).toBe('');
    expect(definedTerm('Sleep helps.')).toBe('');
  });

  it('cuts a module into sections before its questions', () => {
    const { sections } = readModule(
      'Rest',
      'A first long paragraph about rest that goes on.\nDeep Sleep\nIt comes in waves.\nReferences\nSomebody (1999).',
    );
    expect(sections.map((section: { heading: string }) => section.heading)).toEqual(['Rest', 'Deep Sleep']);
  });

  it('rebuilds dialogues from overlapping windows', () => {
    const dialogues = rebuildEsconv(
      '1.0 0 0 a EOS 1.0 1 1 [Question] b\n0.0 0 0 a EOS 0.0 1 1 [Question] b EOS 1.0 0 2 c EOS 1.0 1 3 d\n1.0 0 0 x EOS 1.0 1 1 y\n',
    );
    expect(dialogues.map((turns: { content: string }[]) => turns.map((turn) => turn.content).join(''))).toEqual([
      'abcd',
      'xy',
    ]);
  });
});
