import type { ReplyReport } from './chat-client.js';
import { ExpertShares } from './expert-shares.js';
import { ReplyFacts } from './reply-facts.js';
import { ResourceCard } from './resource-card.js';
import type { Exchange } from './use-conversation.js';

export function ExchangeView({ exchange }: { exchange: Exchange }) {
  const { question, reply, state, end, failure, leftOut } = exchange;
  const report = end?.report;
  const { before, after } = aroundResources(reply, report);
  const open = state === 'waiting' || state === 'writing';
  return (
    <li class="exchange">
      <div class="question">
        <span class="said">You said: </span>
        {question}
      </div>
      <article class="reply" aria-label="Reply" aria-busy={open} aria-live="polite">
        {leftOut > 0 && (
          <p class="aside">
            Older messages no longer fit into this small model's memory and were left out of this turn.
          </p>
        )}
        <ReplyText words={before} writing={state === 'writing'} />
        {report && <ResourceCard safety={report.safety} />}
        <ReplyText words={after} writing={false} />
        {state === 'waiting' && (
          <div class="thinking" role="status">
            <i />
            <i />
            <i />
            <span class="said">Writing a reply</span>
          </div>
        )}
        {state === 'stopped' && <p class="aside">Stopped.</p>}
        {state === 'done' && reply === '' && (
          <p class="aside">The model ended its reply without a word. Try again with another seed.</p>
        )}
        {failure !== undefined && (
          <p class="failure" role="alert">
            {failure}
          </p>
        )}
        {report && (
          <footer class="report">
            <ExpertShares routing={report.routing} />
            <ReplyFacts report={report} completionTokens={end?.completionTokens} finishReason={end?.finishReason} />
          </footer>
        )}
      </article>
    </li>
  );
}

function ReplyText({ words, writing }: { words: string; writing: boolean }) {
  if (words.trim() === '') return null;
  return (
    <div class={writing ? 'text writing' : 'text'}>
      {paragraphsOf(words).map(({ start, words: paragraph }) => (
        <p key={start}>{paragraph}</p>
      ))}
    </div>
  );
}

/** The reply around its list of resources, which the card shows in its place; all of it is before where there is none. */
function aroundResources(reply: string, report: ReplyReport | undefined): { before: string; after: string } {
  const names = report?.safety.resources?.map(({ name }) => name) ?? [];
  const lines = reply.split('\n');
  const isListed = (line: string) => names.some((name) => line.startsWith(`- ${name}:`));
  const first = lines.findIndex(isListed);
  if (first < 0) return { before: reply, after: '' };
  const rest = lines.slice(first).filter((line) => !isListed(line));
  return { before: lines.slice(0, first).join('\n'), after: rest.join('\n') };
}

function paragraphsOf(text: string): { start: number; words: string }[] {
  const found: { start: number; words: string }[] = [];
  for (const match of text.matchAll(/[^\n]+(?:\n(?!\n)[^\n]+)*/g)) {
    const words = match[0].trim();
    if (words !== '') found.push({ start: match.index, words });
  }
  return found;
}
