const STRING = /"(?:[^"\\]|\\.)*"/y;
const COLON = /\s*:/y;

/**
 * The first key that occurs twice in one object of a JSON text, as a path of keys (lists left out), or undefined. `JSON.parse` keeps
 * the last of two equal keys silently, which in a checkpoint would hide a tensor.
 *
 * @param json a text that `JSON.parse` accepts.
 */
export function findDuplicateKey(json: string): string | undefined {
  const open: (Set<string> | undefined)[] = []; // one per open bracket; undefined for an array
  const path: string[] = [];
  for (let i = 0; i < json.length; ) {
    const character = json[i];
    if (character === '"') {
      STRING.lastIndex = i;
      const text = STRING.exec(json)![0];
      i += text.length;
      const keys = open.at(-1);
      COLON.lastIndex = i;
      if (!keys || !COLON.test(json)) continue; // a value, not a key
      const key = JSON.parse(text) as string;
      path.splice(open.filter(Boolean).length - 1, Number.POSITIVE_INFINITY, key);
      if (keys.has(key)) return path.join('.');
      keys.add(key);
      i = COLON.lastIndex;
      continue;
    }
    if (character === '{') open.push(new Set());
    else if (character === '[') open.push(undefined);
    else if (character === '}' || character === ']') open.pop();
    i++;
  }
  return undefined;
}
