/** A `config.json` as read. Unknown keys are tolerated: Hugging Face adds some in every release. */
export type Json = Readonly<Record<string, unknown>>;

/** Fields of a `config.json`, read by kind; errors name file, field and value. */
export interface JsonFields {
  readonly json: Json;
  readonly file: string;
  number(field: string): number;
  boolean(field: string): boolean;
  /** @param expected what it should be, and the way out. */
  refuse(field: string, expected: string): never;
}

/** @param file named in errors. */
export function fieldsOf(json: Json, file: string): JsonFields {
  const refuse = (field: string, expected: string): never => {
    throw new Error(`${file}: ${field} is ${JSON.stringify(json[field])}, expected ${expected}.`);
  };
  const kind = <T>(field: string, type: string, article: string): T =>
    typeof json[field] === type ? (json[field] as T) : refuse(field, article);
  return {
    json,
    file,
    refuse,
    number: (field) => kind<number>(field, 'number', 'a number'),
    boolean: (field) => kind<boolean>(field, 'boolean', 'true or false'),
  };
}
