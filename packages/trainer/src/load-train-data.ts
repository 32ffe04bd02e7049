import { type Conversation, chatData, chatEvaluation, encodeConversation, type TrainMessage } from './chat-data.js';
import type { DataSource } from './data-source.js';
import { type EvaluationSet, packedEvaluation, packedText, type TextDocument } from './packed-text.js';
import type { TrainConfig } from './train-config.js';
import { readTrainRows, type TrainRow } from './train-rows.js';
import { noDomain } from './trainable.js';

/** What loading data needs of a tokenizer. */
export interface TrainTokenizer {
  encode(text: string): ArrayLike<number>;
  encodeChat(messages: TrainMessage[], options: { addGenerationPrompt: boolean }): ArrayLike<number>;
  readonly eosTokenId: number | undefined;
  readonly padTokenId: number | undefined;
}

/** How much of a domain there is. */
export interface DomainSize {
  readonly rows: number;
  readonly tokens: number;
  readonly bytes: number;
}

/** Tokenised data of a run. */
export interface TrainData {
  readonly source: DataSource;
  /** One set per domain of the validation files; empty without such files. */
  readonly evaluation: Readonly<Record<string, EvaluationSet>>;
  readonly sizes: Readonly<Record<string, DomainSize>>;
  /** Conversations that were too long even without their history, left out. */
  readonly skipped: number;
  /** Conversations that lost their oldest messages. */
  readonly shortened: number;
  /** Of the files' bytes, so that a resumed run can tell that its data changed. */
  readonly sha256: { readonly train: string; readonly validation: string };
}

/**
 * Reads and tokenises the files of a config.
 *
 * @throws on a malformed row or an unknown domain, by file and line; on a tokenizer without an eos token.
 */
export async function loadTrainData(config: TrainConfig, tokenizer: TrainTokenizer): Promise<TrainData> {
  const { data, training, seed } = config;
  const { eosTokenId } = tokenizer;
  if (eosTokenId === undefined)
    throw new Error('data: the tokenizer names no eos token; documents and replies need one to end with.');
  const { rows, sha256 } = await readTrainRows(data.train, data.format);
  const held = await readTrainRows(data.validation, data.format);
  const domainWeights = data.domainWeights && weightsByIndex(data.domains, data.domainWeights);
  const shared = { batch: training.batchSize, seq: data.sequenceLength, seed, domainWeights };
  const hashes = { train: sha256, validation: held.sha256 };
  const kind =
    data.format === 'text' ? textKind(tokenizer, eosTokenId) : chatKind(tokenizer, eosTokenId, data.sequenceLength);
  const train = encodeRows(rows, data.domains, kind.encode);
  const validation = encodeRows(held.rows, data.domains, kind.encode);
  const sizes = sizesOf(train.items, data.domains);
  const unlabelled = train.items.filter((item) => item.domain === noDomain).length;
  checkWeights(data.domainWeights, sizes, { skipped: train.skipped, unlabelled });
  const names = [...new Set(validation.items.map((item) => item.domain))].sort((a, b) => a - b);
  const evaluation = Object.fromEntries(
    names.map((domain) => [
      data.domains[domain] ?? 'none',
      kind.evaluation(
        validation.items.filter((item) => item.domain === domain),
        {
          batch: training.batchSize,
          seq: data.sequenceLength,
          maxTokens: Math.ceil(data.maxValidationTokens / names.length),
        },
      ),
    ]),
  );
  return {
    source: kind.source(train.items, shared),
    evaluation,
    sizes,
    skipped: train.skipped,
    shortened: train.shortened,
    sha256: hashes,
  };
}

type Encoded = TextDocument | Conversation;
type Shared = { batch: number; seq: number; seed: number; domainWeights?: Record<number, number> };
type Encode = (row: TrainRow, domain: number) => { item: Encoded; dropped: number } | undefined;

interface Kind {
  encode: Encode;
  source(items: readonly Encoded[], shared: Shared): DataSource;
  evaluation(items: readonly Encoded[], shared: { batch: number; seq: number; maxTokens: number }): EvaluationSet;
}

