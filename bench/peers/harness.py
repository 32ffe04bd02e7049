"""What every peer needs: settings from the command line, timing, one JSON line as the answer."""

import json
import os
import statistics
import sys
import time

import torch


def settings():
    """The settings that bench passes as JSON, with PyTorch on all cores."""
    given = json.loads(sys.argv[1])
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(7)
    return given


def device_for(backend):
    """WebGPU is held against PyTorch on the same kind of device."""
    if backend != "webgpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        answer({"missing": "this torch sees no CUDA device, which is what WebGPU is compared with"})
        sys.exit(0)
    return torch.device("cuda")


def finish(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def measure(work, device, repeats, warm_up, at_least_ms=0.0):
    """Times in milliseconds, after a warm-up; short work is repeated until enough time has been measured."""
    for _ in range(warm_up):
        work()
    times = []
    finish(device)
    while len(times) < repeats or sum(times) < at_least_ms:
        start = time.perf_counter()
        work()
        finish(device)
        times.append((time.perf_counter() - start) * 1e3)
    return times


def timing(times, device, detail=None):
    threads = f"{torch.get_num_threads()} threads" if device.type == "cpu" else torch.cuda.get_device_name()
    notes = [f"torch {torch.__version__}", "float32", threads, detail]
    return {
        "medianMs": statistics.median(times),
        "minMs": min(times),
        "maxMs": max(times),
        "repeats": len(times),
        "detail": ", ".join(note for note in notes if note),
    }


def answer(result):
    print(json.dumps(result), flush=True)
