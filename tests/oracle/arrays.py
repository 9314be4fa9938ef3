"""What the scripts share that let PyTorch compute reference values: arrays as lines of text, short random values, and the
gradients of a function. Each line is an array: its name, its rank, its sizes, a colon, and its values in row-major order,
which read back exactly."""
import torch

torch.set_default_dtype(torch.float64)


def put(name, t):
    t = torch.as_tensor(t, dtype=torch.float64).detach()
    values = " ".join(repr(v).removesuffix(".0") for v in t.flatten().tolist())
    print(name, t.dim(), *t.shape, ":", values)


def whole(*shape):
    return torch.randint(-4, 5, shape).double()


def short(*shape, low=-2, high=2):
    """Random values that take few digits to write."""
    return ((torch.rand(shape) * (high - low) + low) * 100).round() / 100


def gradients(name, f, *xs):
    """y = f(xs), and the gradients in a direction u; of second order for the sum of squares of the first."""
    for x in xs:
        x.requires_grad_()
    y = f(*xs)
    u = short(*y.shape)
    first = torch.autograd.grad(y, xs, u, create_graph=True)
    slope = sum((g * g).sum() for g in first)
    second = torch.autograd.grad(slope, xs, allow_unused=True) if slope.requires_grad else [None] * len(xs)
    for i, x in enumerate(xs):
        put(f"{name}.x{i}", x)
    put(f"{name}.u", u)
    put(f"{name}.y", y)
    for i, (g, gg) in enumerate(zip(first, second)):
        put(f"{name}.g{i}", g)
        put(f"{name}.gg{i}", torch.zeros(xs[i].shape) if gg is None or gg._is_zerotensor() else gg)
