import type { LongRopeScaling, RopeScaling, YarnScaling } from '@therapeutic-moe/attention';
import type { ModelConfig } from '../model-config.js';
import { requireObject } from '../require-object.js';

type Json = Readonly<Record<string, unknown>>;
type Types = 'default' | Exclude<RopeScaling['type'], 'none' | 'ntk'>;

/** A section of `config.json` with rotary settings, and what its fields are read with. */
interface RopeSection {
  /** A number, or nothing where it is absent or null. */
  number(field: string): number | undefined;
  /** @throws when it is absent. */
  required(field: string): number;
  /** @throws when it is none. */
  numbers(field: string): readonly number[];
  /** The length before stretching, of the section or of the file (Phi-3). @throws when it is absent. */
  original(): number;
  readonly truncate?: boolean;
  readonly maxPositions: number;
}

const readers: Readonly<Record<Types, (rope: RopeSection) => RopeScaling>> = {
  default: () => ({ type: 'none' }),
  linear: (rope) => ({ type: 'linear', factor: rope.required('factor') }),
  // transformers has no other field for the original length here.
  dynamic: (rope) => ({
    type: 'dynamic',
    factor: rope.required('factor'),
    originalMaxPositionEmbeddings: rope.maxPositions,
  }),
  yarn: readYarn,
  llama3: (rope) => ({
    type: 'llama3',
    factor: rope.required('factor'),
    originalMaxPositionEmbeddings: rope.original(),
    lowFreqFactor: rope.required('low_freq_factor'),
    highFreqFactor: rope.required('high_freq_factor'),
  }),
  longrope: readLongRope,
};

/**
 * Rotary settings of a `config.json`: `rope_parameters` (transformers 5), or `rope_theta` with `rope_scaling` (before),
 * which transformers prefers where a file has both; `type` is the old name of `rope_type`. A missing factor of `yarn` and
 * `longrope` is the ratio of the two lengths, as in transformers. A missing original length is refused: generations of
 * YaRN disagree about what to do then.
 *
 * @throws naming file and field.
 */
export function ropeFromHuggingFace(
  json: Json,
  fallbackTheta: number,
  file: string,
): { ropeTheta: number; ropeScaling: RopeScaling } {
  const [name, rope] = sectionOf(json, file);
  const nested = Object.keys(rope).find((key) => isObject(rope[key]) && !Array.isArray(rope[key]));
  if (nested) throw new Error(`${file}: ${name}.${nested} is set per layer type; one set for all is implemented.`);
  const share = rope.partial_rotary_factor ?? json.partial_rotary_factor ?? 1;
  if (share !== 1)
    throw new Error(`${file}: partial_rotary_factor is ${JSON.stringify(share)}, expected 1; heads turn whole.`);
  const theta = rope.rope_theta ?? json.rope_theta ?? fallbackTheta;
  if (typeof theta !== 'number') throw new Error(`${file}: rope_theta is ${JSON.stringify(theta)}, expected a number.`);
  const type = rope.rope_type ?? rope.type ?? 'default';
  if (typeof type !== 'string' || !Object.hasOwn(readers, type)) {
    const known = Object.keys(readers).join("', '");
    throw new Error(
      `${file}: rope_type is ${JSON.stringify(type)}, expected one of '${known}'; others are not implemented.`,
    );
  }
  return { ropeTheta: theta, ropeScaling: readers[type as Types](fieldsOf(json, rope, `${file}: ${name}`)) };
}

function sectionOf(json: Json, file: string): [name: string, rope: Json] {
  for (const name of ['rope_scaling', 'rope_parameters']) {
    const rope = requireObject(json[name] ?? {}, `${file}: ${name}`);
    if (Object.keys(rope).length > 0) return [name, rope];
  }
  return ['rope_parameters', {}];
}

