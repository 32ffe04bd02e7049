import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { splitGroups } from './split.mjs';
import * as text from './text.mjs';

const droppedModules = new Set(['Preface']);
const endOfProse =
  /^(?:Review Questions?|Critical Thinking Questions?|Personal Application Questions?|References|Key Terms|Glossary)$/u;
const objectives = /^By the end of this section, you will be able to:?$/u;
const noHeading =
  /^(?:Summary|Link to Learning|Everyday Connection|Dig Deeper|What Do You Think\??|Connect the Concepts|Introduction|Figure|Table)/u;
const notATerm =
  /^(?:since|like|unlike|despite|during|before|after|by|with|from|to|of|this|that|these|those|it|there|he|she|they|we|you|i|one|what|which|who|another|other|here|some|many|most|such|each|both|all|the (?:first|second|third|other|same|result|idea|goal|most|more|purpose|problem|question|answer|reason|point|key|best|only|main|next|last|fact|former|latter|following|author|researchers?|study|participants?)|an? (?:example|good|more|second|third|common|key|few|number|major|similar|person|recent)|for|in|on|at|if|when|while|as|his|her|their|our|your|my|its|not|but|and|so|although|because|however|perhaps|also|then|now)\b/iu;

function cleanParagraph(paragraph) {
  return text
    .separateSentences(text.normalise(paragraph))
    .replace(/\s*\((?:see )?(?:Figure|Table)?\s*\)/giu, '')
    .replace(
      /\s*\((?:e\.g\., |see |cf\. )?(?:[A-Z][^()]{0,140}?,? (?:&|and|et al\.)?[^()]{0,80}?(?:1[89]|20)\d\d[a-z]?(?:[;,][^()]*)?|(?:1[89]|20)\d\d[a-z]?(?:[/,;] ?(?:(?:1[89]|20)\d\d|p\. ?\d+))*)\)/gu,
      '',
    )
    .replace(/[^\S\n]+/gu, ' ')
    .replace(/ ([,.;:!?])/gu, '$1')
    .trim();
}

const isHeading = (line) => line.length <= 90 && !/[.!?:;,]["')]?$/u.test(line) && /^[A-Z"]/u.test(line);

/** The prose of a module in sections `{ heading, paragraphs }`, and its critical-thinking questions with model answers. */
export function readModule(title, body) {
  const lines = body
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);
  const end = lines.findIndex((line) => endOfProse.test(line));
  const prose = end < 0 ? lines : lines.slice(0, end);
  const start = prose.findIndex((line) => objectives.test(line));
  const first = start < 0 ? 0 : prose.findIndex((line, i) => i > start && line.length > 150);
  const sections = [{ heading: title, paragraphs: [] }];
  for (const line of prose.slice(Math.max(0, first))) {
    if (isHeading(line)) sections.push({ heading: line, paragraphs: [] });
    else {
      const paragraph = cleanParagraph(line);
      if (paragraph) sections.at(-1).paragraphs.push(paragraph);
    }
  }
  const thinking = [];
  const from = lines.findIndex((line) => /^Critical Thinking Questions?$/u.test(line));
  if (from >= 0) {
    for (let i = from + 1; i + 1 < lines.length && !endOfProse.test(lines[i]); i += 1) {
      const question = cleanParagraph(lines[i]);
      const answer = cleanParagraph(lines[i + 1]).replace(/^Answers (?:will|may) vary[^.]*\.\s*/u, '');
      if (question.endsWith('?') && !answer.endsWith('?') && text.countWords(answer) >= 12) {
        thinking.push({ question, answer });
        i += 1;
      }
    }
  }
  return { sections: sections.filter((section) => section.paragraphs.length > 0), thinking };
}

/** "X is a ..." at the start of a sentence gives the term X; '' where no term stands there. */
export function definedTerm(sentence) {
  const found =
    /^((?:An? |The )?[A-Z]?[A-Za-z][\w'-]*(?: [a-z][\w'-]*| of| the){0,3}?)(?: \([A-Z]{2,6}\))?(?:, or [a-z' -]{3,30},| or [a-z' -]{3,30})? (?:is|are|refers to|involves|describes|is defined as|occurs when) (?:an?|the|one|when|any|how|our|those|defined|characterized|known)\b/u.exec(
      sentence,
    );
  if (!found) return '';
  const term = found[1];
  if (
    notATerm.test(term) ||
    text.countWords(term) > 4 ||
    /\b(?:of|the|that|which|who|his|her|their|this|these|and|themselves|itself)$/u.test(term) ||
    /\b(?:that|which|who|this|these|those|his|her|their|your|our)\b/u.test(term)
  )
    return '';
  return term
    .replace(/^(An?|The) /u, (article) => article.toLowerCase())
    .replace(/^([A-Z])(?=[a-z]+(?: [a-z]|$))/u, (letter) => letter.toLowerCase());
}

