import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import { createInterface } from 'node:readline';
import type { RouteRow } from '../routing-report.js';

type Json = Readonly<Record<string, unknown>>;

/** A text and the domain that it is of. */
export interface DomainText {
  readonly domain: string;
  readonly text: string;
}

/**
 * Reads a JSONL file of `{"domain", "text"}`; other fields and empty lines are passed over.
 *
 * @throws naming file, row and field, never the text: it may be personal.
 */
export async function readDomainTexts(path: string): Promise<DomainText[]> {
  const rows: DomainText[] = [];
  for await (const { where, json } of readRows(path, 'domain and text')) {
    const { domain, text } = { domain: readDomain(json, where), text: readText(json, where) };
    if (domain === undefined) throw new Error(`${where}: domain must be a name, got nothing.`);
    rows.push({ domain, text });
  }
  if (rows.length === 0)
    throw new Error(`${basename(path)} has no rows; write lines such as {"domain":"psychology","text":"..."}.`);
  return rows;
}

/**
 * Reads a JSONL file of `{"id", "text"}`, with an optional `domain`; other fields and empty lines are passed over.
 *
 * @throws naming file, row and field, never the text: it may be personal.
 */
export async function readRouteRows(path: string): Promise<RouteRow[]> {
  const rows: RouteRow[] = [];
  const rowOfId = new Map<string | number, number>();
  for await (const { number, where, json } of readRows(path, 'id and text')) {
    const row = readRow(json, where);
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

async function* readRows(path: string, fields: string): AsyncGenerator<{ number: number; where: string; json: Json }> {
  let number = 0;
  for await (const line of readLines(path)) {
    number++;
    const where = `${basename(path)}: row ${number}`;
    if (line.trim() !== '') yield { number, where, json: readJson(line, where, fields) };
  }
}

function readJson(line: string, where: string, fields: string): Json {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    throw new Error(`${where} is not valid JSON.`); // the parser's own message quotes the row
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new Error(`${where} must be a JSON object with ${fields}.`);
  return json as Json;
}

function readRow(json: Json, where: string): RouteRow {
  const { id } = json;
  if (!(typeof id === 'string' && id !== '') && !Number.isSafeInteger(id))
    throw new Error(`${where}: id must be a text that is not empty, or a whole number, got ${kindOf(id)}.`);
  const [text, domain] = [readText(json, where), readDomain(json, where)];
  return { id: id as string | number, text, ...(domain === undefined ? {} : { domain }) };
}

function readText({ text }: Json, where: string): string {
  if (typeof text === 'string' && text.trim() !== '') return text;
  throw new Error(`${where}: text must be a text that is not empty, got ${kindOf(text)}.`);
}

function readDomain({ domain }: Json, where: string): string | undefined {
  if ((domain ?? null) === null) return undefined;
  if (typeof domain === 'string' && domain !== '') return domain;
  throw new Error(`${where}: domain must be a name, or be left out, got ${kindOf(domain)}.`);
}

/** What stands there, without quoting it. */
function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'string') return 'an empty text';
  return value === null ? 'null' : Array.isArray(value) ? 'a list' : `a value of type ${typeof value}`;
}
