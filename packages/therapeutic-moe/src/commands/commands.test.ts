import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LoraConfig } from '@therapeutic-moe/lora';
import { configFromJson, countParameters, presets } from '@therapeutic-moe/model';
import { runCommand } from 'citty';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { refuseUnknownOptions } from '../refuse-unknown-options.js';
import { inspectCommand } from './inspect.js';
import { logitsCommand } from './logits.js';

const fixture = fileURLToPath(new URL('../../../model/test/fixtures/mixtral-4x-top2/', import.meta.url));
const expected = JSON.parse(readFileSync(`${fixture}expected.json`, 'utf8'));

/** Runs a command as the command line does and returns what it prints on standard output. */
async function run(command: typeof logitsCommand | typeof inspectCommand, ...rawArgs: string[]): Promise<string> {
  const log = vi.spyOn(console, 'log').mockImplementation(() => {});
  vi.spyOn(console, 'error').mockImplementation(() => {});
  await runCommand(command as never, { rawArgs });
  return log.mock.calls.map((call) => call.join(' ')).join('\n');
}

afterEach(() => vi.restoreAllMocks());

describe('logits', () => {
  it("prints the reference's logits, argmaxes and greedy tokens, with and without the adapter", async () => {
    for (const [want, adapter] of [
      [expected, []],
      [expected.adapter, ['--adapter', `${fixture}adapter`]],
    ] as const) {
      const out = JSON.parse(
        await run(
          logitsCommand,
          '--model',
          fixture,
          '--ids',
          expected.ids.join(),
          '--greedy',
          '8',
          '--backend',
          'wasm',
          '--json',
          ...adapter,
        ),
      );
      expect(out.backend).toBe('wasm');
      expect(out.allArgmax).toEqual(want.all_argmax);
      expect(out.greedy).toEqual(want.greedy);
      const worst = Math.max(...out.logits.map((x: number, i: number) => Math.abs(x - want.logits[i])));
      expect(worst).toBeLessThan(1e-4);
      vi.restoreAllMocks();
    }
  });

  it('refuses ids outside the vocabulary and malformed ids', async () => {
    await expect(run(logitsCommand, '--model', fixture, '--ids', '5,97', '--backend', 'wasm')).rejects.toThrow(
      '97 is outside the model',
    );
    await expect(run(logitsCommand, '--model', fixture, '--ids', '5,six', '--backend', 'wasm')).rejects.toThrow(
      "--ids must be a whole number from 0 to 2147483647, got 'six'",
    );
  });
});

