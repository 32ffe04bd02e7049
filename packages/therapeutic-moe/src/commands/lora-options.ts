import type { LoraConfig } from '@therapeutic-moe/lora';
import { readNumber } from './numbers.js';

/** What an adapter is put on unless told otherwise. */
const attentionLinears = ['q_proj', 'k_proj', 'v_proj', 'o_proj'];

/** Options that describe an adapter to count. */
export const loraOptions = {
  'lora-r': { type: 'string', description: 'rank of an adapter to count' },
  'lora-targets': {
    type: 'string',
    description: `its linears: names, one regular expression, or all-linear; default ${attentionLinears}, or none beside --lora-parameters`,
  },
  'lora-parameters': { type: 'string', description: 'its stacks of experts: names, such as experts.gate_up_proj' },
  'lora-rank-pattern': {
    type: 'string',
    description: 'ranks of their own, by regular expressions without commas for ends of paths',
    valueHint: 'PATTERN=RANK,...',
  },
  'use-dora': { type: 'boolean', description: 'it trains a length for each column too' },
} as const;

type LoraArgs = { readonly [Name in keyof typeof loraOptions]?: string | boolean };

/** The adapter that the options describe; none without `--lora-r`. @throws naming an option that needs it or is no pattern. */
export function readLoraOptions(args: LoraArgs): Partial<LoraConfig> | undefined {
  const text = (name: keyof LoraArgs) => args[name] as string | undefined;
  if (args['lora-r'] === undefined) {
    const lonely = Object.keys(loraOptions).find((name) => args[name as keyof LoraArgs] !== undefined);
    if (lonely === undefined) return undefined;
    throw new Error(`--${lonely} needs --lora-r, the rank of the adapter that it belongs to.`);
  }
  const parameters = text('lora-parameters')?.split(',').map(trim) ?? [];
  return {
    r: readRank('lora-r', text('lora-r')!),
    targetModules: readTargets(text('lora-targets')) ?? (parameters.length > 0 ? [] : attentionLinears),
    targetParameters: parameters,
    rankPattern: readRanks(text('lora-rank-pattern')),
    useDora: args['use-dora'] === true,
  };
}

/** Names have no sign but dots; whatever has another is a regular expression. */
function readTargets(text: string | undefined): readonly string[] | string | undefined {
  if (text === undefined || text === 'all-linear' || /[\\^$*+?()[\]{}|]/.test(text)) return text;
  return text.split(',').map(trim);
}

function readRanks(text: string | undefined): Record<string, number> {
  if (text === undefined) return {};
  return Object.fromEntries(
    text.split(',').map((entry) => {
      const at = entry.lastIndexOf('=');
      if (at < 1) throw new Error(`--lora-rank-pattern must be PATTERN=RANK,..., got '${entry}'.`);
      return [entry.slice(0, at).trim(), readRank('lora-rank-pattern', entry.slice(at + 1))];
    }),
  );
}

function readRank(option: string, text: string): number {
  return readNumber(option, text, { min: 1, max: 65_536, whole: true });
}

function trim(name: string): string {
  return name.trim();
}
