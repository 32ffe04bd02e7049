"""A training step of Mixtral: forward, cross-entropy, backward, fused AdamW."""

import torch
import torch.nn.functional as F
from harness import answer, device_for, fastest, measure, precision_of, settings
from mixtral import EXPERT_FORMS, make_model


def main():
    given = settings()
    device = device_for(given["backend"])
    batch, seq, vocab = given["batch"], given["seq"], given["vocabSize"]
    ids = torch.randint(0, vocab, (batch, seq), device=device)
    targets = torch.randint(0, vocab, (batch * seq,), device=device)

    def times_with(experts):
        model = make_model(given, seq, experts, device)
        model.train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

        def step():
            with precision_of(given):
                logits = model(input_ids=ids, use_cache=False).logits
                loss = F.cross_entropy(logits.view(-1, vocab), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.item()

        return measure(step, device, given["repeats"], warm_up=2)

    answer(fastest(device, times_with, EXPERT_FORMS, given["precision"]))


main()
