import { type Case, type Comparison, type Lab, type Measured, type Peer, PeerMissing } from './comparison.js';

/** Causal attention of one sequence, under the names of `flashAttention`. */
export interface AttentionShape {
  readonly seq: number;
  readonly heads: number;
  readonly headDim: number;
  /** Most keys that a query sees; absent: all before it. */
  readonly window?: number;
  /** Whether the gradients to queries, keys and values are computed too. */
  readonly backward: boolean;
}

const sizes = { heads: 8, headDim: 64 };
const longest = 8192;
const shapes = [{ seq: 64 }, { seq: 512 }, { seq: 2048 }, { seq: longest }, { seq: longest, window: 512 }];

/** Time and memory of causal attention, short and long. */
export const attention: Comparison = {
  name: 'attention',
  about: 'causal attention of 64 to 8192 tokens, time and memory, against the score matrix and PyTorch',
  async cases(lab) {
    const cases: Case[] = [];
    for (const backend of await lab.backends()) {
      for (const backward of [false, true]) {
        for (const shape of shapes) cases.push(compare(lab, backend, { ...sizes, ...shape, backward }));
      }
    }
    return cases;
  },
  conclude: (measured) => [...compareGrowth(measured), ...compareWindow(measured)],
};

function compare(lab: Lab, backend: string, shape: AttentionShape): Case {
  const short = shape.seq < longest;
  const input = { ...shape, backend, repeats: short ? lab.repeats : Math.ceil(lab.repeats / 2) };
  const naive: Peer = {
    name: 'naive',
    async measure() {
      const reason = reasonAgainstNaive(shape, backend);
      if (reason !== undefined) throw new PeerMissing(reason);
      return lab.node('attention', { ...input, form: 'naive', repeats: short ? lab.repeats : lab.naiveRepeats });
    },
  };
  const torch: Peer = { name: 'torch', measure: () => lab.python('attention', input) };
  return {
    case: `${nameOf(shape)} on ${backend}`,
    backend,
    ours: () => lab.node('attention', { ...input, form: 'flash' }),
    peers: shape.window === undefined ? [naive, torch] : [naive],
  };
}

function nameOf({ seq, heads, headDim, window, backward }: AttentionShape): string {
  const seen = window === undefined ? 'causal' : `window ${window}`;
  return `${seen} attention T${seq} B1 H${heads} D${headDim}, ${backward ? 'forward+backward' : 'forward'}`;
}

/** Score matrices that the naive form holds at once, with its mask and what the tape keeps: measured at 2048 tokens. */
const matrices = { forward: 6, backward: 11 };

/** A wasm heap has 32-bit addresses. */
const wasmHeap = 2 ** 32;

function reasonAgainstNaive({ seq, heads, backward }: AttentionShape, backend: string): string | undefined {
  const [matrix, count] = [4 * heads * seq ** 2, backward ? matrices.backward : matrices.forward];
  const room = backend === 'wasm' ? wasmHeap : process.availableMemory();
  if (1.5 * count * matrix < room) return undefined;
  const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  return `it holds ${count} score matrices of ${gib(matrix)} at once, and there are ${gib(room)}`;
}

/** How memory grows when the tokens are four times as many. */
function compareGrowth(measured: readonly Measured[]): string[] {
  return measured.flatMap(({ case: name, backend, peer, ours, theirs }) => {
    if (peer !== 'naive' || !/ T(512|2048) /.test(name)) return [];
    const seq = name.includes(' T512 ') ? 512 : 2048;
    const longer = measured.find((one) => one.peer === peer && one.case === name.replace(`T${seq}`, `T${4 * seq}`));
    const growth = [
      ['ours', ours.peakMiB, longer?.ours.peakMiB],
      ['naive', theirs?.peakMiB, longer?.theirs?.peakMiB],
    ] as const;
    const told = growth.flatMap(([who, few, many]) => (few && many ? [`${who} ${(many / few).toFixed(1)}`] : []));
    const pass = name.slice(name.indexOf(', ') + 2).replace(` on ${backend}`, '');
    return told.length > 0
      ? [`${backend}: ${pass}: memory from ${seq} to ${4 * seq} tokens: ${told.join(', ')} times`]
      : [];
  });
}

/** What a window spares. */
function compareWindow(measured: readonly Measured[]): string[] {
  return measured.flatMap(({ case: name, backend, ours }) => {
    if (!name.startsWith('window 512 ')) return [];
    const whole = measured.find((one) => one.case === name.replace('window 512 ', 'causal '));
    if (!whole) return [];
    const ratio = (ours.medianMs / whole.ours.medianMs).toFixed(2);
    return [`${backend}: a window of 512 takes ${ratio} times as long as none (${name.slice(name.indexOf(' T') + 1)})`];
  });
}
