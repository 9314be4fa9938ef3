"""Reference values of pools, resizes and norms, computed by PyTorch in f64, with first and second gradients.

    /usr/bin/python3 torch_spatial.py > spatial.txt

The options of a case stand in an array of their own, in the order in which test_spatial.c reads them.
"""
import torch
import torch.nn.functional as F

from arrays import gradients, put, short

torch.manual_seed(11)


def distinct(*shape):
    """No two values are equal, so that the largest is one."""
    n = 1
    for s in shape:
        n *= s
    return (torch.randperm(n).double().reshape(shape) - n // 2) / 10


# N, C, (H, W), kernel, stride, pad, dilation, ceil_mode, exclude_pad
POOLS = [
    (1, 1, (4, 4), (2, 2), (2, 2), (0, 0), (1, 1), 0, 0),
    (2, 2, (5, 7), (2, 3), (2, 2), (1, 1), (1, 1), 0, 0),
    (1, 2, (5, 6), (3, 3), (2, 2), (1, 1), (1, 1), 1, 0),
    (1, 1, (7, 5), (3, 2), (1, 1), (1, 0), (1, 1), 0, 1),
    (1, 2, (6, 6), (3, 3), (2, 2), (1, 1), (1, 1), 1, 1),
    (2, 1, (3, 1), (2, 1), (1, 1), (1, 0), (1, 1), 0, 0),
    (1, 1, (1, 1), (1, 1), (1, 1), (0, 0), (1, 1), 0, 0),
    (1, 1, (5, 5), (2, 2), (3, 3), (0, 0), (1, 1), 1, 0),
    (1, 2, (8, 7), (2, 3), (2, 1), (1, 1), (2, 2), 0, 0),
    (1, 1, (9, 8), (3, 2), (2, 3), (1, 1), (2, 3), 1, 0),
    (1, 2, (2, 3), (4, 4), (3, 2), (0, 1), (1, 1), 1, 0),
    (1, 1, (3, 1), (4, 2), (4, 2), (0, 0), (1, 1), 1, 1),
    (1, 1, (4, 4), (3, 3), (3, 2), (1, 0), (2, 2), 1, 0),
]


def pools():
    for i, (N, C, size, k, s, p, d, ceil, exclude) in enumerate(POOLS):
        options = [*k, *s, *p, *d, ceil, exclude]
        put(f"max_pool2d.{i}.options", options)
        gradients(f"max_pool2d.{i}", lambda x: F.max_pool2d(x, k, s, p, d, bool(ceil)), distinct(N, C, *size))
        if d == (1, 1):
            put(f"avg_pool2d.{i}.options", options)
            gradients(f"avg_pool2d.{i}", lambda x: F.avg_pool2d(x, k, s, p, bool(ceil), not exclude),
                      short(N, C, *size))
    for i, (size, out) in enumerate([((4, 6), (2, 3)), ((5, 7), (2, 3)), ((3, 2), (5, 4)), ((7, 5), (1, 1))]):
        put(f"adaptive.{i}.options", out)
        gradients(f"adaptive.{i}", lambda x: F.adaptive_avg_pool2d(x, out), short(1, 2, *size))


def resizes():
    sizes = [((3, 4), (6, 8)), ((5, 4), (3, 7)), ((4, 5), (4, 5)), ((1, 3), (4, 2)), ((7, 6), (2, 1))]
    for i, (size, out) in enumerate(sizes):
        x = short(2, 1, *size)
        put(f"nearest.{i}.options", out)
        gradients(f"nearest.{i}", lambda x: F.interpolate(x, out, mode="nearest"), x.clone())
        for mode in "bilinear", "bicubic":
            for align, anti in (0, 0), (1, 0), (0, 1), (1, 1):
                name = f"{mode}.{i * 4 + align + 2 * anti}"
                put(f"{name}.options", [*out, align, anti])
                gradients(name, lambda x: F.interpolate(x, out, mode=mode, align_corners=bool(align),
                                                        antialias=bool(anti)), x.clone())


def shuffles():
    gradients("pixel_shuffle.0", lambda x: F.pixel_shuffle(x, 2).square(), short(2, 8, 2, 3))
    gradients("pixel_unshuffle.0", lambda x: F.pixel_unshuffle(x, 3).square(), short(1, 2, 3, 6))


def norms():
    gradients("batch_norm.0", lambda x, w, b: F.batch_norm(x, None, None, w, b, True, 0.1, 1e-5),
              short(3, 2, 2, 3), short(2), short(2))
    gradients("batch_norm.1", lambda x: F.batch_norm(x, None, None, None, None, True, 0.1, 1e-3), short(4, 3))
    mean, var = torch.tensor([0.5, -1.0]), torch.tensor([0.75, 2.0])
    gradients("batch_norm.2", lambda x, w, b: F.batch_norm(x, mean, var, w, b, False, 0.1, 1e-5),
              short(2, 2, 2, 1), short(2), short(2))
    gradients("group_norm.0", lambda x, w, b: F.group_norm(x, 2, w, b, 1e-5), short(2, 4, 2, 3), short(4), short(4))
    gradients("group_norm.1", lambda x: F.group_norm(x, 3, None, None, 1e-2), short(2, 3, 5))
    gradients("layer_norm.0", lambda x, w, b: F.layer_norm(x, (3, 4), w, b, 1e-5), short(2, 3, 4), short(3, 4),
              short(3, 4))
    gradients("layer_norm.1", lambda x: F.layer_norm(x, (4,)), short(3, 4))


def edge_pads():
    """top, left, bottom, right"""
    small = [((3, 4), (1, 2, 2, 3)), ((5, 2), (0, 1, 4, 0)), ((4, 4), (3, 3, 3, 3))]
    large = [((3, 4), (1, 2, 2, 3)), ((1, 2), (5, 0, 0, 7)), ((2, 3), (2, 2, 2, 2))]
    for mode, cases in ("reflect", small), ("replicate", large):
        for i, (size, (top, left, bottom, right)) in enumerate(cases):
            put(f"{mode}.{i}.options", [top, left, bottom, right])
            gradients(f"{mode}.{i}", lambda x: F.pad(x, (left, right, top, bottom), mode=mode).square(), short(2, 1, *size))


pools()
resizes()
shuffles()
norms()
edge_pads()