describe('inspect', () => {
  it('counts from the config alone', async () => {
    const out = JSON.parse(await run(inspectCommand, '--config', `${fixture}config.json`, '--lora-r', '4', '--json'));
    const {
      hidden_size: d,
      head_dim: h,
      num_local_experts: e,
      intermediate_size: f,
      vocab_size: v,
    } = JSON.parse(readFileSync(`${fixture}config.json`, 'utf8'));
    const layer = d * 4 * h + 2 * d * 2 * h + 4 * h * d + d * e + 3 * d * f * e + 2 * d;
    expect(out.parameters.total).toBe(2 * v * d + d + 2 * layer);
    expect(out.parameters.trainable).toBe(2 * 4 * (d + 4 * h + 2 * (d + 2 * h) + 4 * h + d));
    expect(out.bytes).toEqual({ bfloat16: 2 * out.parameters.total, float32: 4 * out.parameters.total });
    const numbers = 2 * 2 * 2 * h; // layers, k and v, heads
    expect(out.kvBytesPerToken).toEqual({ bfloat16: 2 * numbers, float32: 4 * numbers, int8: numbers + 2 * 2 * 2 * 4 });
  });

  it('counts an adapter by all that decides its size, and refuses what has no rank', async () => {
    const counted = async (...options: string[]) =>
      JSON.parse(await run(inspectCommand, '--config', `${fixture}config.json`, '--json', ...options)).parameters
        .trainable as number;
    const config = configFromJson(JSON.parse(readFileSync(`${fixture}config.json`, 'utf8')), 'config.json');
    const both = ['experts.gate_up_proj', 'experts.down_proj'];
    for (const [options, lora] of [
      [['--lora-targets', 'all-linear'], { targetModules: 'all-linear' }],
      [['--lora-targets', '.+\\.1\\..+(q|v)_proj'], { targetModules: '.+\\.1\\..+(q|v)_proj' }],
      [['--lora-parameters', both.join()], { targetModules: [], targetParameters: both }],
      [
        ['--lora-parameters', 'mlp.experts.down_proj', '--lora-targets', '0.self_attn.q_proj, lm_head'],
        { targetModules: ['0.self_attn.q_proj', 'lm_head'], targetParameters: ['mlp.experts.down_proj'] },
      ],
      [
        ['--use-dora', '--lora-rank-pattern', '0.+q_proj=3, (k|v)_proj=5'],
        { useDora: true, rankPattern: { '0.+q_proj': 3, '(k|v)_proj': 5 } },
      ],
    ] as [string[], Partial<LoraConfig>][]) {
      vi.restoreAllMocks();
      expect(await counted('--lora-r', '4', ...options)).toBe(countParameters(config, { r: 4, ...lora }).trainable);
    }
    await expect(counted('--lora-parameters', 'down_proj')).rejects.toThrow(
      '--lora-parameters needs --lora-r, the rank of the adapter that it belongs to.',
    );
    await expect(counted('--lora-r', '2', '--lora-rank-pattern', 'q_proj')).rejects.toThrow(
      "--lora-rank-pattern must be PATTERN=RANK,..., got 'q_proj'.",
    );
  });

  it.each<[string, object, { total: number; active: number; cache: number; adapter: number }]>([
    [
      'Mistral-Nemo',
      {
        ...{ architectures: ['MistralForCausalLM'], attention_dropout: 0, bos_token_id: 1, eos_token_id: 2 },
        ...{ head_dim: 128, hidden_act: 'silu', hidden_size: 5120, initializer_range: 0.02, intermediate_size: 14_336 },
        ...{ max_position_embeddings: 131_072, model_type: 'mistral', num_attention_heads: 32, num_hidden_layers: 40 },
        ...{ num_key_value_heads: 8, rms_norm_eps: 1e-5, rope_theta: 1e6, sliding_window: null },
        ...{ tie_word_embeddings: false, torch_dtype: 'bfloat16', use_cache: true, vocab_size: 131_072 },
      },
      { total: 12_247_782_400, active: 12_247_782_400, cache: 163_840, adapter: 19_660_800 },
    ],
    [
      'Qwen1.5-MoE-A2.7B',
      {
        ...{ architectures: ['Qwen2MoeForCausalLM'], attention_dropout: 0, bos_token_id: 151_643 },
        ...{ eos_token_id: 151_643, hidden_act: 'silu', hidden_size: 2048, initializer_range: 0.02 },
        ...{ intermediate_size: 5632, max_position_embeddings: 8192, max_window_layers: 21, model_type: 'qwen2_moe' },
        ...{ num_attention_heads: 16, num_hidden_layers: 24, num_key_value_heads: 16, rms_norm_eps: 1e-6 },
        ...{ rope_theta: 1e6, sliding_window: 32_768, tie_word_embeddings: false, torch_dtype: 'bfloat16' },
        ...{ use_cache: true, use_sliding_window: false, vocab_size: 151_936, decoder_sparse_step: 1 },
        ...{ moe_intermediate_size: 1408, shared_expert_intermediate_size: 5632, num_experts_per_tok: 4 },
        ...{ num_experts: 60, norm_topk_prob: false, output_router_logits: false, router_aux_loss_coef: 0.001 },
      },
      { total: 14_315_784_192, active: 2_689_173_504, cache: 196_608, adapter: 24 * 4 * 16 * 2 * 2048 },
    ],
  ])('gives the true sizes of %s', async (_, config, { total, active, cache, adapter }) => {
    const folder = await mkdtemp(join(tmpdir(), 'inspect-'));
    const file = join(folder, 'config.json');
    await writeFile(file, JSON.stringify(config));
    const out = JSON.parse(await run(inspectCommand, '--config', file, '--lora-r', '16', '--json'));
    expect(out.parameters).toEqual({ total, trainable: adapter, activePerToken: active });
    expect(out.kvBytesPerToken.bfloat16).toBe(cache);
    await rm(folder, { recursive: true });
  });

  it('says which tokens are kept, and what a full session takes', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'inspect-'));
    const config = presets['multi-level']();
    await writeFile(join(folder, 'config.json'), JSON.stringify({ model_type: 'therapeutic_moe', config }));
    const { keptTokens, blockBytesPerToken, fullSession } = JSON.parse(
      await run(inspectCommand, '--model', folder, '--json'),
    );
    const token = 4 * 4 * 2 * 2 * 64; // bytes, layers, keys and values, heads
    const blocks = 256 + 128;
    const brought = 2 * 4 * 4 * (4 * 64 + 1); // levels, bytes, layers
    expect([keptTokens, blockBytesPerToken]).toEqual([32, token / 2 + token / 4]);
    expect(fullSession.tokens).toBe(512);
    expect(fullSession.float32).toBe(64 * token + blocks * token + brought);
    vi.restoreAllMocks();
    const lines = (await run(inspectCommand, '--model', folder)).split('\n').slice(4);
    expect(lines).toEqual([
      'cache per token   2,048 bfloat16, 4,096 float32, 1,088 int8, of the newest 32 tokens',
      'blocks per token  3,072 float32, of every token',
      'full session      1,843,232 float32, 1,650,720 int8, of 512 tokens',
    ]);
    await rm(folder, { recursive: true });
  });

  it("counts a model of our own layout too, and refuses one that is nobody's by its file", async () => {
    const folder = await mkdtemp(join(tmpdir(), 'inspect-'));
    const file = join(folder, 'config.json');
    const config = presets.constellation();
    await writeFile(file, JSON.stringify({ model_type: 'therapeutic_moe', config }));
    const out = JSON.parse(await run(inspectCommand, '--model', folder, '--json'));
    expect(out.parameters).toEqual(countParameters(config));
    vi.restoreAllMocks();
    await writeFile(file, JSON.stringify({ model_type: 'therapeutic_moe', config: { ...config, vocabSize: 0 } }));
    await expect(run(inspectCommand, '--config', file)).rejects.toThrow('config.json: model config: vocabSize must be');
    await rm(folder, { recursive: true });
  });

  it('asks for exactly one of model and config', async () => {
    await expect(run(inspectCommand, '--json')).rejects.toThrow('either --model DIR or --config FILE');
    await expect(run(inspectCommand, '--config', 'nowhere.json')).rejects.toThrow(
      'nowhere.json cannot be read (ENOENT)',
    );
  });
});

