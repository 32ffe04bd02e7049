import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function parseObject(text: string, path: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Error(`tokenizer: ${path}: expected JSON, got text that does not parse; fetch the file again.`, {
      cause,
    });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Error(
      `tokenizer: ${path}: expected a JSON object, got ${Array.isArray(value) ? 'a list' : typeof value}.`,
    );
  }
  return value as Record<string, unknown>;
}

/**
 * Reads `tokenizer.json` and, where present, `tokenizer_config.json` and `chat_template.jinja` (which wins over the
 * template in the config, as in transformers).
 */
export async function readTokenizerFiles(
  directory: string,
): Promise<{ json: Record<string, unknown>; config: Record<string, unknown> }> {
  const path = join(directory, 'tokenizer.json');
  const text = await readOptional(path);
  if (text === undefined) {
    throw new Error(`tokenizer: ${directory}: expected a tokenizer.json in this folder, got none.`);
  }
  const configPath = join(directory, 'tokenizer_config.json');
  const configText = await readOptional(configPath);
  const config = configText === undefined ? {} : parseObject(configText, configPath);
  const template = await readOptional(join(directory, 'chat_template.jinja'));
  return {
    json: parseObject(text, path),
    config: template === undefined ? config : { ...config, chat_template: template },
  };
}