const byteLength = (text: string) => new TextEncoder().encode(text).length;

function textKind(tokenizer: TrainTokenizer, eosTokenId: number): Kind {
  return {
    encode: ({ text = '', messages }, domain) => {
      // A conversation among texts is rendered whole: the template's tokens are learnt like any others.
      const ids = messages
        ? tokenizer.encodeChat([...messages], { addGenerationPrompt: false })
        : tokenizer.encode(text);
      const bytes = byteLength(messages ? messages.map((message) => message.content).join('') : text);
      return { item: { ids: Int32Array.from(ids), domain, bytes }, dropped: 0 };
    },
    source: (items, shared) => packedText(items, { ...shared, eosTokenId }),
    evaluation: (items, shared) => packedEvaluation(items, { ...shared, eosTokenId }),
  };
}

function chatKind(tokenizer: TrainTokenizer, eosTokenId: number, maxTokens: number): Kind {
  const padTokenId = tokenizer.padTokenId ?? eosTokenId;
  const encodeChat: TrainTokenizer['encodeChat'] = (messages, options) => tokenizer.encodeChat(messages, options);
  return {
    encode: ({ messages = [] }, domain) => {
      const encoded = encodeConversation(messages, { encodeChat, eosTokenId, maxTokens });
      return encoded && { item: { ...encoded, domain }, dropped: encoded.dropped };
    },
    source: (items, shared) => chatData(items as readonly Conversation[], { ...shared, padTokenId }),
    evaluation: (items, shared) => chatEvaluation(items as readonly Conversation[], { ...shared, padTokenId }),
  };
}

function encodeRows(rows: readonly TrainRow[], domains: readonly string[], encode: Encode) {
  const items: Encoded[] = [];
  let skipped = 0;
  let shortened = 0;
  for (const row of rows) {
    const domain = row.domain === undefined ? noDomain : domains.indexOf(row.domain);
    if (row.domain !== undefined && domain < 0)
      throw new Error(
        `data: ${row.at}: domain ${JSON.stringify(row.domain)} is not one of data.domains: ${domains.join(', ')}.`,
      );
    const encoded = encode(row, domain);
    if (!encoded) skipped += 1;
    else {
      items.push(encoded.item);
      if (encoded.dropped > 0) shortened += 1;
    }
  }
  return { items, skipped, shortened };
}

function checkWeights(
  weights: Readonly<Record<string, number>> | undefined,
  sizes: Readonly<Record<string, DomainSize>>,
  { skipped, unlabelled }: { skipped: number; unlabelled: number },
): void {
  if (!weights) return;
  for (const [domain, weight] of Object.entries(weights)) {
    if (weight > 0 && !sizes[domain]) {
      throw new Error(
        `config: data.domainWeights.${domain} is ${weight} but data.train has no usable row of it (${skipped} rows were too long); set it to 0 or add data.`,
      );
    }
  }
  if (unlabelled > 0) {
    throw new Error(
      `config: data.train has ${unlabelled} rows without a domain, which data.domainWeights cannot weigh; label them, take them out, or give no weights.`,
    );
  }
  for (const [domain, { rows }] of Object.entries(sizes)) {
    if (weights[domain] === undefined)
      throw new Error(
        `config: data.train has ${rows} rows of domain ${domain} but data.domainWeights gives it no weight; add one, 0 to leave it out.`,
      );
  }
}

const weightsByIndex = (domains: readonly string[], weights: Readonly<Record<string, number>>) =>
  Object.fromEntries(Object.entries(weights).map(([name, weight]) => [domains.indexOf(name), weight]));

function sizesOf(items: readonly Encoded[], domains: readonly string[]): Record<string, DomainSize> {
  const sizes: Record<string, { rows: number; tokens: number; bytes: number }> = {};
  for (const { ids, domain, bytes } of items) {
    const name = domains[domain] ?? 'none';
    sizes[name] ??= { rows: 0, tokens: 0, bytes: 0 };
    sizes[name].rows += 1;
    sizes[name].tokens += ids.length;
    sizes[name].bytes += bytes;
  }
  return sizes;
}
