#!/usr/bin/python3
"""Writes print.txt: arrays, and what NumPy prints of them. python3 print_numpy.py > print.txt"""
import numpy as np

rng = np.random.default_rng(1)


def show(x):
    # "> type sizes" and the elements in hexadecimal (or the word ramp: 0, 0.25, 0.5, ...), then NumPy's lines, then "<"
    ramp = x.size > 100
    words = ["ramp"] if ramp else [float(v).hex() for v in x.reshape(-1)]
    print(">", "f32" if x.dtype == np.float32 else "f64", ",".join(map(str, x.shape)) or "-", *words)
    print(x)
    print("<")


def ramp(dtype, *shape):
    return (np.arange(int(np.prod(shape))) * 0.25).astype(dtype).reshape(shape)


for dtype in np.float32, np.float64:
    def a(*values):
        return np.array(values, dtype)
    nan, inf = np.nan, np.inf
    for x in [a(1, 2, 3), a(0.1, 0.25, -3), a(0), a(-0.0, 0), a(1 / 3), a(1e-5, 1), a(1e8), a(99999999.0), a(1, 1000.5),
              a(1, 1001), a(0.0001, 0.1), a(0.00009, 0.05), a(nan, 1), a(nan), a(inf, nan), a(-inf, 1.5), a(-inf), a(nan, inf, -inf, 0),
              a(1e-300 if dtype == np.float64 else 1e-30, 1), a(1e30, nan, -inf), a(3e38, -1e-45), a(33554432, 16777216), a(12345678.9),
              a(123456.789, 0.5 * 1000), a(2 / 3, 200 / 3), a(-1e-10), a(5e-324), a(0.1 + 0.2), a(9.9999999999, 1), a(0.99999999999)]:
        show(x)
    for v in [0, 1, -2.5, 1 / 3, 1e16, 1e15, 1e-4, 9e-5, nan, inf, -inf, 123456789.0, 1e300 if dtype == np.float64 else 1e30]:
        show(np.array(v, dtype))
    for shape in [(2, 3), (2, 2, 2), (1, 1, 1, 1), (3, 1), (1, 30), (2, 1, 3, 2), (7, 7)]:
        show(rng.standard_normal(shape).astype(dtype))
        show((rng.standard_normal(shape) * 10.0 ** rng.integers(-4, 5, shape)).astype(dtype))
        show(np.round(rng.standard_normal(shape) * 4).astype(dtype))
    for n in [18, 19, 20, 37, 75, 100]:
        show(np.arange(n, dtype=dtype))
    for shape in [(1000,), (1001,), (2000,), (40, 30), (2, 501), (6, 200), (7, 200), (10, 5, 30), (1, 1, 1001), (3, 2, 4, 60)]:
        show(ramp(dtype, *shape))
    for v in [87715152, 71522448]:  # more digits than f32 needs
        show(a(0, v)), show(np.array(v, dtype))
    show(np.zeros((0,), dtype))
    show(np.zeros((2, 0, 3), dtype))
