#!/usr/bin/env python3
"""One table from the CSV of peers.sh --nets, a line for each network and batch, and the means below.

usage: python3 tests/bench/peers/nets_table.py NETS.csv
"""
import csv
import math
import sys

HEAD = (f"{'':19} {'step, one thread':-^32} {'step, two threads':-^27} {'inference, one':-^19} {'peak, MiB':-^16}\n"
        f"{'net':15} {'B':>3} {'ours':>7} {'torch':>6} {'best':>6} {'ratio':>5} {'bound':>4} {'ours':>7} {'best':>7} {'ratio':>5} {'of 1':>5}"
        f" {'ours':>6} {'best':>6} {'ratio':>5} {'ours':>5} {'torch':>5} {'o/t':>4}")


def short(v):
    return f"{v:.3g}" if v < 1000 else f"{v:.0f}"


def line(one, two):
    number = {k: float(v) for k, v in one.items() if v and v[0].isdigit()}
    other = {k: float(v) for k, v in two.items() if v and v[0].isdigit()}
    return (f"{one['net']:15} {one['batch']:>3} {short(number['step_ms']):>7} {short(number['torch_step_ms']):>6} "
            f"{short(number['torch_best_step_ms']):>6} {number['step_best_ratio']:5.2f} {number['step_over_bound']:5.2f} "
            f"{short(other['step_ms']):>7} {short(other['torch_best_step_ms']):>7} {other['step_best_ratio']:5.2f} "
            f"{number['step_ms'] / other['step_ms']:5.2f} {short(number['infer_ms']):>6} {short(number['torch_best_infer_ms']):>6} "
            f"{number['infer_best_ratio']:5.2f} {short(number['peak_mib']):>5} {short(number['torch_peak_mib']):>5} "
            f"{number['peak_mib'] / number['torch_peak_mib']:4.2f}")


def mean(rows, key):
    return math.exp(sum(math.log(float(r[key])) for r in rows) / len(rows))


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    with open(sys.argv[1], newline="") as file:
        rows = list(csv.DictReader(file))
    print(HEAD)
    for one in rows:
        if one["threads"] == "1":
            print(line(one, next(r for r in rows if r["threads"] == "2" and (r["net"], r["batch"]) == (one["net"], one["batch"]))))
    print()
    for name, batches in (("batches 1 and 16", ("1", "16")), ("batches 64 and 256", ("64", "256"))):
        for threads in ("1", "2"):
            part = [r for r in rows if r["threads"] == threads and r["batch"] in batches]
            print(f"geometric means, {name}, {threads} thread{'s'[:threads != '1']}: step {mean(part, 'step_best_ratio'):.2f}, "
                  f"inference {mean(part, 'infer_best_ratio'):.2f}; smallest step {min(float(r['step_best_ratio']) for r in part):.2f}")


main()
