#!/usr/bin/env python3
"""Bars from the CSV of peers.sh --nets: how many times as fast as PyTorch at its best a training step is, network by network.

usage: python3 tests/bench/peers/nets_picture.py NETS.csv [--threads N] [--what step|infer] [--out FILE]

A bar is the geometric mean over a network's batches, its dots are the batches. The scale is logarithmic, so that twice as fast and
half as fast are equally far from 1.
"""
import argparse
import csv
import math
import pathlib

WIDTH, LEFT, RIGHT, TOP, ROW = 760, 130, 24, 58, 24
COLOUR = {True: "#0072b2", False: "#d55e00"}  # faster, slower


def text(x, y, words, anchor="middle", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{words}</text>'


def ratios_by_net(path, threads, what):
    nets = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            if row["threads"] == threads:
                nets.setdefault(row["net"], []).append((int(row["batch"]), float(row[f"{what}_best_ratio"])))
    return nets


def mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def ticks(low, high):
    return [t for t in (0.125, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32) if low <= t <= high]


def bar(at, y, net, batches):
    value = mean([ratio for _, ratio in batches])
    left, right = sorted((at(1), at(value)))
    yield text(LEFT - 8, y + 12, net, "end")
    yield (f'<rect x="{left:.1f}" y="{y + 2}" width="{right - left:.1f}" height="{ROW - 8}" fill="{COLOUR[value >= 1]}" '
           'fill-opacity="0.55"/>')
    for batch, ratio in batches:
        yield (f'<circle cx="{at(ratio):.1f}" cy="{y + ROW / 2 - 2}" r="3" fill="{COLOUR[ratio >= 1]}">'
               f"<title>batch {batch}: {ratio:.2f}</title></circle>")
    yield text(max(right, *(at(ratio) for _, ratio in batches)) + 8, y + 12, f"{value:.2f}", "start")


def picture(nets, title):
    every = [ratio for batches in nets.values() for _, ratio in batches]
    low, high = min(every + [1]) / 1.1, max(every) * 1.25
    height = TOP + ROW * len(nets) + 30

    def at(ratio):
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(ratio / low) / math.log(high / low)

    yield (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
           'font-family="sans-serif" font-size="12" fill="#222222">')
    yield f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    yield text(16, 20, title, "start", ' font-weight="bold"')
    yield text(16, 38, "bar: geometric mean over the batches "
               f"{', '.join(sorted({str(b) for batches in nets.values() for b, _ in batches}, key=int))}; dots: each batch", "start")
    for t in ticks(low, high):
        yield (f'<line x1="{at(t):.1f}" y1="{TOP - 6}" x2="{at(t):.1f}" y2="{height - 26}" '
               f'stroke="{"#555555" if t == 1 else "#dddddd"}"/>')
        yield text(at(t), height - 10, f"{t:g}")
    for i, (net, batches) in enumerate(nets.items()):
        yield from bar(at, TOP + ROW * i, net, batches)
    yield "</svg>"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv")
    parser.add_argument("--threads", default="1")
    parser.add_argument("--what", choices=("step", "infer"), default="step")
    parser.add_argument("--out", default="nets.svg")
    o = parser.parse_args()
    nets = ratios_by_net(o.csv, o.threads, o.what)
    if not nets:
        raise SystemExit(f"nets_picture.py: {o.csv} has no row for {o.threads} threads")
    noun = {"step": "training step", "infer": "inference"}[o.what]
    title = f"{noun} on {o.threads} thread{'s'[:o.threads != '1']}: how many times as fast as PyTorch's best setting"
    pathlib.Path(o.out).write_text("\n".join(picture(nets, title)) + "\n")


main()
