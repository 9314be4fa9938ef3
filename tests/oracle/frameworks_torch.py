"""Convolution layers by PyTorch in f64, with gradients: legal ones, and ones that it refuses.

    /usr/bin/python3 tests/oracle/frameworks_torch.py > tests/oracle/frameworks_torch.txt
    /usr/bin/python3 tests/oracle/frameworks_torch.py 2000 5 > DIR/frameworks_torch.txt     2,000 random ones of seed 5

Whole numbers wherever possible: then every implementation that is right gives the same bits.
"""
import random
import sys

import torch
import torch.nn as nn

import fixture

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
count = {}


def draw(shape, whole):
    if whole:  # without zeros, which prove little
        return (torch.randint(1, 5, shape) * (2 * torch.randint(0, 2, shape) - 1)).double()
    return (torch.randn(shape) * 100).round() / 100


def module(c, dtype):
    """torch.nn's layer: the functional form has no output_size."""
    padding = c["pads"][:2] if c["padding"] == "explicit" else c["padding"]
    options = dict(stride=c["stride"], padding=padding, dilation=c["dilation"], groups=c["groups"],
                   bias=c["bias"], dtype=dtype)
    if not c["transpose"]:
        return nn.Conv2d(*c["channels"], c["kernel"], **options)
    return nn.ConvTranspose2d(*c["channels"], c["kernel"], output_padding=c.get("output_padding") or 0, **options)


def run(c, arrays, dtype):
    """y and the gradients of sum(u y), or the message of the refusal."""
    try:
        layer = module(c, dtype)
        with torch.no_grad():
            layer.weight.copy_(arrays["w"])
            if c["bias"]:
                layer.bias.copy_(arrays["b"])
        x = arrays["x"].to(dtype).requires_grad_()
        size = c.get("output_size")
        y = layer(x, output_size=list(size)) if size else layer(x)
        u = arrays.setdefault("u", draw(y.shape, c["whole"]))
        wanted = [x, layer.weight] + ([layer.bias] if c["bias"] else [])
        grads = torch.autograd.grad(y, wanted, u.to(dtype))
    except (RuntimeError, ValueError) as error:
        return str(error)
    return dict(zip(["y", "gx", "gw", "gb"], [y.detach(), *grads]))


