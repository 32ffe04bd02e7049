/** What a sentence stands for: risk said openly, risk said around, an idiom that only sounds like risk, ordinary talk. */
export type CrisisSentenceKind = 'explicit' | 'indirect' | 'figurative' | 'everyday';

/** One labelled sentence of the crisis set. All of them are invented by this project; none comes from a person or a data set. */
export interface CrisisSentence {
  /** Stable name, for example `held-out/indirect/07`. */
  readonly id: string;
  /** `dev` may be looked at while patterns are written; `held-out` only measures. */
  readonly split: 'dev' | 'held-out';
  readonly kind: CrisisSentenceKind;
  /** `crisis` for explicit and indirect risk, `safe` for the rest. */
  readonly label: 'crisis' | 'safe';
  readonly text: string;
}

/** Numbers the lines of one kind and gives them their label. `batch` begins the ids; it is the split when absent. */
export function sentencesOf(
  split: CrisisSentence['split'],
  kind: CrisisSentenceKind,
  texts: readonly string[],
  batch: string = split,
): CrisisSentence[] {
  const label = kind === 'explicit' || kind === 'indirect' ? 'crisis' : 'safe';
  return texts.map((text, index) => ({
    id: `${batch}/${kind}/${String(index + 1).padStart(2, '0')}`,
    split,
    kind,
    label,
    text,
  }));
}
