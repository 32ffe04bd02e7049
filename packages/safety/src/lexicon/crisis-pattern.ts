import { phrase } from '../phrase.js';

/** What a crisis signal speaks of. */
export type CrisisCategory =
  | 'ideation'
  | 'plan'
  | 'means'
  | 'self-harm'
  | 'hopelessness'
  | 'burden'
  | 'goodbye'
  | 'harm-to-others'
  | 'abuse'
  | 'danger';

/** One entry of the lexicon: any of its phrases raises the signal once. */
export interface CrisisPattern {
  readonly id: string;
  readonly category: CrisisCategory;
  /** Weight from 0 to 1: how sure a single match makes us, before context. */
  readonly weight: number;
  readonly phrases: readonly RegExp[];
}

/** Makes an entry of phrases in the notation of `phrase`. */
export const entry = (id: string, category: CrisisCategory, weight: number, ...sources: string[]): CrisisPattern => ({
  id,
  category,
  weight,
  phrases: sources.map(phrase),
});
