/** One turn of a conversation, as this package reads it. Only `user` turns are searched for risk. */
export interface ConversationMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}
