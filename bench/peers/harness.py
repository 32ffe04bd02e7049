"""What every peer needs: settings from the command line, timing, one JSON line as the answer."""

import json
import os
import statistics
import sys
import time

import torch


def settings():
    """The settings that bench passes as JSON."""
    torch.manual_seed(7)
    return json.loads(sys.argv[1])


def device_for(backend):
    """WebGPU is held against PyTorch on the same kind of device."""
    if backend != "webgpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        answer({"missing": "this torch sees no CUDA device, which is what WebGPU is compared with"})
        sys.exit(0)
    return torch.device("cuda")


def precision_of(given):
    """Whether bfloat16 is asked for, as a context for the forward pass: torch's autocast, which leaves weights float32."""
    return torch.autocast(device_for(given["backend"]).type, torch.bfloat16, enabled=given["precision"] == "bfloat16")


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


def peak_memory(work, device):
    """The most memory that one run takes beyond what is held before it, in MiB: on the device, or of this process (Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    try:
        with open("/proc/self/clear_refs", "w") as refs:
            refs.write("5")  # sets the peak to what is resident now
        before = resident("VmRSS")
        work()
        return max(0, resident("VmHWM") - before) / 2**10
    except OSError:
        return None


def resident(line):
    """A line of /proc/self/status, in KiB."""
    with open("/proc/self/status") as status:
        return next(int(one.split()[1]) for one in status if one.startswith(line + ":"))


def fastest(device, times_with, variants=(None,), precision="float32"):
    """The peer at its best: all variants, each on all cores and on one, which wins for small work and on a busy machine."""
    timings = []
    for threads in sorted({1, os.cpu_count() or 1}) if device.type == "cpu" else [1]:
        torch.set_num_threads(threads)
        timings += [timing(times_with(variant), device, variant, precision) for variant in variants]
    return min(timings, key=lambda one: one["medianMs"])


def timing(times, device, variant, precision):
    where = f"threads: {torch.get_num_threads()}" if device.type == "cpu" else torch.cuda.get_device_name()
    notes = [torch.__version__, precision, where, variant]
    return {
        "medianMs": statistics.median(times),
        "minMs": min(times),
        "maxMs": max(times),
        "repeats": len(times),
        "detail": ", ".join(note for note in notes if note),
    }


def answer(result):
    print(json.dumps(result), flush=True)
