import type { ReplyReport } from './chat-client.js';

interface Props {
  report: ReplyReport;
  completionTokens?: number;
  finishReason?: string;
}

const cacheWords = {
  hit: { label: 'cache hit', title: 'This exact conversation was answered before; the model did not run.' },
  miss: { label: 'cache miss', title: 'The model wrote this reply; asking the same again will find it in the cache.' },
  bypass: {
    label: 'cache bypass',
    title: 'The cache was not asked: without a seed every sampled reply is new, and safety answers are never cached.',
  },
};

const actionWords: Record<string, string> = {
  none: 'no action',
  resources: 'answered with resources, the model was not asked',
  refuse: 'declined, the model was not asked',
  note: 'a note was added',
  replaced: 'part of the reply was withheld',
};

/** Cache, time, speed and any safety action of one reply, as a list of small facts. */
export function ReplyFacts({ report, completionTokens, finishReason }: Props) {
  const cache = cacheWords[report.cache];
  const { action } = report.safety;
  return (
    <ul class="facts">
      <li class={`pill ${report.cache}`} title={cache.title}>
        {cache.label}
      </li>
      <li title="From the request to the end of the reply">{seconds(report.latencyMs)}</li>
      {completionTokens !== undefined && completionTokens > 0 && <li>{completionTokens} tokens</li>}
      {report.tokensPerSecond !== undefined && <li>{report.tokensPerSecond.toFixed(1)} tokens/s</li>}
      {finishReason === 'length' && <li>cut at the token limit</li>}
      <li class={action === 'none' ? undefined : 'pill acted'}>safety: {actionWords[action] ?? action}</li>
    </ul>
  );
}

function seconds(milliseconds: number): string {
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}
