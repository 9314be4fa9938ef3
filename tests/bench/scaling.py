#!/usr/bin/env python3
"""What a multiply-add costs as batch, channels or image grow: a line for each, from a convolution and a transposed one.

usage: python3 tests/bench/scaling.py [--build DIR] [--threads N] [--seconds S] [--rounds R] [--factors 1,2,4] [--out FILE]

  --build DIR     the build folder that has bench_conv (default: build beside tests)
  --threads N     threads an op may use (default 1)
  --seconds S     time for each median (default 0.2)
  --rounds R      the shapes are gone through R times, and the medians taken (default 3)
  --factors LIST  by which one size grows while the others stay (default 1,2,4,8,16)
  --out FILE      an SVG picture (default: scaling.svg beside this script; - for none)

Prints CSV: op,grows,factor,gflop,fwd_ps,step_ps,gemm_ps: picoseconds for a multiply-add of the direct method, forward, in a step
(forward and both gradients, which has three times as many), and in a step's products alone by sgemm. What scales well is flat. The
image grows along both axes.
"""
import argparse
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
HEADER = "name,op,n,cin,h,w,cout,kh,kw,stride,pad,dil,groups,outpad"
# a middle layer: 28x28 images, or from 14x14 to these
BASE = {"conv": dict(n=2, c=32, side=28, kernel=3, stride=1), "deconv": dict(n=2, c=32, side=14, kernel=4, stride=2)}
GROWS = {"batch": "n", "channels": "c", "image": "side"}


def shape(op, grows, factor):
    s = dict(BASE[op])
    s[GROWS[grows]] *= factor
    return (f"{op}-{grows}-{factor},{op},{s['n']},{s['c']},{s['side']},{s['side']},{s['c']},{s['kernel']},{s['kernel']},"
            f"{s['stride']},1,1,1,0")


def number(word):
    try:
        return float(word)
    except ValueError:
        return word


def measure(o):
    """[op, grows, factor, gflop, ps forward, ps step, ps of its products], in the order of the shapes."""
    cases = [(op, grows, f) for op in BASE for grows in GROWS for f in o.factors]
    found = {case: [] for case in cases}
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as shapes:
        print(HEADER, *(shape(*case) for case in cases), sep="\n", file=shapes, flush=True)
        command = [o.build / "tests/bench/bench_conv", "--shapes", shapes.name, "--threads", str(o.threads), "--seconds",
                   str(o.seconds), "--roofline"]
        for _ in range(o.rounds):
            lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
            for case, line in zip(cases, lines[1:]):
                _, _, gflop, fwd, _, _, step, _, gemm, *_ = map(number, line.split(","))
                found[case].append((gflop, 2 * fwd / gflop, 2 / 3 * step / gflop, 2000 / gemm))  # ms by 1e9 flop: ps
    for case in cases:
        yield [*case, *(statistics.median(column) for column in zip(*found[case]))]


# ---- a picture ----

WIDTH, HEIGHT, LEFT, TOP, PLOT_W, PLOT_H, APART = 760, 330, 56, 48, 310, 220, 370
COLOUR = {"batch": "#0072b2", "channels": "#d55e00", "image": "#009e73"}


def nice_top(value):
    """The next of 1, 2, 3, 4, 5, 6, 8, 10 times a power of ten."""
    unit = 10 ** math.floor(math.log10(value))
    return next(k * unit for k in (1, 2, 3, 4, 5, 6, 8, 10) if k * unit >= value)


def text(x, y, words, anchor="middle", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{words}</text>'


def line(x1, y1, x2, y2, more):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {more}/>'


def axes(left, title, factors, top, x, y):
    yield text(left + PLOT_W / 2, TOP - 16, title, more=' font-weight="bold"')
    for k in range(5):
        value = top * k / 4
        yield line(left, y(value), left + PLOT_W, y(value), 'stroke="#dddddd"')
        yield text(left - 6, y(value) + 4, f"{value:g}", "end")
    for f in factors:
        yield text(x(f), TOP + PLOT_H + 18, f"&#215;{f}")


def curve(points, colour, dashed):
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'
    for x, y in points:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'


def panel(number, op, rows, factors, top):
    left = LEFT + number * APART
    last = max(math.log2(factors[-1]), 1)

    def x(factor):
        return left + 12 + (PLOT_W - 24) * math.log2(factor) / last

    def y(value):
        return TOP + PLOT_H * (1 - value / top)

    yield from axes(left, {"conv": "convolution", "deconv": "transposed convolution"}[op], factors, top, x, y)
    for grows, colour in COLOUR.items():
        for column in (4, 5):
            points = [(x(r[2]), y(r[column])) for r in rows if r[:2] == [op, grows]]
            yield from curve(points, colour, column == 4)


def legend():
    at, y = LEFT, HEIGHT - 16
    for grows, colour in COLOUR.items():
        yield line(at, y - 4, at + 24, y - 4, f'stroke="{colour}" stroke-width="2"')
        yield text(at + 30, y, f"{grows} grows", "start")
        at += 150
    for words, dash in (("step", ""), ("forward", ' stroke-dasharray="5 4"')):
        yield line(at, y - 4, at + 24, y - 4, f'stroke="#555555" stroke-width="2"{dash}')
        yield text(at + 30, y, words, "start")
        at += 100


def picture(rows, factors):
    top = nice_top(max(max(r[4], r[5]) for r in rows))
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
           'font-family="sans-serif" font-size="12" fill="#222222">')
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
    yield text(LEFT - 40, 14, "picoseconds for a multiply-add", "start")
    for number, op in enumerate(BASE):
        yield from panel(number, op, rows, factors, top)
    yield from legend()
    yield "</svg>"


def main():
    if "--help" in sys.argv:
        return print(__doc__.strip())
    parser = argparse.ArgumentParser(usage="python3 tests/bench/scaling.py --help", add_help=False)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent.parent / "build")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--factors", type=lambda s: [int(f) for f in s.split(",")], default=[1, 2, 4, 8, 16])
    parser.add_argument("--out", default=str(HERE / "scaling.svg"))
    o = parser.parse_args()
    rows = list(measure(o))
    print("op,grows,factor,gflop,fwd_ps,step_ps,gemm_ps")
    for op, grows, factor, gflop, fwd, step, gemm in rows:
        print(f"{op},{grows},{factor},{gflop:.4f},{fwd:.2f},{step:.2f},{gemm:.2f}")
    if o.out != "-":
        pathlib.Path(o.out).write_text("\n".join(picture(rows, o.factors)) + "\n")


main()
