"""A safetensors file to float32 tensors of their own, with the library and torch: as stored, widened where it is narrower."""

import os
import time

import torch
from harness import answer, device_for, fastest, finish, measure, peak_memory, settings
from safetensors import safe_open


def main():
    given = settings()
    device = device_for(given["backend"])
    file = os.path.join(given["directory"], "model.safetensors")

    def load():
        with safe_open(file, framework="pt") as tensors:
            held = {name: tensors.get_tensor(name).to(device, torch.float32, copy=True) for name in tensors.keys()}
        finish(device)
        return held

    start = time.perf_counter()
    peak = peak_memory(load, device)
    first = (time.perf_counter() - start) * 1e3
    result = fastest(device, lambda _: measure(load, device, given["repeats"], warm_up=1))
    answer({**result, "peakMiB": peak, "detail": f"{result['detail']}, first in its process {first:.0f} ms"})


main()
