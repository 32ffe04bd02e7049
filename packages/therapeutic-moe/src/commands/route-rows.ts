import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import { createInterface } from 'node:readline';
import type { RouteRow } from '../routing-report.js';

/**
 * Reads a JSONL file of `{"id", "text"}`, with an optional `domain`; other fields and empty lines are passed over.
 *
 * @throws naming file, row and field, never the text: it may be personal.
 */
export async function readRouteRows(path: string): Promise<RouteRow[]> {
  const rows: RouteRow[] = [];
  const rowOfId = new Map<string | number, number>();
  let number = 0;
  for await (const line of readLines(path)) {
    number++;
    if (line.trim() === '') continue;
    const where = `${basename(path)}: row ${number}`;
    const row = readRow(line, where);
    const before = rowOfId.get(row.id);
    if (before !== undefined)
      throw new Error(`${where}: id ${JSON.stringify(row.id)} is also that of row ${before}; give each row its own.`);
    rowOfId.set(row.id, number);
    rows.push(row);
  }
  if (rows.length === 0) throw new Error(`${basename(path)} has no rows; write lines such as {"id":"1","text":"..."}.`);
  return rows;
}

async function* readLines(path: string): AsyncGenerator<string> {
  try {
    yield* createInterface({ input: createReadStream(path, 'utf8'), crlfDelay: Number.POSITIVE_INFINITY });
  } catch (cause) {
    throw new Error(`${path} cannot be read (${(cause as NodeJS.ErrnoException).code}).`, { cause });
  }
}

function readRow(line: string, where: string): RouteRow {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    throw new Error(`${where} is not valid JSON.`); // the parser's own message quotes the row
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new Error(`${where} must be a JSON object with id and text.`);
  const { id, text, domain } = json as Record<string, unknown>;
  if (!(typeof id === 'string' && id !== '') && !Number.isSafeInteger(id))
    throw new Error(`${where}: id must be a text that is not empty, or a whole number, got ${kindOf(id)}.`);
  if (typeof text !== 'string' || text.trim() === '')
    throw new Error(`${where}: text must be a text that is not empty, got ${kindOf(text)}.`);
  if (domain !== undefined && domain !== null && (typeof domain !== 'string' || domain === ''))
    throw new Error(`${where}: domain must be a name, or be left out, got ${kindOf(domain)}.`);
  return { id: id as string | number, text, ...(typeof domain === 'string' ? { domain } : {}) };
}

/** What stands there, without quoting it. */
function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'string') return 'an empty text';
  return value === null ? 'null' : Array.isArray(value) ? 'a list' : `a value of type ${typeof value}`;
}
