"""Mixtral's sparse block: router and experts, forward or forward and backward."""

import torch
from harness import answer, device_for, fastest, measure, precision_of, settings
from mixtral import EXPERT_FORMS, make_block


def main():
    given = settings()
    device = device_for(given["backend"])
    shape = (1, given["tokens"], given["hiddenSize"])
    hidden = torch.randn(shape, device=device, requires_grad=given["backward"])
    dy = torch.randn(shape, device=device)

    def times_with(experts):
        block = make_block(given, experts, device)

        def forward():
            with torch.inference_mode(), precision_of(given):
                block(hidden)

        def both():
            with precision_of(given):
                out = block(hidden)
            torch.autograd.grad(out, (hidden, *block.parameters()), dy.to(out.dtype))

        work = both if given["backward"] else forward
        return measure(work, device, given["repeats"], warm_up=2, at_least_ms=1000.0)

    answer(fastest(device, times_with, EXPERT_FORMS, given["precision"]))


main()
