import { type MemoryPlan, type MemoryPlanOptions, type ModelConfig, memoryPlan } from '@therapeutic-moe/model';
import { readPrecision } from './model-options.js';
import { readNumber } from './numbers.js';

/** Options of `inspect` that ask for a memory plan. */
export const planOptions = {
  precision: {
    type: 'string',
    description: 'plan memory with weights as float32, bfloat16, float16 or int8, to train an adapter and to serve',
  },
  batch: { type: 'string', description: 'sequences of a planned training step; default 1' },
  seq: { type: 'string', description: 'tokens of each; default 2048' },
  'serve-tokens': { type: 'string', description: 'tokens of a planned session; default 8192' },
  card: { type: 'string', description: 'memory that the plan should fit, such as 80GB or 24GiB; default 80GB' },
} as const;

/** What `inspect --json` prints of a plan. */
export interface PrintedPlan extends MemoryPlan {
  readonly options: Pick<MemoryPlanOptions, 'weights' | 'batch' | 'seq' | 'serveTokens'>;
  readonly card: number;
}

type PlanArgs = { readonly [name in keyof typeof planOptions]?: string | undefined };

/** Nothing where none is asked for. @throws when an option is none, or is of a plan and `--precision` is missing. */
export function planFromArgs(
  args: PlanArgs,
  config: ModelConfig,
  lora: MemoryPlanOptions['lora'],
): PrintedPlan | undefined {
  const { precision, ...others } = args;
  if (precision === undefined) {
    const alone = (['batch', 'seq', 'serve-tokens', 'card'] as const).find((name) => others[name] !== undefined);
    if (alone) throw new Error(`--${alone} needs --precision, what the weights of the plan are held as.`);
    return undefined;
  }
  const count = (name: 'batch' | 'seq' | 'serve-tokens', fallback: string) =>
    readNumber(name, others[name] ?? fallback, { min: 1, max: 2 ** 31 - 1, whole: true });
  const options = {
    weights: readPrecision(precision),
    batch: count('batch', '1'),
    seq: count('seq', '2048'),
    serveTokens: count('serve-tokens', '8192'),
  };
  const card = readBytes(others.card ?? '80GB');
  return { ...memoryPlan(config, { ...options, ...(lora && { lora }) }), options, card };
}

/** The plan in lines, bytes in every one. */
export function planLines({ options, card, training, serving, ...plan }: PrintedPlan): string[] {
  const { weights, batch, seq, serveTokens } = options;
  const { kv } = serving;
  return [
    '',
    line('weights', plan.weights, `matrices ${weights}, the rest float32`),
    line('adapter', plan.adapter, 'float32'),
    line('thawed', plan.thawed, 'the largest matrix in float32, for the moment of its product'),
    '',
    `training ${grouped(batch)} x ${grouped(seq)} tokens`,
    ...(training
      ? [
          line('gradients', training.gradients, 'float32'),
          line('optimiser', training.optimizer, 'two moments of AdamW, float32'),
          line('logits', training.logits, 'and their gradient, [batch * seq, vocab] float32 each'),
          line('activations', training.activations, 'kept by all layers, and their gradients'),
          line('all', training.total, fits(training.total, card)),
          line(
            'checkpointed',
            training.checkpointed,
            '[batch, seq, hidden] of each layer, all of one; not implemented',
          ),
          line('all with that', training.checkpointedTotal, fits(training.checkpointedTotal, card)),
        ]
      : [`  not possible: ${weights} weights are frozen; --lora-r plans an adapter on them`]),
    '',
    `serving ${grouped(serveTokens)} tokens`,
    line(
      'keys, values',
      kv.float32,
      `float32; ${grouped(kv.int8)} int8; ${grouped(kv.bfloat16)} bfloat16, as others keep them`,
    ),
    line('a pass', serving.pass, 'over all of them at once, in one layer'),
    line('all', serving.total, fits(serving.total, card)),
  ];
}

function line(name: string, bytes: number, note: string): string {
  return `  ${name.padEnd(14)}${grouped(bytes).padStart(16)}  ${note}`;
}

function fits(bytes: number, card: number): string {
  const apart = grouped(Math.abs(card - bytes));
  return bytes <= card
    ? `fits ${grouped(card)}, ${apart} to spare`
    : `does not fit ${grouped(card)}, ${apart} too many`;
}

const units = { GB: 1e9, GiB: 2 ** 30 } as const;

/** @throws when the text is no number of GB or GiB. */
function readBytes(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(GB|GiB)$/.exec(text) ?? [];
  if (!number) throw new Error(`--card must be a size such as 80GB (80e9 bytes) or 24GiB, got '${text}'.`);
  return Number(number) * units[unit as keyof typeof units];
}

function grouped(count: number): string {
  return count.toLocaleString('en');
}
