import type { StackedLayer } from '@therapeutic-moe/nn';

/** A stack's shape in numbers, `[experts,input,output]`, for messages. */
export function stackedSizes({ experts, inputSize, outputSize }: StackedLayer): string {
  return `[${[experts, inputSize, outputSize]}]`;
}