def draw_arrays(c):
    C, O, g = *c["channels"], c["groups"]
    weight = (C, O // g) if c["transpose"] else (O, C // g)
    shapes = {"x": (c["N"], C, *c["size"]), "w": (*weight, *c["kernel"])}
    arrays = {name: draw(shape, c["whole"]) for name, shape in shapes.items()}
    if c["bias"]:
        arrays["b"] = draw((O,), c["whole"])
    return shapes, arrays


def is_legal(c):
    return isinstance(run(c, draw_arrays(c)[1], torch.float64), dict)


def put(c, refused=True):
    """Print a case, unless it is refused and those are not wanted. In f32 other code runs: it must agree."""
    shapes, arrays = draw_arrays(c)
    found, single = run(c, arrays, torch.float64), run(c, arrays, torch.float32)
    legal = isinstance(found, dict)
    if legal != isinstance(single, dict):
        print("f32 and f64 disagree:", c, found if single else single, file=sys.stderr)
    if c["whole"] and legal and isinstance(single, dict):
        for name, t in found.items():
            if not torch.equal(t, single[name].double()):
                print("f32 and f64 disagree:", c, name, t, single[name], file=sys.stderr)
    if not legal and not refused:
        return
    name = f"torch.{sum(count.values())}"
    count[legal] = count.get(legal, 0) + 1
    fixture.case(name, "torch", c["transpose"], **shapes, legal=legal, type="f64", whole=c["whole"], bias=c["bias"],
                 stride=c["stride"], dilation=c["dilation"], groups=c["groups"], padding=c["padding"], pads=c["pads"],
                 output_padding=c.get("output_padding"), output_size=c.get("output_size"),
                 why=None if legal else found)
    for what, t in {**arrays, **found}.items() if legal else ():
        fixture.array(what, t.shape, t.flatten().tolist())


def layer(transpose, axes, N=1, channels=(1, 1), groups=1, whole=True, bias=False, padding="explicit"):
    """A case from its two axes: (in, kernel, stride, dilation, padding, output_padding, output_size) of H and of W.
    An output_padding or output_size of None is not given."""
    size, kernel, stride, dilation, pad, extra, out = zip(*axes)
    c = dict(transpose=transpose, N=N, channels=channels, groups=groups, whole=whole, bias=bias, size=size, kernel=kernel,
             stride=stride, dilation=dilation, padding=padding, pads=(*pad, *pad))
    if None not in extra:
        c["output_padding"] = extra
    if None not in out:
        c["output_size"] = out
    return c


def forward_edges():
    for k, s, d, p in [(1, 1, 1, 0), (1, 2, 1, 0), (1, 3, 1, 1), (2, 3, 1, 0), (2, 2, 1, 1), (3, 1, 1, 1), (3, 2, 1, 1),
                       (3, 2, 1, 0), (2, 1, 2, 1), (2, 2, 3, 1), (3, 1, 2, 2), (3, 3, 2, 3), (2, 1, 1, 3), (4, 2, 1, 1)]:
        for size in 1, 4, 5:
            yield size, k, s, d, p, None, None


def transposed_edges():
    for k, s, d, p in [(1, 1, 1, 0), (1, 2, 1, 0), (1, 3, 1, 1), (2, 3, 1, 0), (2, 2, 1, 1), (3, 1, 1, 1), (3, 2, 1, 1),
                       (3, 2, 1, 0), (2, 1, 2, 1), (2, 2, 3, 1), (3, 1, 2, 3), (2, 1, 1, 2), (4, 2, 1, 1), (1, 2, 3, 0)]:
        for size in 1, 3:
            for extra in range(max(s, d)):
                yield size, k, s, d, p, extra, None
            least = (size - 1) * s + (k - 1) * d + 1 - 2 * p
            for out in range(least - 1, least + s + 1):
                if out > 0:
                    yield size, k, s, d, p, None, out
            yield size, k, s, d, p, max(s, d), None


def edges(r):
    """Each axis once along H, beside a legal one of its kind along W."""
    for transpose, axes in (False, list(forward_edges())), (True, list(transposed_edges())):
        for kind in (0, 0), (1, 0), (0, 1):
            alike = [a for a in axes if (a[5] is not None, a[6] is not None) == kind]
            legal = [a for a in alike if is_legal(layer(transpose, (a, a)))]
            for a in alike:
                put(layer(transpose, (a, r.choice(legal)), channels=(r.randint(1, 2), r.randint(1, 2))))
    for padding, s in ("valid", 1), ("valid", 2), ("same", 1), ("same", 2):
        for k, d in (1, 1), (2, 1), (3, 2), (2, 3):
            put(layer(False, ((5, k, s, d, 0, None, None), (4, 3, 1, 1, 0, None, None)), padding=padding))
    for transpose in False, True:
        one = (3, 2, 2, 1, 0, 0 if transpose else None, None)
        put(layer(transpose, (one, one), N=0))
        put(layer(transpose, (one, one), channels=(3, 2), groups=2))
        if not transpose:
            put(layer(transpose, (one, one), channels=(2, 3), groups=2))
        put(layer(transpose, (one, one[:4] + (-1,) + one[5:])))
        put(layer(transpose, (one, one[:2] + (0,) + one[3:])))
        put(layer(transpose, (one, one[:3] + (0,) + one[4:])))
        put(layer(transpose, (one, (0,) + one[1:])))


def random_layer(r):
    transpose = r.random() < 0.6
    g = r.choice([1, 1, 2, 3])
    kind = r.choice(["plain", "extra", "out"]) if transpose else "plain"

    def axis():
        size, k, s, d = r.randint(1, 5), r.randint(1, 4), r.randint(1, 4), r.choice([1, 1, 2, 3])
        p = r.randint(0, min(3, (k - 1) * d + 1))
        least = (size - 1) * s + (k - 1) * d + 1 - 2 * p
        extra = r.randint(0, max(s, d) - (r.random() < 0.9)) if kind == "extra" else None
        out = max(1, least + r.randint(-(r.random() < 0.1), s - (r.random() < 0.9))) if kind == "out" else None
        return size, k, s, d, p, extra, out

    return layer(transpose, (axis(), axis()), N=r.choice([1, 1, 2]), channels=(g * r.randint(1, 2), g * r.randint(1, 2)),
                 groups=g, whole=r.random() < 0.75, bias=r.random() < 0.4)


def main(random_cases=0, seed=1):
    torch.manual_seed(seed)
    r = random.Random(seed)
    if random_cases == 0:
        edges(r)
    else:
        count[True] = count[False] = 0
    wanted = sum(count.values()) + (random_cases or 120)
    while sum(count.values()) < wanted:
        put(random_layer(r), refused=count[False] * 10 < sum(count.values()) or random_cases == 0)
    print(f"{count[True]} legal, {count[False]} refused", file=sys.stderr)


main(*map(int, sys.argv[1:]))
