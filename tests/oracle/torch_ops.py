"""Reference values of ops, computed by PyTorch in f64: convolutions with first and second gradients, and the rest.

    python3 tests/oracle/torch_ops.py > tests/oracle/ops.txt

The tests read ops.txt and do not need PyTorch; run this again (PyTorch 1.13 or newer) only to add cases. Each line is an
array: its name, its rank, its sizes, a colon, and its values in row-major order, which read back exactly.

Convolutions work on whole numbers, so every implementation that is right gives the same bits.
"""
import itertools

import torch
import torch.nn.functional as F

from arrays import gradients, put, short, whole

torch.manual_seed(3)
torch.set_default_dtype(torch.float64)


# ---- convolutions ----

def second_order(name, f, a, b, geometry):
    """y = f(a, b), its gradients in a direction u, and the gradients of <ga, va> + <gb, vb>."""
    a.requires_grad_(), b.requires_grad_()
    y = f(a, b)
    u = whole(*y.shape).requires_grad_()
    va, vb = whole(*a.shape), whole(*b.shape)
    ga, gb = torch.autograd.grad(y, [a, b], u, create_graph=True)
    second = torch.autograd.grad([ga, gb], [a, b, u], [va, vb])
    put(f"{name}.geometry", geometry)
    for what, t in zip(["a", "b", "u", "va", "vb", "y", "ga", "gb", "gga", "ggb", "ggu"],
                       [a, b, u, va, vb, y, ga, gb, *second]):
        put(f"{name}.{what}", t)


# N, (C, O), groups, (H, W), (R, S), stride, padding, dilation
FORWARD = [
    (1, (1, 1), 1, (1, 1), (1, 1), (1, 1), (0, 0), (1, 1)),
    (2, (1, 2), 1, (4, 3), (2, 2), (1, 1), (0, 0), (1, 1)),
    (1, (2, 1), 1, (5, 5), (3, 3), (2, 2), (1, 1), (1, 1)),
    (1, (1, 2), 1, (6, 4), (3, 3), (2, 2), (1, 1), (1, 1)),  # (H + 2p - k) % s != 0
    (2, (2, 2), 1, (3, 5), (3, 2), (1, 2), (1, 0), (1, 1)),
    (1, (2, 3), 1, (5, 4), (1, 1), (2, 3), (0, 0), (1, 1)),  # pixels that no window touches
    (1, (1, 1), 1, (7, 5), (1, 2), (3, 4), (0, 1), (1, 1)),
    (1, (2, 2), 2, (4, 4), (3, 3), (1, 1), (1, 1), (1, 1)),
    (2, (4, 4), 4, (3, 3), (2, 2), (2, 1), (1, 0), (1, 1)),  # depthwise
    (1, (2, 4), 2, (3, 4), (2, 2), (1, 1), (0, 1), (1, 1)),  # depthwise, two a channel
    (1, (4, 2), 2, (5, 3), (3, 1), (1, 1), (2, 0), (2, 1)),
    (1, (1, 2), 1, (7, 6), (3, 2), (1, 1), (0, 0), (2, 3)),
    (1, (2, 1), 1, (6, 7), (2, 3), (2, 1), (2, 2), (3, 2)),
    (1, (1, 1), 1, (2, 2), (2, 2), (1, 1), (3, 2), (1, 1)),  # padding beyond the kernel
    (1, (2, 2), 1, (2, 1), (3, 3), (1, 1), (1, 1), (1, 1)),  # kernel larger than the image
    (3, (1, 1), 1, (4, 4), (4, 4), (1, 1), (0, 0), (1, 1)),  # one pixel of map
    (1, (3, 3), 3, (5, 5), (3, 3), (3, 3), (2, 2), (1, 1)),
    (1, (1, 1), 1, (9, 1), (4, 1), (2, 1), (1, 0), (2, 1)),
]

