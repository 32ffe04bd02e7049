/**
 * GPT-2's alphabet: one visible character for each byte, so that any bytes can stand in a JSON vocabulary. Printable
 * Latin-1 stands for itself; the other 68 bytes take the characters from U+0100 on.
 */
const CHARACTER_OF_BYTE: readonly string[] = (() => {
  const characters: string[] = [];
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const visible = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    characters.push(String.fromCharCode(visible ? byte : next++));
  }
  return characters;
})();

const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = new Map(
  CHARACTER_OF_BYTE.map((character, byte) => [character, byte]),
);

/** The 256 characters, in the order of their code points (the order Hugging Face's trainer gives them ids in). */
export const BYTE_ALPHABET: readonly string[] = [...CHARACTER_OF_BYTE].sort();

const encoder = new TextEncoder();

/** The characters that stand for a text's UTF-8 bytes. */
export function toByteCharacters(text: string): string {
  let characters = '';
  for (const byte of encoder.encode(text)) characters += CHARACTER_OF_BYTE[byte];
  return characters;
}

/** The bytes that a token's characters stand for, or undefined if one of them stands for none. */
export function fromByteCharacters(token: string): Uint8Array | undefined {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = BYTE_OF_CHARACTER.get(token[i]);
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}
