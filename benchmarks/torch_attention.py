"""
The peer of transformers.ts: `scaled_dot_product_attention`, forward and backward, on the same shapes. Reads lines `batch heads time depth causal`, answers with the
milliseconds of one step. Needs torch.
"""
import sys
import time

import torch

torch.set_num_threads(2)
problems = {}


def problem(*shape):
    if shape not in problems:
        torch.manual_seed(0)
        problems[shape] = [torch.randn(*shape).requires_grad_() for _ in range(3)]
    return problems[shape]


def step(batch, heads, length, depth, causal):
    q, k, v = problem(batch, heads, length, depth)
    q.grad = k.grad = v.grad = None
    start = time.perf_counter()
    y = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=bool(causal))
    (y * y).sum().backward()
    return (time.perf_counter() - start) * 1e3


for line in sys.stdin:
    print(step(*map(int, line.split())), flush=True)
