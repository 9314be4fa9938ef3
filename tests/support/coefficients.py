"""The polynomials of ops/core/functions.h that are no Taylor series: interpolated at Chebyshev's nodes, in 60 digits.

    python3 tests/support/coefficients.py        # needs mpmath
"""
from mpmath import chop, cos, erf, erfc, exp, lu_solve, matrix, mp, mpf, pi, sqrt, tanh

mp.dps = 60


def fit(f, a, b, degree):
    """The coefficients from x^0 up of the polynomial through f at Chebyshev's nodes of [a,b]."""
    n = degree + 1
    nodes = [(b - a) / 2 * cos(pi * (k + mpf(1) / 2) / n) + (a + b) / 2 for k in range(n)]
    powers = matrix(n, n)
    for i, x in enumerate(nodes):
        for j in range(n):
            powers[i, j] = x**j
    return lu_solve(powers, matrix([f(x) for x in nodes]))


def show(name, coefficients):
    print(name)
    for c in coefficients:
        print("   ", float(chop(c)).hex())


show("erf_small", fit(lambda z: erf(sqrt(z)) / sqrt(z) - 1, mpf(0), mpf(1), 13))
show("erfcx", fit(lambda t: erfc(1 / t - 2) * exp((1 / t - 2) ** 2), mpf(1) / 8, mpf(1) / 3, 17))
show("tanh_small", fit(lambda z: (tanh(sqrt(z)) / sqrt(z) - 1) / z, mpf(0), mpf(1) / 4, 10))
