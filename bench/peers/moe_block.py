"""Mixtral's sparse block: router and experts, forward or forward and backward."""

import torch
from harness import answer, device_for, fastest, measure, settings
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
            with torch.inference_mode():
                block(hidden)

        def both():
            torch.autograd.grad(block(hidden), (hidden, *block.parameters()), dy)

        work = both if given["backward"] else forward
        return measure(work, device, given["repeats"], warm_up=2, at_least_ms=1000.0)

    answer(fastest(device, times_with, EXPERT_FORMS))


main()
