import { Template } from '@huggingface/jinja';
import type { ChatMessage } from './chat-message.js';

/** The special tokens of our chat template; {@link trainBpe} gives them the ids 0 to 3. The first ends every turn. */
export const CHAT_SPECIAL_TOKENS = ['<|endoftext|>', '<|system|>', '<|user|>', '<|assistant|>'] as const;

/** Our chat template (Jinja): `<|role|>`, the content and `<|endoftext|>` for each message, a line end after each tag. */
export const CHAT_TEMPLATE =
  "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|endoftext|>\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}";

/** The part of a `tokenizer_config.json` that {@link chatTokenizerConfig} writes. */
export interface TokenizerConfig {
  readonly tokenizer_class: 'PreTrainedTokenizerFast';
  readonly bos_token: string;
  readonly eos_token: string;
  readonly pad_token: string;
  readonly additional_special_tokens: readonly string[];
  readonly add_bos_token: boolean;
  readonly add_eos_token: boolean;
  readonly clean_up_tokenization_spaces: boolean;
  readonly model_max_length: number;
  readonly chat_template: string;
}

/**
 * The `tokenizer_config.json` that belongs to a tokenizer trained with {@link CHAT_SPECIAL_TOKENS}.
 *
 * @param modelMaxLength the most positions the model takes.
 */
export function chatTokenizerConfig(modelMaxLength: number): TokenizerConfig {
  const [endOfText, ...roles] = CHAT_SPECIAL_TOKENS;
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: endOfText,
    eos_token: endOfText,
    pad_token: endOfText,
    additional_special_tokens: roles,
    add_bos_token: false,
    add_eos_token: false,
    clean_up_tokenization_spaces: false,
    model_max_length: modelMaxLength,
    chat_template: CHAT_TEMPLATE,
  };
}

/** What a template may name besides the messages. */
export interface TemplateTokens {
  readonly bos_token?: string;
  readonly eos_token?: string;
  readonly pad_token?: string;
}

/** A compiled chat template. */
export class ChatTemplate {
  private readonly template: Template;

  /** @throws if `source` is not a Jinja template. */
  constructor(
    readonly source: string,
    private readonly tokens: TemplateTokens,
  ) {
    try {
      this.template = new Template(source);
    } catch (cause) {
      throw new Error('tokenizer: chat_template: expected a Jinja template, got text that does not parse.', { cause });
    }
  }

  /** @throws if the template refuses the messages (some insist on alternating roles). */
  render(messages: readonly ChatMessage[], addGenerationPrompt: boolean): string {
    try {
      return this.template.render({
        ...this.tokens,
        messages: messages.map(({ role, content }) => ({ role, content })),
        add_generation_prompt: addGenerationPrompt,
      });
    } catch (cause) {
      throw new Error(
        `tokenizer: the chat template refused the messages (roles ${messages.map(({ role }) => role).join(', ')}): ${(cause as Error).message}`,
        { cause },
      );
    }
  }
}
