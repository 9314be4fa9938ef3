"""PyTorch's training step and inference on the networks of bench_train, as a server: README.md has what it reads and answers.

usage: torch_train.py THREADS [--best]

--best: of several ways to write the same step (layout, Adam over one tensor at a time or over all) and the same inference (eager,
or traced and frozen) the fastest, found by a short trial for each network and batch. Without it: as tutorials write it.
"""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

from timing import median_ms

IMAGES = 4096


def autoencoder():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1568, 32),
        nn.Linear(32, 1568), nn.ReLU(), nn.Unflatten(1, (32, 7, 7)), nn.ConvTranspose2d(32, 16, 3, 2, 1, 1), nn.ReLU(),
        nn.ConvTranspose2d(16, 1, 3, 2, 1, 1), nn.Sigmoid())


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(784, 10))


NETS = {"autoencoder": autoencoder, "cnn": cnn}
IMAGE = torch.rand(IMAGES, 1, 28, 28)
LABEL = torch.randint(0, 10, (IMAGES,))


def training(name, batch, layout, **adam):
    """A training step as a function: the next batch of a shuffled pass, forward, loss, gradients, Adam."""
    net = NETS[name]().to(memory_format=layout)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3, **adam)
    order, at = torch.randperm(IMAGES), 0

    def step():
        nonlocal order, at
        if at + batch > IMAGES:
            order, at = torch.randperm(IMAGES), 0
        index = order[at:at + batch]
        at += batch
        x = IMAGE[index].contiguous(memory_format=layout)
        optimizer.zero_grad(set_to_none=bool(adam))
        y = net(x)
        loss = F.cross_entropy(y, LABEL[index]) if name == "cnn" else F.mse_loss(y, x)
        loss.backward()
        optimizer.step()

    return step


def inference(name, batch, traced):
    net, x = NETS[name]().eval(), IMAGE[:batch].clone()
    if traced:
        net = torch.jit.optimize_for_inference(torch.jit.trace(net, x))
    mode = torch.inference_mode if traced else torch.no_grad

    def infer():
        with mode():
            net(x)

    return infer


def steps(name, batch, best):
    yield training(name, batch, torch.contiguous_format)
    if best:
        for layout in (torch.contiguous_format, torch.channels_last):
            for foreach in (False, True):
                yield training(name, batch, layout, foreach=foreach)


def inferences(name, batch, best):
    for traced in (False, True)[:1 + best]:
        yield inference(name, batch, traced)


def fastest(candidates):
    """The one that a short trial says."""
    candidates = list(candidates)
    if len(candidates) == 1:
        return candidates[0]
    return min(candidates, key=lambda body: median_ms(body, 0.1))


def main():
    torch.set_num_threads(int(sys.argv[1]))
    best = "--best" in sys.argv
    chosen = {}
    print(f"ready PyTorch {torch.__version__}", flush=True)
    for line in sys.stdin:
        seconds, warm, row = line.split()
        if row not in chosen:
            name, batch = row.split(",")
            chosen[row] = fastest(steps(name, int(batch), best)), fastest(inferences(name, int(batch), best))
        step, infer = chosen[row]
        step_ms = median_ms(step, float(seconds), float(warm))
        print(f"{step_ms:.5f} {median_ms(infer, float(seconds)):.5f}", flush=True)


main()
