import type { ChatMessage } from './chat-message.js';

/** A character that Unicode reserves for use inside a program. */
const NONCHARACTER = '\uFDD0';

/**
 * Keeps what people write from becoming special tokens. A mark that occurs nowhere in the messages is put around each
 * content and inside each special token spelled out in it; the rendered template is then cut at special tokens, which
 * can only be the template's own, and the mark is taken out of the text between them.
 */
export class ContentShield {
  private readonly mark: string;

  /** @param texts everything that will be rendered: the mark is chosen so that none of them holds it. */
  constructor(
    private readonly specialTokens: readonly string[],
    texts: readonly string[],
  ) {
    let mark = NONCHARACTER;
    while (texts.some((text) => text.includes(mark))) mark += NONCHARACTER;
    this.mark = mark;
  }

  /** The message with its content marked. Space at the ends stays outside, for templates that trim. */
  protect({ role, content }: ChatMessage): ChatMessage {
    const core = content.trim();
    if (core === '') return { role, content };
    const start = content.indexOf(core);
    let marked = core;
    for (const token of this.specialTokens) {
      marked = marked.replaceAll(token, () => token.slice(0, 1) + this.mark + token.slice(1));
    }
    return {
      role,
      content: content.slice(0, start) + this.mark + marked + this.mark + content.slice(start + core.length),
    };
  }

  /** Takes the marks out again. */
  reveal(text: string): string {
    return text.replaceAll(this.mark, '');
  }
}
