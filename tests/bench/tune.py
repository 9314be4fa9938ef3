"""Builds the engines with other values of a tunable, and times them in turn. Started by tests/bench/tune.sh."""
import argparse
import csv
import io
import math
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
COLUMNS = ["fwd_ms", "bwd_x_ms", "bwd_w_ms", "step_ms"]


def copy_of_project(to):
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True).stdout.split("\n")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to / name)


def set_value(tree, name, value):
    """In the one line of the engines that defines it; its second value, for tests, stays."""
    pattern = re.compile(rf"(\b{name} =\s+(?:LIMIT\()?)([^,;/]+)(?=,)")
    for path in sorted((tree / "ops/kernels").rglob("*.[ci]*")):
        text = path.read_text()
        if pattern.search(text):
            path.write_text(pattern.sub(lambda m: m[1] + str(value), text, count=1))
            return pattern.search(text)[2]
    sys.exit(f"tune: no file of ops/kernels defines {name}")


def build(folder, name, value):
    tree = folder / f"{name}-{value}"
    copy_of_project(tree)
    was = set_value(tree, name, value) if value is not None else None
    for command in (["meson", "setup", "build", "-Dexamples=false"], ["ninja", "-C", "build", "tests/bench/bench_conv"]):
        done = subprocess.run(command, cwd=tree, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            sys.exit(f"{done.stdout}\ntune: {name} = {value} does not build")
    return tree / "build/tests/bench/bench_conv", was


def times(program, shape, o):
    out = subprocess.run([program, "--shapes", o.shapes, "--only", shape, "--seconds", str(o.seconds), "--threads", str(o.threads)],
                         text=True, stdout=subprocess.PIPE, check=True).stdout
    row = next(csv.DictReader(io.StringIO(out)))
    return [float(row[c]) for c in COLUMNS]


def main():
    p = argparse.ArgumentParser(prog="tests/bench/tune.sh", description="Times other values of a tunable of ops/kernels against the one "
                                "it has, in turn, shape by shape. Prints how many times as fast each is: geometric means, and the slowest shape.")
    p.add_argument("name", help="an enumerator, such as KC")
    p.add_argument("values", nargs="+", help="numbers, or expressions in C")
    p.add_argument("--shapes", default=ROOT / "tests/bench/shapes.csv", help="default tests/bench/shapes.csv")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=0.05, help="for each median (default 0.05)")
    p.add_argument("--threads", type=int, default=1)
    o = p.parse_args()
    shapes = [row["name"] for row in csv.DictReader(open(o.shapes))]
    with tempfile.TemporaryDirectory() as folder:
        programs = {None: build(pathlib.Path(folder), o.name, None)[0]}
        for value in o.values:
            programs[value], was = build(pathlib.Path(folder), o.name, value)
        ratios = {value: {shape: [] for shape in shapes} for value in o.values}
        for _ in range(o.rounds):
            for shape in shapes:
                found = {value: times(program, shape, o) for value, program in programs.items()}
                for value in o.values:
                    ratios[value][shape].append([a / b for a, b in zip(found[None], found[value])])
    print(f"{o.name}, against {was}: " + ", ".join(c.removesuffix("_ms") for c in COLUMNS))
    for value, of in ratios.items():
        medians = {s: [statistics.median(c) for c in zip(*r)] for s, r in of.items()}
        means = [math.exp(statistics.mean(math.log(m[i]) for m in medians.values())) for i in range(len(COLUMNS))]
        worst = min(medians, key=lambda s: medians[s][-1])
        print(f"{value}: " + " ".join(f"{m:.3f}" for m in means) + f"; slowest step {worst} {medians[worst][-1]:.2f}")


main()
