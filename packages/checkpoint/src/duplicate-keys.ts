const COLON = /\s*:/y;

/** One past the closing quote of the string that opens at `start`. */
function endOfString(json: string, start: number): number {
  let i = start + 1;
  while (json[i] !== '"') i += json[i] === '\\' ? 2 : 1;
  return i + 1;
}

/**
 * The first key that occurs twice in one object of a JSON text, as a path of keys (lists left out), or undefined. `JSON.parse` keeps
 * the last of two equal keys silently, which in a checkpoint would hide a tensor. Time is linear in the text, however deep it nests.
 *
 * @param json a text that `JSON.parse` accepts.
 */
export function findDuplicateKey(json: string): string | undefined {
  const open: (Set<string> | undefined)[] = []; // one per open bracket; undefined for an array
  const path: string[] = []; // one key per open object that has shown one
  let objects = 0;
  for (let i = 0; i < json.length; ) {
    const character = json[i];
    if (character === '"') {
      const end = endOfString(json, i);
      const keys = open.at(-1);
      COLON.lastIndex = end;
      if (keys && COLON.test(json)) {
        const key = JSON.parse(json.slice(i, end)) as string;
        path.length = objects - 1;
        path.push(key);
        if (keys.has(key)) return path.join('.');
        keys.add(key);
      }
      i = end;
      continue;
    }
    if (character === '{') {
      open.push(new Set());
      objects++;
    } else if (character === '[') open.push(undefined);
    else if (character === '}' || character === ']') {
      if (open.pop()) objects--;
    }
    i++;
  }
  return undefined;
}
