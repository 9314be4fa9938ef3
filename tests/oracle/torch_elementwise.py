"""Reference values of element-wise ops, extremes and softmax, computed by PyTorch in f64, with first and second gradients.

    /usr/bin/python3 torch_elementwise.py > elementwise.txt
"""
import torch
import torch.nn.functional as F

from arrays import gradients, short

torch.manual_seed(5)


def away(t, *kinks):
    """Move values off the kinks."""
    for k in kinks:
        t = torch.where((t - k).abs() < 0.05, t + 0.1, t)
    return t


FUNCTIONS = [
    ("abs", torch.abs, -2, 2, [0]),
    ("pow3", lambda x: x.pow(3), -2, 2, []),
    ("pow2", lambda x: x.pow(2), -2, 2, []),
    ("pow_half", lambda x: x.pow(0.5), 0.2, 3, []),
    ("pow_minus", lambda x: x.pow(-1.5), 0.3, 3, []),
    ("erf", torch.erf, -2, 2, []),
    ("gelu", F.gelu, -3, 3, []),
    ("softplus", F.softplus, -15, 15, []),
    ("silu", F.silu, -4, 4, []),
    ("elu", lambda x: F.elu(x, 0.7), -3, 3, [0]),
    ("leaky_relu", lambda x: F.leaky_relu(x, 0.2), -3, 3, [0]),
]


def elementwise():
    for name, f, low, high, kinks in FUNCTIONS:
        gradients(f"{name}.0", f, away(short(12, low=low, high=high), *kinks))
    # the kinks themselves
    gradients("abs.1", torch.abs, torch.tensor([0.0, -1, 2]))
    gradients("leaky_relu.1", lambda x: F.leaky_relu(x, 0.2), torch.tensor([0.0, -1, 2]))
    gradients("maximum.0", torch.maximum, short(2, 3), short(2, 3))
    gradients("maximum.1", torch.maximum, short(2, 1, 3), short(4, 1))
    gradients("maximum.2", torch.maximum, torch.tensor([1.0, 2, 3]), torch.tensor([1.0, 5, 3]))
    gradients("minimum.0", torch.minimum, short(2, 3), short(3))
    gradients("minimum.1", torch.minimum, torch.tensor([1.0, 2, 3]), torch.tensor([1.0, 5, 3]))
    mask = torch.tensor([[1.0, 0, 1], [0, 0, 1]])
    gradients("where.0", lambda x, y: torch.where(mask != 0, x * x, y * y), short(2, 3), short(2, 3))
    gradients("where.1", lambda x, y: torch.where(mask != 0, x * x, y * y), short(3), short(2, 1))


def reductions():
    gradients("amax.0", lambda x: x.amax((0, 2)), short(2, 3, 4))
    gradients("amax.1", lambda x: x.amax(1, keepdim=True), torch.tensor([[1.0, 3, 3], [2, 2, 2]]))
    gradients("amax.2", lambda x: x.square().amax(), short(5))
    gradients("amin.0", lambda x: x.amin(1), short(2, 3, 4))
    gradients("var.0", lambda x: x.var((0, 2), unbiased=False), short(2, 3, 4))
    for axis in range(3):
        gradients(f"softmax.{axis}", lambda x: torch.softmax(x, axis), short(2, 3, 4))
        gradients(f"log_softmax.{axis}", lambda x: torch.log_softmax(x, axis), short(2, 3, 4))
    gradients("log_softmax.3", lambda x: torch.log_softmax(x, 1), short(2, 3) * 400)


def indexed():
    """Indices are written out in test_elementwise.c, too."""
    for name, f in ("sin", torch.sin), ("cos", torch.cos):
        gradients(f"{name}.0", f, short(12, low=-7, high=7))
    for axis in range(3):
        gradients(f"cumsum.{axis}", lambda x: x.cumsum(axis).square(), short(2, 3, 4))
    gradients("log_sum_exp.0", lambda x: x.logsumexp((0, 2)), short(2, 3, 4))
    gradients("log_sum_exp.1", lambda x: x.logsumexp(1, keepdim=True), short(2, 3) * 400)
    gradients("gather.0", lambda x: x.gather(1, torch.tensor([[2, 0], [1, 1]])).square(), short(3, 3))
    gradients("gather.1", lambda x: x.gather(0, torch.tensor([[1, 0, 1], [1, 1, 0], [0, 0, 0]])).square(), short(2, 4))
    gradients("scatter_add.0", lambda x: torch.zeros(3, 4).scatter_add(1, torch.tensor([[3, 0, 3], [1, 1, 1]]), x).square(),
              short(2, 3))
    gradients("index_select.0", lambda x: x.index_select(1, torch.tensor([2, 0, 2, 1])).square(), short(2, 3, 2))
    gradients("stack.0", lambda x, y: torch.stack([x, y], 1).square(), short(2, 3), short(2, 3))


def capped():
    gradients("relu6.0", F.relu6, away(short(12, low=-3, high=9), 0, 6))
    gradients("relu6.1", F.relu6, torch.tensor([0.0, 6, 3, -1, 7]))
    gradients("clamp.1", lambda x: torch.clamp(x, -0.5, 0.75), torch.tensor([-0.5, 0.75, 0, -1, 1]))


elementwise()
reductions()
indexed()
capped()
