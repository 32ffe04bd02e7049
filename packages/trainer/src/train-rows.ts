import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { TrainMessage } from './chat-data.js';

/** A row of either kind. */
export interface TrainRow {
  /** File and line, for errors; never the content. */
  readonly at: string;
  readonly domain?: string;
  readonly text?: string;
  readonly messages?: readonly TrainMessage[];
}

/** Rows of JSONL files and the hash of the files' bytes. */
export interface TrainRows {
  readonly rows: readonly TrainRow[];
  readonly sha256: string;
}

const roles = ['system', 'user', 'assistant'];

/**
 * Reads `{"id","domain","text"}` or `{"id","domain","messages"}` rows. With format `text` both kinds may be mixed.
 *
 * @throws on a line that is not such a row, by file and line number; the content is never repeated, it may be personal.
 */
export async function readTrainRows(paths: readonly string[], format: 'text' | 'chat'): Promise<TrainRows> {
  const hash = createHash('sha256');
  const rows: TrainRow[] = [];
  for (const path of paths) {
    const content = await readFile(path, 'utf8').catch((cause: Error) => {
      throw new Error(`data: ${path} cannot be read; prepare the data first or correct the path.`, { cause });
    });
    hash.update(content);
    content.split('\n').forEach((line, i) => {
      if (line.trim()) rows.push(parseRow(line, `${path} line ${i + 1}`, format));
    });
  }
  return { rows, sha256: hash.digest('hex') };
}

function parseRow(line: string, at: string, format: 'text' | 'chat'): TrainRow {
  let row: Record<string, unknown>;
  try {
    row = JSON.parse(line);
  } catch {
    throw new Error(`data: ${at} is not JSON; every line must be one object.`); // no cause: its message quotes the row
  }
  if (typeof row !== 'object' || row === null) throw new Error(`data: ${at} must be an object, got ${typeof row}.`);
  const { domain, text, messages } = row;
  if (domain !== undefined && typeof domain !== 'string')
    throw new Error(`data: ${at}: domain must be a text, got ${typeof domain}.`);
  if (format === 'text' && messages === undefined) {
    if (typeof text !== 'string' || text === '')
      throw new Error(`data: ${at} needs a text that is not empty, or messages to be rendered in the chat template.`);
    return { at, domain, text };
  }
  if (!Array.isArray(messages) || !messages.every(isMessage)) {
    throw new Error(
      `data: ${at}: messages must be a list of {"role","content"} with role ${roles.join(', ')}; for rows with text set data.format to "text".`,
    );
  }
  if (!messages.some((message) => message.role === 'assistant'))
    throw new Error(`data: ${at}: there is no assistant message to learn from.`);
  return { at, domain, messages };
}

const isMessage = (message: unknown): message is TrainMessage => {
  const { role, content } = (message ?? {}) as Record<string, unknown>;
  return roles.includes(role as string) && typeof content === 'string';
};
