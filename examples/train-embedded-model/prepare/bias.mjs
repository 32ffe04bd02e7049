import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'csv-parse/sync';
import { createGroups, pick, splitGroups } from './split.mjs';
import * as text from './text.mjs';

const redditFiles = {
  gender_female: 'women',
  orientation_lgbtq: 'LGBTQ people',
  race_black: 'Black people',
  religion1_jews: 'Jewish people',
  religion2_muslims: 'Muslim people',
};

const toxigenGroups = {
  'mental dis': 'people with a mental disability',
  'physical dis': 'people with a physical disability',
  women: 'women',
  lgbtq: 'LGBTQ people',
  black: 'Black people',
  jewish: 'Jewish people',
  muslim: 'Muslim people',
  'native-american': 'Native American people',
  asian: 'Asian people',
  chinese: 'Chinese people',
  mexican: 'Mexican people',
  latino: 'Latino people',
  'middle-eastern': 'Middle Eastern people',
};

const hatemojiGroups = {
  bla: 'Black people',
  african: 'African people',
  blaman: 'Black men',
  blawom: 'Black women',
  mus: 'Muslim people',
  muswom: 'Muslim women',
  wom: 'women',
  dis: 'people with a disability',
  jew: 'Jewish people',
  gay: 'gay people',
  gayman: 'gay men',
  gaywom: 'lesbian women',
  bis: 'bisexual people',
  lgbtqa: 'LGBTQ people',
  trans: 'transgender people',
  arab: 'Arab people',
  asi: 'Asian people',
  asiwom: 'Asian women',
  'asi.east': 'East Asian people',
  'asi.east.chin': 'Chinese people',
  'asi.south': 'South Asian people',
  'asi.south.pak': 'Pakistani people',
  immig: 'immigrants',
  ref: 'refugees',
  asy: 'asylum seekers',
  trav: 'Travellers',
  wc: 'working-class people',
  hisp: 'Hispanic people',
  mex: 'Mexican people',
  ethmin: 'ethnic minorities',
  'mix.race': 'people of mixed race',
  indig: 'Indigenous people',
  indigwom: 'Indigenous women',
  abo: 'Aboriginal people',
  ind: 'Indian people',
  indwom: 'Indian women',
  hind: 'Hindu people',
  sikh: 'Sikh people',
  for: 'foreigners',
};

const questions = [
  (t) => `Does this text carry bias against a group of people? Text: ${t}`,
  (t) => `Is the following statement biased against any group?\n\n${t}`,
  (t) => `Please check this sentence for prejudice: "${t}"`,
  (t) => `I read this online. Is it biased?\n\n${t}`,
  (t) => `Text: ${t}\n\nDoes it show bias or hostility towards a group?`,
  (t) => `Would you call this text prejudiced? ${t}`,
  (t) => `Look at this message and tell me whether it is biased: ${t}`,
  (t) => `Is there bias in this comment, and if so, against whom? Comment: ${t}`,
];

const answers = {
  biasNamed: [
    (g) => `Yes. The text carries bias against ${g}.`,
    (g) => `Yes, it is biased. The group it targets is ${g}.`,
    (g) => `Yes. It shows prejudice towards ${g}, and it could hurt people who belong to that group.`,
    (g) => `It does. The statement is hostile or demeaning towards ${g}.`,
    (g) => `Yes, I would call it prejudiced. It speaks about ${g} in a biased way.`,
    (g) => `Yes, there is bias in it, and it is directed against ${g}.`,
    (g) => `Yes. It treats ${g} unfairly, so I would mark it as biased.`,
    (g) => `This text is biased. It is aimed at ${g}.`,
  ],
  bias: [
    () => 'Yes. The text carries bias against a group of people.',
    () => 'Yes, it is biased, although the group is not named precisely.',
    () => 'Yes. It shows prejudice towards a group, and it could hurt people who belong to it.',
    () => 'It does. The statement is hostile or demeaning towards a group of people.',
    () => 'Yes, I would call it prejudiced.',
    () => 'Yes, there is bias in it.',
    () => 'Yes. It treats a group of people unfairly, so I would mark it as biased.',
    () => 'This text is biased against a group of people.',
  ],
  neutralNamed: [
    (g) => `No. The text mentions ${g}, but it does not carry bias against them.`,
    (g) => `No, I see no bias here. It speaks about ${g} without demeaning them.`,
    (g) => `No. It refers to ${g}, and nothing in it is prejudiced.`,
    (g) => `It does not. The statement is about ${g} and is not hostile towards them.`,
    (g) => `No, I would not call it prejudiced, although it talks about ${g}.`,
    (g) => `No, there is no clear bias in it. The group it mentions is ${g}.`,
    (g) => `No. It treats ${g} fairly, so I would not mark it as biased.`,
    (g) => `This text is not biased. It mentions ${g} in a neutral way.`,
  ],
  neutral: [
    () => 'No. The text does not carry bias against a group of people.',
    () => 'No, I see no bias here.',
    () => 'No. Nothing in it is prejudiced towards a group.',
    () => 'It does not. The statement is not hostile towards any group.',
    () => 'No, I would not call it prejudiced.',
    () => 'No, there is no clear bias in it.',
    () => 'No. It does not treat a group unfairly, so I would not mark it as biased.',
    () => 'This text is not biased against a group of people.',
  ],
};

