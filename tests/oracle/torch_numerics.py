"""What NaN and infinity become, as PyTorch computes it in f64: ops with padding, their gradients where they are linear,
functions of one number, and what reduces.

    /usr/bin/python3 torch_numerics.py > numerics.txt
"""
import math

import torch
import torch.nn.functional as F

from arrays import put, short

torch.manual_seed(13)
SPECIAL = [math.nan, math.inf, -math.inf]


def spoiled(*shape):
    """Random numbers, and a few that are not finite, also in corners."""
    x = short(*shape)
    flat = x.view(-1)
    flat[0], flat[-1] = SPECIAL[1], SPECIAL[0]
    for i in range(max(1, len(flat) // 12)):
        flat[torch.randint(len(flat), (1,))] = SPECIAL[i % 3]
    return x


def spoiled_inside(*shape):
    """The same, but pixels at the edges are finite. An edge may have several weights in a resize, which PyTorch multiplies with
    it one by one, also with zeros; pleat adds them up first."""
    x = short(*shape)
    x[..., 1:-1, 1:-1] = spoiled(*x[..., 1:-1, 1:-1].shape)
    return x


def smooth(name, options, f, *shape):
    x = spoiled_inside(*shape)
    put(f"{name}.options", options)
    put(f"{name}.x", x)
    put(f"{name}.y", f(x))


def linear(name, options, f, *shape):
    """y = f(x), and the gradient along u, where both are spoiled."""
    x = spoiled(*shape).requires_grad_()
    y = f(x)
    u = spoiled(*y.shape)
    put(f"{name}.options", options)
    put(f"{name}.x", x)
    put(f"{name}.y", y)
    put(f"{name}.u", u)
    put(f"{name}.g", torch.autograd.grad(y, x, u)[0])


# kernel, stride, pad, dilation, ceil_mode, exclude_pad
POOLS = [
    ((2, 2), (2, 2), (0, 0), (1, 1), 0, 0),
    ((3, 3), (2, 2), (1, 1), (1, 1), 0, 0),
    ((3, 2), (1, 1), (1, 1), (1, 1), 0, 1),
    ((3, 3), (2, 3), (1, 0), (1, 1), 1, 1),
    ((2, 3), (2, 1), (1, 1), (2, 2), 0, 0),
]


def pools():
    for i, (k, s, p, d, ceil, exclude) in enumerate(POOLS):
        options = [*k, *s, *p, *d, ceil, exclude]
        x = spoiled(2, 2, 7, 8)
        x[1, 0] = -math.inf
        put(f"max_pool2d.{i}.options", options)
        put(f"max_pool2d.{i}.x", x)
        put(f"max_pool2d.{i}.y", F.max_pool2d(x, k, s, p, d, bool(ceil)))
        if d == (1, 1):
            linear(f"avg_pool2d.{i}", options, lambda x: F.avg_pool2d(x, k, s, p, bool(ceil), not exclude), 1, 2, 7, 8)
    for i, out in enumerate([(3, 5), (1, 1), (9, 8)]):
        linear(f"adaptive.{i}", out, lambda x: F.adaptive_avg_pool2d(x, out), 1, 2, 7, 8)


def resizes():
    for i, (size, out) in enumerate([((4, 6), (9, 11)), ((6, 5), (3, 7)), ((7, 4), (3, 2))]):
        linear(f"nearest.{i}", out, lambda x: F.interpolate(x, out, mode="nearest"), 1, 1, *size)
        for mode in "bilinear", "bicubic":
            for align in 0, 1:
                smooth(f"{mode}.{2 * i + align}", [*out, align],
                       lambda x: F.interpolate(x, out, mode=mode, align_corners=bool(align)), 1, 1, *size)


UNARY = {
    "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt, "square": torch.square, "tanh": torch.tanh,
    "sigmoid": torch.sigmoid, "relu": torch.relu, "relu6": F.relu6, "abs": torch.abs, "erf": torch.erf,
    "softplus": F.softplus, "silu": F.silu, "gelu": F.gelu, "elu": F.elu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.1), "clamp": lambda x: torch.clamp(x, -1, 2),
    "pow2": lambda x: x**2.0, "pow3": lambda x: x**3.0, "pow_odd": lambda x: x**-0.7,
    "softmax": lambda x: F.softmax(x, 0),
    "sin": torch.sin, "cos": torch.cos, "floor": torch.floor, "round": torch.round,
    "cumsum": lambda x: x.flip(0).cumsum(0).flip(0),
}


def functions():
    x = torch.tensor([math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 1e4, -1e4, 0.5, 700, -700])
    put("x", x)
    for name, f in UNARY.items():
        put(f"unary.{name}", f(x))
    a, b = x[:, None], x[None, :]
    for name in "add", "sub", "mul", "div", "maximum", "minimum":
        put(f"binary.{name}", getattr(torch, name)(a, b))
    for name in "gt", "ge", "lt", "le", "eq", "ne":
        put(f"binary.{name}", getattr(torch, name)(a, b).double())


def rows():
    """Each row has other special values."""
    n, i = math.nan, math.inf
    x = torch.tensor([[1, 2, 3, 4], [1, i, 3, 4], [-i, 2, 3, 4], [i, 2, -i, 4], [1, n, i, 4], [-i] * 4, [n] * 4, [i] * 4])
    put("rows.x", x)
    put("rows.sum", x.sum(1))
    put("rows.mean", x.mean(1))
    put("rows.var", x.var(1, unbiased=False))
    put("rows.amax", x.amax(1))
    put("rows.amin", x.amin(1))
    put("rows.argmax", x.argmax(1).double())
    put("rows.log_sum_exp", x.logsumexp(1))
    put("rows.softmax", F.softmax(x, 1))
    put("rows.log_softmax", F.log_softmax(x, 1))
    put("rows.layer_norm", F.layer_norm(x, (4,)))
    put("rows.batch_norm", F.batch_norm(x.t().contiguous(), None, None, training=True))
    t = torch.tensor([0.0, 0.25, 1, 0]).expand(8, 4).contiguous()
    put("rows.target", t)
    for name in "mse_loss", "l1_loss", "huber_loss":
        put(f"rows.{name}", getattr(F, name)(x, t, reduction="none"))
    put("rows.cross_entropy", F.cross_entropy(x, torch.tensor([0, 1, 2, 3, 0, 1, 2, 3]), reduction="none"))
    m = spoiled(5, 6)
    w = short(6, 3)
    w[2] = 0
    put("matmul.a", m)
    put("matmul.b", w)
    put("matmul.c", sum(m[:, k:k + 1] * w[k:k + 1] for k in range(6)))
    put("pad.y", F.pad(m, (1, 2, 3, 0)))


pools()
resizes()
functions()
rows()
