"""PyTorch's data parallelism: a network of torch_nets.py with DistributedDataParallel on gloo, one thread a process.

usage: torch_ddp.py NET BATCH PROCESSES SECONDS
       torch_ddp.py NET BATCH PROCESSES --hash STEPS

BATCH is that of all processes together. Prints CSV: the median milliseconds of a step; or, after that many steps from equal
parameters on equal data, without dropout, the SHA-256 of all parameters.
"""
import hashlib
import os
import sys
import tempfile
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from torch_nets import NETS, draw

BATCHES, WARM_STEPS = 8, 5


def make_step(name, batch, rank, processes):
    """A step as a function of its number, and the parameters."""
    build, _, loss_of, optimizer_of, _ = NETS[name]
    torch.manual_seed(1)
    net, data = build()[0], draw(name, BATCHES * batch)
    for layer in net.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0
    part, parallel = batch // processes, DistributedDataParallel(net)
    optimizer = optimizer_of(net.parameters())

    def step(number):
        first = number % BATCHES * batch + rank * part
        optimizer.zero_grad()
        loss_of([parallel], {key: t[first:first + part] for key, t in data.items()}, 0).backward()
        optimizer.step()

    return step, list(net.parameters())


def digest(parameters):
    h = hashlib.sha256()
    for p in parameters:
        h.update(p.detach().numpy().tobytes())
    return h.hexdigest()


def median_ms(step, seconds):
    """Of as many steps as fit into the time; process 0 says how many."""
    for number in range(WARM_STEPS):
        step(number)
    start = time.perf_counter()
    for number in range(WARM_STEPS):
        step(number)
    count = torch.tensor(1 + int(seconds * WARM_STEPS / (time.perf_counter() - start)))
    dist.broadcast(count, 0)
    samples = []
    for number in range(int(count)):
        start = time.perf_counter()
        step(number)
        samples.append(time.perf_counter() - start)
    return 1e3 * sorted(samples)[len(samples) // 2]


def run(rank, name, batch, processes, what, amount, meeting):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=processes)
    step, parameters = make_step(name, batch, rank, processes)
    if what == "sha256":
        for number in range(int(amount)):
            step(number)
        result = digest(parameters)
    else:
        result = f"{median_ms(step, amount):.4f}"
    if rank == 0:
        print(f"net,batch,processes,{what}\n{name},{batch},{processes},{result}", flush=True)
    dist.destroy_process_group()


def main():
    name, batch, processes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    what = "sha256" if sys.argv[4] == "--hash" else "ms"
    if batch % processes:
        sys.exit(f"a batch of {batch} is not the same for each of {processes} processes")
    with tempfile.TemporaryDirectory() as folder:
        arguments = name, batch, processes, what, float(sys.argv[-1]), os.path.join(folder, "meeting")
        multiprocessing.spawn(run, arguments, processes)


if __name__ == "__main__":
    main()
