"""
The peer of deq.ts: training steps of TorchDEQ on the same problem. Reads lines `width batch solver`, answers with the milliseconds of one step and the
iterations of its forward and backward solves. Needs torch and torchdeq (https://github.com/locuslab/torchdeq).
"""
import math
import sys
import time

import torch
from torchdeq import get_deq

torch.set_num_threads(2)
problems, models = {}, {}


def problem(width, batch):
    if (width, batch) not in problems:
        torch.manual_seed(0)
        W = (torch.randn(width, width) * 0.4 / math.sqrt(width)).requires_grad_()
        U = (torch.randn(width, width) / math.sqrt(width)).requires_grad_()
        problems[width, batch] = W, U, torch.randn(batch, width)
    return problems[width, batch]


def model(solver):
    if solver not in models:
        limits = dict(f_max_iter=60, b_max_iter=60, f_tol=1e-4, b_tol=1e-4, f_stop_mode='rel', b_stop_mode='rel')
        models[solver] = get_deq(ift=True, f_solver=solver, b_solver=solver, **limits).train()
    return models[solver]


def step(width, batch, solver):
    W, U, x = problem(width, batch)
    deq, backward = model(solver), []
    W.grad = U.grad = None
    start = time.perf_counter()
    injected = x @ U
    z, info = deq(lambda z: torch.tanh(z @ W + injected), torch.zeros(batch, width), backward_writer=backward.append)
    (z[-1] ** 2).sum().backward()
    milliseconds = (time.perf_counter() - start) * 1e3
    return milliseconds, int(info['nstep'].max()), int(backward[0]['nstep'].max())


for line in sys.stdin:
    width, batch, solver = line.split()
    print(*step(int(width), int(batch), solver), flush=True)
