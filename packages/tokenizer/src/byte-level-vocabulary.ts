import { BYTE_ALPHABET, fromByteCharacters } from './byte-alphabet.js';

/** An added token, as far as reading needs it. */
export interface ReadAddedToken {
  readonly id: number;
  readonly content: string;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly special: boolean;
}

/** The checked content of a `tokenizer.json`. */
export interface ByteLevelVocabulary {
  /** Token text → id, added tokens included. */
  readonly ids: ReadonlyMap<string, number>;
  /** The bytes of each id; a hole where no token has the id. */
  readonly bytes: readonly (Uint8Array | undefined)[];
  readonly addedTokens: readonly ReadAddedToken[];
}

type Json = Record<string, unknown>;

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** True if a pre-tokenizer or decoder entry is, or holds, the step `ByteLevel`. */
function isByteLevel(step: unknown, list: 'pretokenizers' | 'decoders'): boolean {
  if (!isObject(step)) return false;
  if (step.type === 'ByteLevel') return true;
  const steps = step[list];
  return Array.isArray(steps) && steps.some((inner) => isByteLevel(inner, list));
}

function fail(field: string, expected: string, got: unknown): never {
  const shown = got === undefined ? 'nothing' : (JSON.stringify(got)?.slice(0, 120) ?? typeof got);
  throw new Error(`tokenizer: tokenizer.json: ${field}: expected ${expected}, got ${shown}.`);
}

function isId(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 26;
}

function readVocab(vocab: unknown): Map<string, number> {
  if (!isObject(vocab)) fail('model.vocab', 'an object of token → id', vocab);
  const ids = new Map<string, number>();
  const taken = new Map<number, string>();
  for (const [token, id] of Object.entries(vocab)) {
    if (!isId(id)) fail(`model.vocab[${JSON.stringify(token)}]`, 'an id from 0 up', id);
    const other = taken.get(id);
    if (other !== undefined) {
      fail(`model.vocab[${JSON.stringify(token)}]`, `an id of its own (${JSON.stringify(other)} has ${id})`, id);
    }
    taken.set(id, token);
    ids.set(token, id);
  }
  if (ids.size === 0) fail('model.vocab', 'at least one token', vocab);
  return ids;
}

function checkMerges(merges: unknown, ids: ReadonlyMap<string, number>): void {
  if (!Array.isArray(merges)) fail('model.merges', 'a list of pairs', merges);
  merges.forEach((merge, i) => {
    const pair = typeof merge === 'string' ? merge.split(' ') : merge;
    if (!Array.isArray(pair) || pair.length !== 2 || !pair.every((part) => typeof part === 'string')) {
      fail(`model.merges[${i}]`, 'two tokens', merge);
    }
    for (const token of [pair[0], pair[1], pair[0] + pair[1]]) {
      if (!ids.has(token))
        fail(`model.merges[${i}]`, `tokens of the vocabulary (${JSON.stringify(token)} is not)`, merge);
    }
  });
}

function readAddedTokens(list: unknown): ReadAddedToken[] {
  if (list === undefined || list === null) return [];
  if (!Array.isArray(list)) fail('added_tokens', 'a list', list);
  return list.map((token, i) => {
    if (!isObject(token) || !isId(token.id) || typeof token.content !== 'string' || token.content === '') {
      fail(`added_tokens[${i}]`, '{id, content} with an id from 0 up and a text', token);
    }
    const { id, content } = token as { id: number; content: string };
    const flag = (name: string): boolean => token[name] === true;
    return { id, content, lstrip: flag('lstrip'), rstrip: flag('rstrip'), special: flag('special') };
  });
}

/**
 * Checks a `tokenizer.json` for everything this package relies on, and gives the bytes of each token.
 *
 * @throws an error that names the field, what was expected and what came.
 */
export function readVocabulary(json: Json): ByteLevelVocabulary {
  const { model } = json;
  if (!isObject(model) || model.type !== 'BPE') {
    fail('model.type', '"BPE", the only kind this package reads', isObject(model) ? model.type : model);
  }
  if (!isByteLevel(json.pre_tokenizer, 'pretokenizers')) {
    fail('pre_tokenizer', 'a ByteLevel step; only byte-level BPE is read', json.pre_tokenizer);
  }
  if (!isByteLevel(json.decoder, 'decoders')) {
    fail('decoder', 'a ByteLevel step; only byte-level BPE is read', json.decoder);
  }
  const ids = readVocab(model.vocab);
  for (const character of BYTE_ALPHABET) {
    if (!ids.has(character)) fail('model.vocab', `all 256 characters of the byte alphabet`, `none for "${character}"`);
  }
  checkMerges(model.merges, ids);
  const addedTokens = readAddedTokens(json.added_tokens);
  const added = new Map(addedTokens.map((token) => [token.content, token.id]));
  const bytes: (Uint8Array | undefined)[] = [];
  for (const [token, id] of ids) {
    if (added.has(token)) continue;
    bytes[id] = fromByteCharacters(token);
    if (!bytes[id]) fail(`model.vocab[${JSON.stringify(token)}]`, "characters of GPT-2's byte alphabet", token);
  }
  const encoder = new TextEncoder();
  addedTokens.forEach(({ id, content }, i) => {
    const known = ids.get(content);
    if ((known !== undefined && known !== id) || bytes[id]) {
      fail(`added_tokens[${i}].id`, `the id that only ${JSON.stringify(content)} has (${known ?? 'a free one'})`, id);
    }
    bytes[id] = encoder.encode(content);
    ids.set(content, id);
  });
  return { ids, bytes, addedTokens };
}
