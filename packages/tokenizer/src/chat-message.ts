/** One turn of a conversation. */
export interface ChatMessage {
  /** Who speaks. */
  readonly role: 'system' | 'user' | 'assistant';
  /** What is said: plain text. Special tokens written in it stay text. */
  readonly content: string;
}

const ROLES: readonly string[] = ['system', 'user', 'assistant'];

/**
 * Checks messages that came from outside.
 *
 * @throws if `messages` is not a list of at least one `{role, content}` with a known role and text content.
 */
export function checkMessages(messages: readonly ChatMessage[]): void {
  if (!Array.isArray(messages) || messages.length === 0) {
    throw new Error(
      `tokenizer: messages: expected a list of at least one {role, content}, got ${Array.isArray(messages) ? 'an empty list' : typeof messages}.`,
    );
  }
  for (const [i, message] of messages.entries()) {
    if (typeof message !== 'object' || message === null) {
      throw new Error(`tokenizer: messages[${i}]: expected {role, content}, got ${JSON.stringify(message)}.`);
    }
    if (!ROLES.includes(message.role)) {
      throw new Error(
        `tokenizer: messages[${i}].role: expected ${ROLES.join(', ')}, got ${JSON.stringify(message.role)}.`,
      );
    }
    if (typeof message.content !== 'string') {
      throw new Error(
        `tokenizer: messages[${i}].content: expected a string, got ${Array.isArray(message.content) ? 'a list' : typeof message.content}; join text parts first.`,
      );
    }
  }
}
