"""Greedy decoding of Mixtral with its key-value cache."""

import time

import torch
from harness import answer, device_for, fastest, finish, settings
from mixtral import EXPERT_FORMS, make_model


def main():
    given = settings()
    device = device_for(given["backend"])
    sizes = {**given["model"], **given["model"]["mixture"]}
    prompt = torch.randint(0, sizes["vocabSize"], (1, given["prompt"]), device=device)

    @torch.inference_mode()
    def times_with(experts):
        model = make_model(sizes, sizes["maxPositionEmbeddings"], experts, device).eval()
        times = []
        for timed in (False, True):
            out = model(input_ids=prompt, use_cache=True)
            for _ in range(given["tokens"]):
                start = time.perf_counter()
                token = out.logits[:, -1:].argmax(-1)
                out = model(input_ids=token, past_key_values=out.past_key_values, use_cache=True)
                finish(device)
                if timed:
                    times.append((time.perf_counter() - start) * 1e3)
        return times

    answer(fastest(device, times_with, EXPERT_FORMS))


main()