describe('refuseUnknownOptions', () => {
  const known = { model: { type: 'string' }, greedy: { type: 'string' }, json: { type: 'boolean' } };

  it('names a misspelt option and the known ones', () => {
    expect(() => refuseUnknownOptions('logits', ['--model', 'x', '--gredy=3'], known)).toThrow(
      'unknown option --gredy; logits knows --model, --greedy, --json.',
    );
  });

  it('lets known options with their values pass', () => {
    for (const given of [['--model', 'x', '--json'], ['--model=x', '--no-json'], ['--greedy', '-1'], []])
      expect(() => refuseUnknownOptions('logits', given, known)).not.toThrow();
  });

  it.each([
    [['x'], "unexpected word 'x'"],
    [['--json', 'true'], "unexpected word 'true'"],
    [['--model', 'x', 'y'], "unexpected word 'y'"],
    [['-m', 'x'], "unexpected option '-m'"],
    [['--', '--json'], "unexpected option '--'"],
    [['--model='], '--model needs a value'],
    [['--model', ''], '--model needs a value'],
    [['--model', '--json'], '--model needs a value'],
    [['--model'], '--model needs a value'],
    [['--json=no'], "--json takes no value, got 'no'"],
    [['--no-model'], '--no-model makes no sense; use --model.'],
    [['--toString=x'], 'unknown option --toString'],
  ])('refuses %j', (given, says) => {
    expect(() => refuseUnknownOptions('logits', given, known)).toThrow(says);
  });
});