# N, (O, C), groups, (P, Q), (R, S), stride, padding, dilation, output_padding
TRANSPOSED = [
    (1, (1, 1), 1, (1, 1), (1, 1), (1, 1), (0, 0), (1, 1), (0, 0)),
    (2, (1, 2), 1, (2, 3), (2, 2), (1, 1), (0, 0), (1, 1), (0, 0)),
    (1, (2, 1), 1, (3, 3), (3, 3), (2, 2), (1, 1), (1, 1), (0, 0)),
    (1, (2, 1), 1, (3, 3), (3, 3), (2, 2), (1, 1), (1, 1), (1, 1)),  # k3 s2 p1 op1
    (1, (1, 2), 1, (3, 2), (4, 4), (2, 2), (1, 1), (1, 1), (0, 0)),
    (1, (2, 2), 1, (2, 3), (3, 2), (3, 2), (0, 1), (1, 1), (2, 1)),
    (1, (2, 2), 1, (2, 2), (1, 1), (2, 3), (0, 0), (1, 1), (1, 2)),  # gaps between the kernels
    (1, (1, 1), 1, (3, 2), (1, 2), (3, 4), (0, 0), (1, 1), (0, 0)),
    (1, (2, 2), 2, (3, 3), (3, 3), (1, 1), (1, 1), (1, 1), (0, 0)),
    (2, (4, 4), 4, (2, 2), (2, 2), (2, 1), (0, 0), (1, 1), (1, 0)),  # depthwise
    (1, (4, 2), 2, (3, 2), (2, 3), (2, 2), (1, 1), (1, 1), (0, 1)),
    (1, (2, 6), 2, (2, 2), (2, 2), (1, 2), (0, 0), (2, 1), (0, 0)),
    (1, (1, 1), 1, (2, 3), (3, 2), (1, 1), (2, 1), (2, 3), (0, 0)),
    (1, (1, 1), 1, (3, 3), (2, 2), (1, 2), (1, 0), (3, 1), (2, 1)),  # output_padding between stride and dilation
    (1, (1, 2), 1, (4, 4), (2, 3), (1, 1), (1, 2), (1, 1), (0, 0)),
    (3, (1, 1), 1, (1, 1), (4, 4), (2, 2), (1, 1), (1, 1), (0, 0)),  # one pixel of map
    (1, (3, 3), 3, (2, 2), (3, 3), (3, 3), (1, 1), (1, 1), (2, 2)),
    (1, (1, 1), 1, (4, 1), (5, 1), (3, 1), (2, 0), (1, 1), (1, 0)),
]


def random_cases(count):
    """Odd ones that nobody would think of, and small enough for a text file."""
    r = lambda a, b: int(torch.randint(a, b + 1, ()))
    while count > 0:
        g = r(1, 2)
        channels, size, kernel = (g * r(1, 2), g * r(1, 2)), (r(1, 6), r(1, 6)), (r(1, 3), r(1, 3))
        stride, dilation, pad = (r(1, 3), r(1, 3)), (r(1, 3), r(1, 3)), (r(0, 2), r(0, 2))
        extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
        if any(s + 2 * p < e for s, p, e in zip(size, pad, extent)):
            continue
        yield r(1, 2), channels, g, size, kernel, stride, pad, dilation
        count -= 1


def convolutions():
    for i, (N, (C, O), g, size, kernel, s, p, d) in enumerate([*FORWARD, *random_cases(12)]):
        second_order(f"conv2d.{i}", lambda x, w: F.conv2d(x, w, None, s, p, d, g),
                     whole(N, C, *size), whole(O, C // g, *kernel), [*s, *d, *p, g])
    more = [(N, c, g, (min(size[0], 4), min(size[1], 4)), k, s, p, d, [min(1, max(a, b) - 1) for a, b in zip(s, d)])
            for N, c, g, size, k, s, p, d in random_cases(30)]
    fits = lambda c: all((n - 1) * s + (k - 1) * d + 1 - 2 * p + o >= 1
                         for n, k, s, p, d, o in zip(c[3], c[4], c[5], c[6], c[7], c[8]))
    for i, (N, (O, C), g, size, kernel, s, p, d, op) in enumerate([*TRANSPOSED, *list(filter(fits, more))[:12]]):
        second_order(f"conv_transpose2d.{i}", lambda y, w: F.conv_transpose2d(y, w, None, s, p, op, g, d),
                     whole(N, O, *size), whole(O, C // g, *kernel), [*s, *d, *p, g])


# ---- the other ops ----

def others():
    shapes = [((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1, 2), (3, 1)), ((), (2, 2))]
    for (name, f), (i, (a, b)) in itertools.product(
            [("add", torch.add), ("sub", torch.sub), ("mul", torch.mul), ("div", torch.div)], enumerate(shapes)):
        gradients(f"{name}.{i}", f, short(*a), short(*b, low=0.5))
    for name, f in [("exp", torch.exp), ("square", torch.square), ("tanh", torch.tanh), ("sigmoid", torch.sigmoid),
                    ("relu", torch.relu), ("clamp", lambda x: torch.clamp(x, -0.5, 0.75))]:
        gradients(f"{name}.0", f, short(12, low=-3, high=3))
    for name, f in ("log", torch.log), ("sqrt", torch.sqrt):
        gradients(f"{name}.0", f, short(8, low=0.1, high=4))
    for i, (a, b) in enumerate([((2, 3), (3, 4)), ((2, 2, 3), (3, 2)), ((2, 1, 2, 2), (3, 2, 1))]):
        gradients(f"matmul.{i}", torch.matmul, short(*a), short(*b))
    gradients("sum.0", lambda x: x.square().sum((0, 2)), short(2, 3, 2))
    gradients("mean.0", lambda x: x.exp().mean((1,), keepdim=True), short(2, 3, 2))
    gradients("softmax.0", lambda x: torch.softmax(x, 1), short(2, 4))


convolutions()
others()
