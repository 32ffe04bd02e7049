"""One product: a matrix product, a product per group of rows, or causal attention."""

import torch
import torch.nn.functional as F
from harness import answer, device_for, fastest, measure, settings


def prepare(product, device):
    """Makes the operands and returns what is timed."""
    kind = product["kind"]
    if kind == "mat-mul":
        lead = () if product["batch"] == 1 else (product["batch"],)
        m, k, n = product["m"], product["k"], product["n"]
        a = torch.randn(*lead, *((k, m) if product["transposeA"] else (m, k)), device=device)
        b = torch.randn(*lead, *((n, k) if product["transposeB"] else (k, n)), device=device)
        a = a.mT if product["transposeA"] else a
        b = b.mT if product["transposeB"] else b
        return lambda: a @ b
    if kind == "grouped":
        experts = product["experts"]
        x = torch.randn(product["rows"], product["k"], device=device)
        weights = torch.randn(experts, product["k"], product["n"], device=device)
        sizes = [product["rows"] // experts] * experts
        return lambda: torch.cat([rows @ weight for rows, weight in zip(x.split(sizes), weights)])
    shape = (product["batch"], product["heads"], product["seq"], product["headDim"])
    q, k, v = (torch.randn(shape, device=device, requires_grad=product["backward"]) for _ in range(3))
    if not product["backward"]:
        return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)
    dy = torch.ones(shape, device=device)
    return lambda: torch.autograd.grad(F.scaled_dot_product_attention(q, k, v, is_causal=True), (q, k, v), dy)


def main():
    given = settings()
    device = device_for(given["backend"])
    work = prepare(given["product"], device)

    def times_with(_):
        return measure(work, device, given["repeats"], warm_up=2, at_least_ms=300.0)

    answer(fastest(device, times_with))


main()
