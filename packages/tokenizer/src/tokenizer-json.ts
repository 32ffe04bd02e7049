/** A token that is matched as a whole, outside the merges: an entry of `added_tokens`. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
  readonly special: boolean;
}

/**
 * A `tokenizer.json` as {@link trainBpe} writes it: the part of Hugging Face's format that byte-level BPE uses. Field
 * names are the file's own.
 */
export interface TokenizerJson {
  readonly version: '1.0';
  readonly truncation: null;
  readonly padding: null;
  readonly added_tokens: readonly AddedToken[];
  readonly normalizer: null;
  readonly pre_tokenizer: object;
  readonly post_processor: object;
  readonly decoder: object;
  readonly model: {
    readonly type: 'BPE';
    readonly dropout: null;
    readonly unk_token: null;
    readonly continuing_subword_prefix: null;
    readonly end_of_word_suffix: null;
    readonly fuse_unk: boolean;
    readonly byte_fallback: boolean;
    readonly ignore_merges: boolean;
    /** Token → id. */
    readonly vocab: Readonly<Record<string, number>>;
    /** Pairs in the order they merge. */
    readonly merges: readonly (readonly [string, string])[];
  };
}
