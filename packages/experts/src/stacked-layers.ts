import type { Parameters, StackedLayer } from '@therapeutic-moe/nn';

/** A stack's shape in numbers, `[experts,input,output]`, for messages. */
export function stackedSizes({ experts, inputSize, outputSize }: StackedLayer): string {
  return `[${[experts, inputSize, outputSize]}]`;
}

/** The weights of stacks under the names of the stacks, as Hugging Face names them; a frozen one has none. */
export function stackedWeights(stacks: Readonly<Record<string, StackedLayer>>): Parameters {
  return new Map(
    Object.entries(stacks).flatMap(([name, stack]) =>
      [...stack.parameters().values()].map((weight) => [name, weight] as const),
    ),
  );
}
