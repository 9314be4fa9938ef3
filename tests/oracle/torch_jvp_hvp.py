"""Jacobians and Hessians times vectors, computed by PyTorch in f64 (torch.autograd.functional.jvp and hvp).

    python3 tests/oracle/torch_jvp_hvp.py > tests/oracle/jvp_hvp.txt

The tests read jvp_hvp.txt and do not need PyTorch; run this again (PyTorch 1.13 or newer) only to add cases.
"""
import torch
import torch.nn.functional as F
from torch.autograd.functional import hvp, jvp

from arrays import put, short

torch.manual_seed(18)

CASES = [
    ("matmul", lambda a, b: torch.tanh(a @ b), (2, 3), (3, 4)),
    ("conv2d", lambda a, b: torch.tanh(F.conv2d(a, b, stride=2, padding=1)), (2, 2, 5, 4), (3, 2, 3, 2)),
    ("conv_transpose2d", lambda a, b: torch.exp(0.1 * F.conv_transpose2d(a, b, stride=2)), (1, 3, 2, 3), (3, 2, 2, 3)),
    ("softmax", lambda a, b: torch.softmax(a, 1) * b, (2, 4), (4,)),
    ("max_pool", lambda a, b: F.max_pool2d(a * a * b, 2), (1, 2, 4, 4), (4, 1)),
    ("linear", lambda a, b: a - 2 * b, (3,), (3,)),
]
for name, f, *shapes in CASES:
    xs, vs = tuple(short(*s) for s in shapes), tuple(short(*s) for s in shapes)
    y, jv = jvp(f, xs, vs)
    _, hv = hvp(lambda *x: f(*x).square().sum(), xs, vs)
    for what, t in zip(["x0", "x1", "v0", "v1", "y", "jv", "hv0", "hv1"], [*xs, *vs, y, jv, *hv]):
        put(f"{name}.{what}", t)
