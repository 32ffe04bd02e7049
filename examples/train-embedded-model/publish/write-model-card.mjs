// Writes MODEL_CARD.md and the loss curves from what the runs measured; nothing in the card is typed in by hand but its words.
// usage: node publish/write-model-card.mjs --base runs/base --chat runs/chat --lora runs/chat-lora --data runs/data --eval runs/eval --out packages/embedded-model
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { lossCurve, smooth } from './loss-curve.mjs';

const { values } = parseArgs({
  options: {
    base: { type: 'string', default: 'runs/base' },
    chat: { type: 'string', default: 'runs/chat' },
    lora: { type: 'string', default: 'runs/chat-lora' },
    data: { type: 'string', default: 'runs/data' },
    eval: { type: 'string', default: 'runs/eval' },
    out: { type: 'string', default: 'packages/embedded-model' },
    commit: { type: 'string', default: 'unknown' },
  },
});
const json = async (...path) => JSON.parse(await readFile(join(...path), 'utf8'));
const lines = async (...path) =>
  (await readFile(join(...path), 'utf8'))
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));

const [manifest, results, config, generation] = [
  await json(values.data, 'manifest.json'),
  await json(values.eval, 'results.json'),
  await json(values.out, 'model', 'config.json'),
  await json(values.out, 'model', 'generation_config.json'),
];
const bytes = (await stat(join(values.out, 'model', 'model.safetensors'))).size;
const stages = {
  base: {
    summary: await json(values.base, 'summary.json'),
    log: await lines(values.base, 'train.jsonl'),
    evaluations: await lines(values.base, 'evaluations.jsonl'),
  },
  chat: {
    summary: await json(values.chat, 'summary.json'),
    log: await lines(values.chat, 'train.jsonl'),
    evaluations: await lines(values.chat, 'evaluations.jsonl'),
  },
};

stages.lora = {
  summary: await json(values.lora, 'summary.json'),
  log: await lines(values.lora, 'train.jsonl'),
  evaluations: await lines(values.lora, 'evaluations.jsonl'),
};
const titles = { base: 'Base stage: text', chat: 'Chat stage: replies, all weights', lora: 'LoRA stage: replies' };

for (const [stage, { log, evaluations }] of Object.entries(stages)) {
  const svg = lossCurve({
    title: titles[stage],
    yLabel: 'nats per token',
    series: [
      {
        name: 'training',
        colour: '#4c78c9',
        points: smooth(log.map(({ step, crossEntropy }) => [step, crossEntropy])),
      },
      {
        name: 'validation',
        colour: '#d9822b',
        dots: true,
        points: evaluations.filter(({ set }) => set === 'all').map(({ step, nats }) => [step, nats]),
      },
    ],
  });
  await writeFile(join(values.out, `loss-${stage}.svg`), svg);
}

const minutes = (seconds) => `${Math.round(seconds / 60)} minutes`;
const task = (name) => results.tasks.find((each) => each.name === name);
const value = (metric, digits = 3) =>
  `${metric.value.toFixed(digits)}${metric.interval ? ` (${metric.interval.low.toFixed(digits)} to ${metric.interval.high.toFixed(digits)})` : ''}`;

function predictionRows() {
  return results.tasks
    .filter(({ name }) => name.startsWith('prediction of '))
    .flatMap(({ name, metrics }) => {
      const bits = metrics.filter((metric) => metric.name === 'bits per byte');
      return bits.map((metric) => {
        const perplexity = metrics.find((other) => other.name === 'perplexity' && other.group === metric.group);
        const set = name.replace('prediction of ', '').replace('.jsonl', '');
        return `| ${set} | ${metric.group ?? '**all**'} | ${metric.n} | ${value(metric)} | ${value(perplexity, 1)} |`;
      });
    });
}