/** One classification exchange; the template depends on the seed and the id only. */
export function phraseBias({ id, text: statement, biased, group }, seed) {
  const kind = biased ? (group ? 'biasNamed' : 'bias') : group ? 'neutralNamed' : 'neutral';
  return { question: pick(questions, `${seed}:q`, id)(statement), answer: pick(answers[kind], `${seed}:a`, id)(group) };
}

const list = (names) => (names.length < 2 ? (names[0] ?? '') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`);
const parseList = (field) => [...field.matchAll(/'([^']+)'/gu)].map((found) => found[1]);

function toxigenTarget(groups) {
  const set = new Set(groups);
  if (set.has('chinese')) set.delete('asian');
  if (set.has('mexican')) set.delete('latino');
  return list(
    [...set]
      .sort()
      .map((name) => toxigenGroups[name] ?? '')
      .filter(Boolean),
  );
}

function hatemojiTarget(codes) {
  const names = codes.filter((code) => code !== 'none').map((code) => hatemojiGroups[code]);
  return names.every(Boolean) ? list([...new Set(names)]) : '';
}

/** The three bias sets as `{ id, text, biased, group, split }`, duplicates removed and related rows kept in one split. */
export async function readBias(folder, seed, count) {
  const rows = [];
  const files = [];
  for (const [name, group] of Object.entries(redditFiles)) {
    const file = join(folder, 'redditbias', `reddit_comments_${name}_processed_phrase_annotated.csv`);
    files.push(file);
    for (const [i, row] of parse(await readFile(file, 'utf8'), { columns: true, bom: true }).entries()) {
      if (row.bias_sent !== '0' && row.bias_sent !== '1') {
        count('redditbias: no label');
        continue;
      }
      rows.push({
        id: `redditbias/${name}/${i}`,
        source: 'redditbias',
        text: row.comment,
        biased: row.bias_sent === '1',
        group,
      });
    }
  }
  const toxigen = join(folder, 'toxigen_safenlp', 'toxiGen.json');
  files.push(toxigen);
  for (const row of JSON.parse(await readFile(toxigen, 'utf8'))) {
    rows.push({
      id: `toxigen/${row.id}`,
      source: 'toxigen_safenlp',
      text: row.text,
      biased: row.label === 'hate',
      group: toxigenTarget(row.target_groups),
    });
  }
  const upstream = { train: 'train', validation: 'validation', test: 'test' };
  for (const part of Object.keys(upstream)) {
    const file = join(folder, 'hatemoji', `HatemojiBuild_${part}.csv`);
    files.push(file);
    for (const row of parse(await readFile(file, 'utf8'), { columns: true, bom: true })) {
      rows.push({
        id: `hatemoji/${row.entry_id}`,
        source: 'hatemoji',
        text: row.text,
        biased: row.label_gold === '1',
        group: hatemojiTarget(parseList(row.target)),
        matched: row.matched_id ? `hatemoji/${row.matched_id}` : '',
        upstream: part,
      });
    }
  }
  return { files, rows: splitBias(rows, seed, count) };
}

function splitBias(rows, seed, count) {
  const groups = createGroups();
  const labels = new Map();
  for (const row of rows) {
    row.text = text.removeMasks(text.normalise(row.text)).replace(/\s*\n\s*/gu, ' ');
    row.key = text.fingerprint(row.text);
    groups.join(row.id, `text:${row.key}`);
    if (row.matched) groups.join(row.id, row.matched);
    labels.set(row.key, (labels.get(row.key) ?? new Set()).add(row.biased));
  }
  const roots = (source) => rows.filter((row) => row.source === source).map((row) => groups.root(row.id));
  const fractions = { validation: 0.04, test: 0.04 };
  const splits = new Map();
  for (const source of ['redditbias', 'toxigen_safenlp']) {
    for (const [group, split] of splitGroups(roots(source), `${seed}:${source}`, fractions))
      if (!splits.has(group)) splits.set(group, split);
  }
  const rank = { train: 0, validation: 1, test: 2 };
  for (const row of rows.filter((one) => one.upstream)) {
    const group = groups.root(row.id);
    if (!splits.has(group) || rank[row.upstream] > rank[splits.get(group)]) splits.set(group, row.upstream);
  }
  const seen = new Set();
  return rows.flatMap((row) => {
    if (row.key.length < 8) return count(`${row.source}: too short`) ?? [];
    if (labels.get(row.key).size > 1) return count(`${row.source}: contradictory labels`) ?? [];
    if (seen.has(row.key)) return count(`${row.source}: duplicate`) ?? [];
    if (text.countWords(row.text) > 120) return count(`${row.source}: too long`) ?? [];
    seen.add(row.key);
    return [{ ...row, split: splits.get(groups.root(row.id)) }];
  });
}
