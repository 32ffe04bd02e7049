"""Causal attention of one sequence: scaled_dot_product_attention, forward or forward and backward, time and peak memory."""

import torch
import torch.nn.functional as F
from harness import answer, device_for, fastest, measure, peak_memory, settings


def prepare(given, seq, device):
    """Makes the operands and returns what is timed."""
    shape = (1, given["heads"], seq, given["headDim"])
    q, k, v = (torch.randn(shape, device=device, requires_grad=given["backward"]) for _ in range(3))
    if not given["backward"]:
        return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)
    dy = torch.randn(shape, device=device)
    return lambda: torch.autograd.grad(F.scaled_dot_product_attention(q, k, v, is_causal=True), (q, k, v), dy)


def main():
    given = settings()
    device = device_for(given["backend"])
    short = prepare(given, min(64, given["seq"]), device)
    for _ in range(3):  # so that loading code is not counted as memory
        short()
    work = prepare(given, given["seq"], device)
    peak = peak_memory(work, device)

    def times_with(_):
        return measure(work, device, given["repeats"], warm_up=1, at_least_ms=500.0)

    answer({**fastest(device, times_with), "peakMiB": peak})


main()