function usageTables() {
  return results.tasks
    .filter(({ name }) => name.startsWith('expert usage on '))
    .flatMap(({ name, metrics }) => {
      const table = metrics.find(({ kind }) => kind === 'table');
      return [
        '',
        `${name.replace('expert usage on ', '').replace('.jsonl', '')}:`,
        '',
        `| source-assigned domain | n | ${table.columns.join(' | ')} |`,
        `| --- | --- |${' --- |'.repeat(table.columns.length)}`,
        ...table.rows.map(
          (row, r) =>
            `| ${row} | ${table.n[r]} | ${table.values[r].map((share) => `${(100 * share).toFixed(0)} %`).join(' | ')} |`,
        ),
      ];
    });
}

function crisisRows() {
  const sets = {
    dev: 'seen while tuning',
    'held-out': 'held out, written first',
    'held-out-new': '**held out, written last**',
  };
  return Object.entries(sets).map(([set, label]) => {
    const { metrics } = task(`crisis detection, ${set} sentences`);
    const rate = (name) => metrics.find((metric) => metric.name === name && metric.group === undefined);
    return `| ${label} | ${value(rate('sensitivity'))}, n ${rate('sensitivity').n} | ${value(rate('false alarm rate'))}, n ${rate('false alarm rate').n} |`;
  });
}

const stageTable = Object.entries(stages).map(([stage, { summary }]) => {
  const { result, parameters, backend } = summary;
  const { training, seed } = summary.config;
  return `| ${stage} | ${parameters.trainable.toLocaleString('en')} | ${result.step} of ${training.steps} (${result.reason}), best at ${result.best?.step ?? result.step} | ${result.tokens.toLocaleString('en')} | ${training.learningRate} | ${seed} | ${backend} | ${minutes(result.elapsedSeconds)} |`;
});

const sources = Object.entries(manifest.perSource)
  .filter(([, stagesOf]) => stagesOf.base || stagesOf.chat)
  .map(([name, { base, chat }]) => {
    const licence = {
      counsel_chat: 'MIT (the release; the texts are by users of counselchat.com)',
      openstax_psychology: 'CC BY-NC-SA 4.0',
      medquad_mental_health: 'CC BY 4.0',
      redditbias: 'MIT',
      toxigen_safenlp: 'CDLA-Permissive-2.0',
      hatemoji: 'CC BY 4.0',
    }[name];
    return licence && `| ${name} | ${licence} | ${base?.train ?? 0} | ${chat?.train ?? 0} |`;
  })
  .filter(Boolean);

const exchanges = task('sample exchanges').exchanges.flatMap(({ prompt, reply }) => [
  '',
  `> **${prompt}**`,
  '>',
  ...reply.split('\n').map((line) => `> ${line}`),
]);

