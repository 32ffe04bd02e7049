/**
 * How much faster a parameter of an adapter learns: `ratio` for B, which starts at zero, and the lengths of DoRA, 1 for A
 * (LoRA+, arXiv:2402.12354; the groups are those of PEFT's optimiser).
 *
 * @param path of the parameter, as in `LoraAdapter.parameters()`.
 * @param ratio of the learning rates of B and A; the paper takes 16.
 */
export function loraPlusFactor(path: string, ratio: number): number {
  return path.endsWith('.lora_B') || path.endsWith('.lora_magnitude_vector') ? ratio : 1;
}
