import type { ListFileEntry } from '@huggingface/hub';

/** A file of a repository. */
export interface HubFile {
  /** Its name at the root of the repository. */
  readonly path: string;
  readonly bytes: number;
  /** SHA-256 of its content where the hub keeps it in large file storage, else git's SHA-1 of it as a blob. */
  readonly hash: { readonly kind: 'sha256' | 'git'; readonly hex: string };
}

/** Which files of a repository a model or an adapter needs. */
export interface NeededFiles {
  /** What says what the weights are; all of it is small. */
  readonly descriptions: readonly HubFile[];
  /** The weights where they are single files; else the index among the descriptions names their shards. */
  readonly weights: readonly HubFile[];
  /** Whether the index names more. */
  readonly sharded: boolean;
}

export const INDEX = 'model.safetensors.index.json';

/** What says what weights are, of a model and of an adapter. */
export const described: readonly string[] = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'chat_template.jinja',
  'adapter_config.json',
];

/**
 * Takes the files of a listing by name.
 *
 * @throws when a name in the listing would leave the folder that it is written to, or holds a control character.
 */
export function filesOf(listing: readonly ListFileEntry[]): Map<string, HubFile> {
  for (const { path } of listing) {
    if (path.split(/[/\\]/).some((part) => part === '..' || part === '') || /^[a-z]:/i.test(path))
      throw new Error(`pull: the listing names ${quoted(path)}, which would leave its folder; nothing was written.`);
    if (/\p{Cc}/u.test(path))
      throw new Error(`pull: the listing names ${quoted(path)}, with a control character; nothing was written.`);
  }
  const files = listing.filter(({ type, path }) => type === 'file' && !path.includes('/') && !path.includes('\\'));
  return new Map(
    files.map(({ path, size, oid, lfs }) => [
      path,
      {
        path,
        bytes: lfs?.size ?? size,
        hash: lfs ? { kind: 'sha256', hex: lfs.oid } : { kind: 'git', hex: oid ?? '' },
      },
    ]),
  );
}

/**
 * Chooses what a model or an adapter needs: never weights in pickle files, never a second copy of them in another layout.
 *
 * @param where names the repository in errors.
 * @throws when the repository holds neither, or no safetensors.
 */
export function neededFiles(files: ReadonlyMap<string, HubFile>, where: string): NeededFiles {
  const has = (path: string) => files.has(path);
  if (!has('config.json') && !has('adapter_config.json'))
    throw new Error(`pull: ${where} has neither config.json nor adapter_config.json: no model and no adapter to read.`);
  const sharded = has('config.json') && !has('model.safetensors') && has(INDEX);
  const weights = [
    ...(has('config.json') && !sharded ? ['model.safetensors'] : []),
    ...(has('adapter_config.json') ? ['adapter_model.safetensors'] : []),
  ];
  const missing = weights.filter((path) => !has(path) && !(path === 'model.safetensors' && has('adapter_config.json')));
  if (missing.length > 0) {
    const others = [...files.keys()].filter((path) => /\.(safetensors|bin|pt|pth|gguf|ckpt)$/.test(path)).slice(0, 3);
    throw new Error(
      `pull: ${where} has no ${missing[0]}${others.length > 0 ? `, only ${others.join(', ')}` : ''}; other formats are not read.`,
    );
  }
  const pick = (paths: readonly string[]) => paths.flatMap((path) => files.get(path) ?? []);
  return { descriptions: pick([...described, ...(sharded ? [INDEX] : [])]), weights: pick(weights), sharded };
}

/** A name of a server's choice as a terminal may show it. */
export function quoted(name: string): string {
  const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return JSON.stringify(name).replace(/[^ -~]/g, escaped);
}