const takeWords = (parts, limit) => {
  const kept = [];
  let words = 0;
  for (const part of parts) {
    words += text.countWords(part);
    if (words > limit && kept.length > 0) break;
    kept.push(part);
  }
  return kept.join(' ');
};

/** A title in running case: a word keeps its capital unless the prose also writes it small. */
const lowerTitle = (title, words) =>
  title.replace(/[\w'-]+/gu, (word) =>
    /^[A-Z][a-z'-]*[a-z]$/u.test(word) && words.has(word.toLowerCase()) ? word.toLowerCase() : word,
  );

const deictic =
  /\b(?:Figure|Table|this section|this chapter|this module|next section|previous section|the video|the photo|pictured|shown (?:here|below|above))\b/iu;

/** Question and answer pairs of one module: defined terms, section headings, critical-thinking questions. */
export function derivePairs({ sections, thinking }) {
  const pairs = [];
  const words = new Set(
    sections
      .flatMap((section) => section.paragraphs)
      .join(' ')
      .match(/[\w'-]+/gu),
  );
  for (const { heading, paragraphs } of sections) {
    for (const paragraph of paragraphs) {
      const all = text.sentences(paragraph).filter((sentence) => !deictic.test(sentence));
      all.forEach((sentence, i) => {
        const term = definedTerm(sentence);
        if (!term) return;
        const plural = new RegExp(`^${term.replace(/[.*+?^${}()|[\]\\]/gu, '\\$&')} are\\b`, 'iu').test(sentence);
        const answer = takeWords(all.slice(i, i + 4), 90);
        if (text.countWords(answer) < 14) return;
        pairs.push({
          kind: 'definition',
          subject: term,
          question: plural ? `What are ${term}?` : `What is ${term}?`,
          answer,
        });
      });
    }
    if (noHeading.test(heading) || text.countWords(heading) > 8) continue;
    const opening = takeWords(
      paragraphs
        .slice(0, 2)
        .flatMap((paragraph) => text.sentences(paragraph))
        .filter((sentence) => !deictic.test(sentence)),
      110,
    );
    if (text.countWords(opening) < 25) continue;
    pairs.push({ kind: 'section', subject: lowerTitle(heading, words), question: heading, answer: opening });
  }
  for (const pair of thinking) pairs.push({ kind: 'thinking', subject: pair.question, ...pair });
  return pairs;
}

/** Groups paragraphs into pieces of about 2 to 4 thousand characters that never cut a paragraph. */
export function groupParagraphs(sections, target = 3000) {
  const pieces = [];
  let open = '';
  for (const { heading, paragraphs } of sections) {
    const withHeading = noHeading.test(heading)
      ? paragraphs
      : [`${heading}\n\n${paragraphs[0]}`, ...paragraphs.slice(1)];
    for (const paragraph of withHeading) {
      if (open && open.length + paragraph.length > target) {
        pieces.push(open);
        open = '';
      }
      open = open ? `${open}\n\n${paragraph}` : paragraph;
    }
  }
  if (open.length >= 200) pieces.push(open);
  return pieces;
}

/** Modules with their split; whole modules are held out. */
export async function readOpenstax(folder, seed, count) {
  const file = join(folder, 'openstax_psychology', 'derived_psychology2e_text.jsonl');
  const rows = (await readFile(file, 'utf8'))
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  const kept = rows.filter((row) => {
    if (droppedModules.has(row.title)) count('openstax_psychology: module without prose');
    return !droppedModules.has(row.title);
  });
  const prose = kept.filter((row) => row.title !== 'Introduction').map((row) => row.module);
  const splits = splitGroups(prose, `${seed}:openstax`, { validation: 0.05, test: 0.04 });
  const modules = kept.map((row) => ({
    id: row.module,
    split: splits.get(row.module) ?? 'train',
    ...readModule(row.title, row.text),
  }));
  return { files: [file], modules };
}
