/** One row of a dataset. */
export interface Sample<Input, Target = undefined> {
  /** Unique within its dataset. Ids stand in results and errors, so they must tell nothing about a person. */
  readonly id: string;
  readonly input: Input;
  readonly target: Target;
  /** A part of the dataset that is also reported on its own, for example a domain. */
  readonly group?: string;
}

/** Named rows to evaluate on. */
export interface Dataset<Input, Target = undefined> {
  readonly name: string;
  readonly samples: readonly Sample<Input, Target>[];
}

/**
 * Checks rows and gives them a name.
 *
 * @throws when there is no row, an id is missing or an id appears twice; rows are named by number, never by content.
 */
export function dataset<Input, Target = undefined>(
  name: string,
  samples: readonly Sample<Input, Target>[],
): Dataset<Input, Target> {
  if (name.trim() === '') throw new Error('dataset: name must not be empty.');
  if (samples.length === 0) throw new Error(`dataset "${name}": there are no rows; a score over nothing says nothing.`);
  const rowOfId = new Map<string, number>();
  samples.forEach(({ id }, index) => {
    if (typeof id !== 'string' || id === '') throw new Error(`dataset "${name}": row ${index + 1} has no id.`);
    const first = rowOfId.get(id);
    if (first !== undefined)
      throw new Error(`dataset "${name}": rows ${first} and ${index + 1} share an id; every id must be unique.`);
    rowOfId.set(id, index + 1);
  });
  return Object.freeze({ name, samples: Object.freeze([...samples]) });
}
