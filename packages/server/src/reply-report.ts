/** A service to turn to, as clients receive it. */
export interface ReportedResource {
  name: string;
  /** How to reach it, in words. */
  contact: string;
  /** Number to call, where `contact` holds one. */
  phone?: string;
  url: string;
}

/**
 * The `tmoe` field of every chat completion (in a stream: of the chunk that carries `finish_reason`): everything the
 * server decided about this reply.
 */
export interface ReplyReport {
  /** `hit`: answered before; `miss`: written now and stored; `bypass`: the cache was neither asked nor filled. */
  cache: 'hit' | 'miss' | 'bypass';
  safety: {
    /**
     * `none`; `resources` or `refuse`: answered without the model; `note`: a note stands in front of the model's reply;
     * `replaced`: part of the model's reply was withheld by the output check.
     */
    action: string;
    /** Which finding decided. */
    reason?: string;
    /** What the crisis detector found; it names entries of its lexicon and never repeats what was written. */
    crisis: { level: string; score: number; signals: readonly { id: string; category: string; weight: number }[] };
    /** The policy that decided. */
    policyVersion?: string;
    /** Rules of the output check that fired. */
    replyRules?: readonly string[];
    /** The emergency number of the policy's region, or words where there is no single one. */
    emergency?: string;
    /** Whom to turn to; absent when there is no need. */
    resources?: readonly ReportedResource[];
  };
  /** Expert (domain) name to its share of this reply's visits; empty when no model took part. */
  routing: Record<string, number>;
  /** Milliseconds from the request to the end of the reply. */
  latencyMs: number;
  /** Speed of the model while it wrote; absent when it did not. */
  tokensPerSecond?: number;
}

/** How a reply ended. */
export interface ReplyEnd {
  finishReason: 'stop' | 'length' | 'content_filter';
  usage: { promptTokens: number; completionTokens: number };
  report: ReplyReport;
  /** Seconds the model was at work; absent when it was not asked. */
  generationSeconds?: number;
}