const card = `---
license: cc-by-nc-sa-4.0
language: en
library_name: therapeutic-moe
tags: [mixture-of-experts, demonstration]
---

# Model card: therapeutic-moe-demo

A demonstration of the toolkit: a ${config.num_hidden_layers}-layer Mixture-of-Experts decoder with ${stages.base.summary.parameters.total.toLocaleString('en')} parameters, trained from
nothing by this repository's own trainer. **It is no substitute for care.** It does not understand anyone, states falsehoods in a confident tone, and must not be
used to advise, diagnose or treat. If you or someone near you is in danger, call your local emergency number, or find a helpline at <https://findahelpline.com>.

## What it cannot do

- Give facts or advice to rely on: it has seen a few megabytes of text and recombines them.
- Notice a crisis. A separate detector runs in front of it and has its own measured errors, below.
- Hold a conversation over many turns, speak other languages than English, calculate, or remember anyone.
- Show that routing by domain helps: domains are assigned by the source of a text, so an expert may know a style rather than a subject.
- Be fair. Most of its rows, though a small share of what it was shown, are statements about groups of people with labels; it learnt to write such labels, not to judge.

## Configuration

| field | value |
| --- | --- |
| parameters | ${stages.base.summary.parameters.total.toLocaleString('en')} |
| layers, hidden, heads (key-value heads), head size | ${config.num_hidden_layers}, ${config.hidden_size}, ${config.num_attention_heads} (${config.num_key_value_heads}), ${config.head_dim} |
| experts, chosen per token, width of each | ${config.num_local_experts}, ${config.num_experts_per_tok}, ${config.intermediate_size} |
| vocabulary | ${config.vocab_size}, byte-level BPE trained on the training text |
| positions | ${config.max_position_embeddings} |
| stored as | ${config.dtype} safetensors, ${(bytes / 1e6).toFixed(1)} MB, Hugging Face's Mixtral layout |

Expert i stands for domain i: ${config.therapeutic_moe.domains.join(', ')}.

## Data and licences

Trained on these six sets only. Weights trained on OpenStax *Psychology 2e* carry its CC BY-NC-SA 4.0: not for commercial use, share alike.
\`esconv\` and \`annomi\` were kept out and serve as unseen dialogue below. The chat rows are part of the base stage too, in the chat template,
so that the template's tokens are learnt; then all weights, then a LoRA on attention, learn replies alone. The LoRA is merged into the shipped weights.

| source | licence | rows, text | rows, chat |
| --- | --- | --- | --- |
${sources.join('\n')}

Attribution: *Psychology 2e*, OpenStax, Rice University (changed: cut into pieces, cleaned); MedQuAD, Ben Abacha and Demner-Fushman 2019; Counsel Chat,
Bertagnolli 2020; RedditBias, Barikeri et al. 2021; ToxiGen, Hartvigsen et al. 2022, by way of SafeNLP; Hatemoji, Kirk et al. 2022.

## Training

| stage | trained | steps | counted tokens | learning rate | seed | backend | wall time |
| --- | --- | --- | --- | --- | --- | --- | --- |
${stageTable.join('\n')}

Machine: ${results.environment.machine}, Node ${results.environment.node}, no GPU, shared with other work while it trained. Code: commit ${values.commit}. A small auxiliary loss (weight ${stages.base.summary.config.auxiliary.domainSupervision})
teaches the router the source-assigned domains; another (${stages.base.summary.config.auxiliary.klBalance}) keeps the experts in use.

![Loss of the base stage](./loss-base.svg)

![Loss of the chat stage](./loss-chat.svg)

![Loss of the LoRA stage](./loss-lora.svg)

The commands stand in \`examples/train-embedded-model/README.md\`; the same seed gives the same losses on the same machine type.

## Prediction

Bits per byte, and perplexity := exp(mean nats per token), with 95 % intervals. Rows of \`base-test\` and \`chat-test\` were held out by question, module or
statement; of conversations the assistant's turns are scored. \`unseen-esconv\` and \`unseen-annomi\` are dialogues of sources that were never trained on.

| set | domain (by source) | rows | bits per byte | perplexity |
| --- | --- | --- | --- | --- |
${predictionRows().join('\n')}

## Expert usage by domain

Share of the experts' visits, averaged over layers and rows.
${usageTables().join('\n')}

## Crisis detection (not the model)

The detector of \`@therapeutic-moe/safety\` on invented sentences. One author wrote sentences and patterns, so only the last row, written after the last pattern,
says how it does on new wordings: it misses many.

| sentences | sensitivity | false alarm rate |
| --- | --- | --- |
${crisisRows().join('\n')}

## Ten unedited exchanges

Invented questions, sampling as in \`generation_config.json\` (guidance ${generation.guidance_scale}, temperature ${generation.temperature}), seed ${results.seed}. Not selected, not edited.
${exchanges.join('\n')}

---

Evaluated ${results.date.slice(0, 10)} on ${results.environment.backend}, weights ${results.environment.revision}.
`;
await writeFile(join(values.out, 'MODEL_CARD.md'), card);
console.log(join(values.out, 'MODEL_CARD.md'));
