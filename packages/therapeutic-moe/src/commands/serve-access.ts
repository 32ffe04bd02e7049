import { type ApiKey, isLoopback } from '@therapeutic-moe/server';

/** Reads comma-separated API keys; their holders appear as `key-1`, `key-2` and so on. @throws when one is empty. */
export function readApiKeys(text: string | undefined): ApiKey[] {
  if (text === undefined) return [];
  const keys = text.split(',').map((key) => key.trim());
  if (keys.includes('')) throw new Error('--api-key: a key between the commas is empty.');
  return keys.map((key, index) => ({ id: `key-${index + 1}`, key }));
}

/** What to warn of before listening: an address that others reach and no key. Undefined where all is well. */
export function openServerWarning(host: string, keys: readonly ApiKey[]): string | undefined {
  if (isLoopback(host) || keys.length > 0) return undefined;
  return `therapeutic-moe: everyone who reaches ${host} can use this server; --api-key KEY asks for a key.`;
}
