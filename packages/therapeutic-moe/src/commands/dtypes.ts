import type { SaveModelOptions } from '@therapeutic-moe/model';

/** What a checkpoint's weights are stored as. */
export type StoredDtype = NonNullable<SaveModelOptions['dtype']>;

/** Types of `--dtype` and what checkpoints call them. */
const dtypes = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' } as const;

/** @throws when `--dtype` names none. */
export function readDtype(text: string): StoredDtype {
  if (Object.hasOwn(dtypes, text)) return dtypes[text as keyof typeof dtypes];
  throw new Error(`--dtype must be float32, float16 or bfloat16, got '${text}'.`);
}

/** How `--dtype` calls it. */
export function dtypeName(dtype: StoredDtype): string {
  return Object.entries(dtypes).find(([, stored]) => stored === dtype)![0];
}