function fieldsOf(json: Json, rope: Json, where: string): RopeSection {
  const refuse = (field: string, value: unknown, expected: string): never => {
    throw new Error(`${where}.${field} is ${JSON.stringify(value)}, expected ${expected}.`);
  };
  const number = (field: string, value: unknown = rope[field]): number | undefined =>
    (value ?? null) === null || typeof value === 'number'
      ? ((value as number | null) ?? undefined)
      : refuse(field, value, 'a number');
  const required = (field: string, value: unknown = rope[field]) =>
    number(field, value) ?? refuse(field, value, 'a number');
  const length = 'original_max_position_embeddings';
  return {
    number,
    required,
    numbers: (field) => (Array.isArray(rope[field]) ? rope[field] : refuse(field, rope[field], 'a list of numbers')),
    original: () => required(length, json[length] ?? rope[length]),
    ...((rope.truncate ?? null) === null ? {} : { truncate: rope.truncate as boolean }),
    maxPositions: json.max_position_embeddings as number,
  };
}

/** transformers takes a 0 for absent, and looks at the two `mscale` only where it finds both. */
function readYarn(rope: RopeSection): YarnScaling {
  const original = rope.original();
  const [betaFast, betaSlow, mscale, mscaleAllDim] = ['beta_fast', 'beta_slow', 'mscale', 'mscale_all_dim'].map(
    (field) => rope.number(field) || undefined,
  );
  const attentionFactor = rope.number('attention_factor');
  return {
    type: 'yarn',
    factor: rope.number('factor') ?? rope.maxPositions / original,
    originalMaxPositionEmbeddings: original,
    ...(betaFast && { betaFast }),
    ...(betaSlow && { betaSlow }),
    ...(attentionFactor !== undefined && { attentionFactor }),
    ...(mscale && mscaleAllDim && { mscale, mscaleAllDim }),
    ...(rope.truncate !== undefined && { truncate: rope.truncate }),
  };
}

function readLongRope(rope: RopeSection): LongRopeScaling {
  const original = rope.original();
  const attentionFactor = rope.number('attention_factor');
  return {
    type: 'longrope',
    factor: rope.number('factor') ?? rope.maxPositions / original,
    originalMaxPositionEmbeddings: original,
    shortFactor: rope.numbers('short_factor'),
    longFactor: rope.numbers('long_factor'),
    ...(attentionFactor !== undefined && { attentionFactor }),
  };
}

/** Why Hugging Face's families have no place for a model's rotary settings, by field; empty where they have. */
export function ropeReasons({ maxPositionEmbeddings, ropeScaling, ropeInterleaved }: ModelConfig): string[] {
  const { type } = ropeScaling;
  const otherLength = type === 'dynamic' && ropeScaling.originalMaxPositionEmbeddings !== maxPositionEmbeddings;
  return [
    ...(ropeInterleaved ? ['ropeInterleaved'] : []),
    ...(type === 'ntk' ? ["ropeScaling.type 'ntk'"] : []),
    ...(otherLength
      ? [
          `ropeScaling.type 'dynamic' with originalMaxPositionEmbeddings ${ropeScaling.originalMaxPositionEmbeddings} beside maxPositionEmbeddings ${maxPositionEmbeddings}`,
        ]
      : []),
  ];
}

/**
 * The fields of a `config.json`: `rope_parameters` for transformers 5, the others for version 4 as far as it knows the type
 * and reads the same fields. Its early releases take `max_position_embeddings` for YaRN's original length, whatever the
 * file says. The original length of longrope also stands outside the section, as in Phi-3's files: version 4 looks nowhere
 * else, and version 5 looks there first.
 */
export function ropeToHuggingFace({ ropeTheta, ropeScaling }: ModelConfig): Json {
  const { type, ...fields } = ropeScaling;
  if (type === 'none')
    return { rope_parameters: { rope_theta: ropeTheta, rope_type: 'default' }, rope_theta: ropeTheta };
  const named = Object.entries(fields).filter(
    ([field]) => type !== 'dynamic' || field !== 'originalMaxPositionEmbeddings',
  );
  const settings = Object.fromEntries(named.map(([field, value]) => [snakeCase(field), value]));
  return {
    rope_parameters: { rope_theta: ropeTheta, rope_type: type, ...settings },
    rope_scaling: { type, rope_type: type, ...settings },
    rope_theta: ropeTheta,
    ...(type === 'longrope' && { original_max_position_embeddings: ropeScaling.originalMaxPositionEmbeddings }),
  };
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null;
}
