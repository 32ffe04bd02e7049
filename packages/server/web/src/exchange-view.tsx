import type { ReplyReport } from './chat-client.js';
import { ExpertShares } from './expert-shares.js';
import { ReplyFacts } from './reply-facts.js';
import { ResourceCard } from './resource-card.js';
import type { Exchange } from './use-conversation.js';

export function ExchangeView({ exchange }: { exchange: Exchange }) {
  const { question, reply, state, end, failure, leftOut } = exchange;
  const report = end?.report;
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
        {reply !== '' && (
          <div class={state === 'writing' ? 'text writing' : 'text'}>
            {paragraphsOf(withoutListed(reply, report)).map(({ start, words }) => (
              <p key={start}>{words}</p>
            ))}
          </div>
        )}
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
        {report && <ResourceCard safety={report.safety} />}
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

/** The reply without the lines that the resource card shows below it, better. */
function withoutListed(reply: string, report: ReplyReport | undefined): string {
  const names = report?.safety.resources?.map(({ name }) => name) ?? [];
  const lines = reply.split('\n');
  return lines.filter((line) => !names.some((name) => line.startsWith(`- ${name}:`))).join('\n');
}

function paragraphsOf(text: string): { start: number; words: string }[] {
  const found: { start: number; words: string }[] = [];
  for (const match of text.matchAll(/[^\n]+(?:\n(?!\n)[^\n]+)*/g)) {
    const words = match[0].trim();
    if (words !== '') found.push({ start: match.index, words });
  }
  return found;
}
