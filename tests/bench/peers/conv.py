"""The convolution family, ours beside its peers: called by peers.sh, which knows how to start them."""
import argparse

from turns import Peer, Program, geomean, median, print_table, spread, take_turns

PLAIN = ("torch", "onednn_nchw", "ort")  # take and give plain NCHW, as ours does
LOUD = 1.3


def rates(answer, gflop, ours):
    """GFLOP/s: forward, step, and for ours the roofline's."""
    if answer is None:
        return {}
    if ours:
        return {"fwd": 1e3 * gflop / float(answer["fwd_ms"]), "step": 3e3 * gflop / float(answer["step_ms"]),
                "own_fwd": 1e3 * gflop / float(answer["own_fwd_ms"]), "own_step": 3e3 * gflop / float(answer["own_step_ms"]),
                "gemm_fwd": float(answer["gemm_fwd"]), "gemm_step": float(answer["gemm_step"])}
    return dict(zip(("fwd", "step"), (k * 1e3 * gflop / ms for k, ms in zip((1, 3), answer))))


def ratio(a, b):
    return a / b if a and b else None


class Table:
    """One of fwd and step: a row for each shape, and what they come to."""

    def __init__(self, what, names, shapes, rate):
        self.what, self.names = what, [n for n in names if any(rate(s, n, what) for s in shapes)]
        self.heading = ["shape", "op", "gemm", "ours", "own", *self.names, "vb", "vbn", "own/vb", "ours/vb", "ours/vbn", "ours/torch",
                        "ours/gemm", "vb is"]
        self.rows = [self.row(s, shapes[s], rate) for s in shapes]

    def row(self, shape, op, rate):
        gemm, ours = rate(shape, "ours", "gemm_" + self.what), rate(shape, "ours", self.what)
        own = rate(shape, "ours", "own_" + self.what)
        peers = {n: rate(shape, n, self.what) for n in self.names}
        there = {n: v for n, v in peers.items() if v}
        vb, vbn = max(there.values(), default=None), max((v for n, v in there.items() if n in PLAIN), default=None)
        return [shape, op, gemm, ours, own, *peers.values(), vb, vbn, ratio(own, vb), ratio(ours, vb), ratio(ours, vbn),
                ratio(ours, peers.get("torch")), ratio(ours, gemm), max(there, key=there.get, default="-")]

    def means(self):
        for op in ("conv", "deconv", ""):
            rows = [r for r in self.rows if r[1] == op or not op]
            if rows:
                yield [f"geomean, {len(rows)}", op or "all", *(geomean(r[i] for r in rows)
                                                                for i in range(2, len(self.heading) - 1)), ""]

    def print(self, threads):
        title = {"fwd": "forward", "step": "step: forward and both gradients, 3 x gflop / time"}[self.what]
        print(f"\n## {title}: GFLOP/s, {threads} thread{'s'[:threads > 1]}")
        print_table(self.heading, self.rows + list(self.means()))
        for name in ("own/vb", "ours/vb", "ours/vbn", "ours/torch"):
            column = self.heading.index(name)
            rows = [r for r in self.rows if r[column]]
            if rows:
                least = min(rows, key=lambda r: r[column])
                print(f"smallest {name}: {least[column]:.3f} ({least[0]})")


def read_shapes(path, only):
    """The lines of the file by the shapes' names, and the operators."""
    lines = [line.strip() for line in open(path) if line.strip()]
    rows = [line for line in lines[1:] if only in (None, line.split(",")[0])]
    if not rows:
        raise SystemExit(f"{path} has no shape {only or 'at all'}")
    return {r.split(",")[0]: r for r in rows}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True)
    parser.add_argument("--peer", action="append", default=[], help="NAME=COMMAND")
    parser.add_argument("--shapes", required=True)
    parser.add_argument("--only")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.25)
    o = parser.parse_args()
    shapes = read_shapes(o.shapes, o.only)
    ours = Program("ours", lambda row: [o.ours, "--shapes", o.shapes, "--only", row.split(",")[0], "--threads", str(o.threads),
                                        "--seconds", str(o.seconds), "--roofline", "--own"])
    peers = [Peer(*p.split("=", 1), o.seconds) for p in o.peer]
    for p in peers:
        print(f"# {p.name}: {p.version}", flush=True)
    found = take_turns([ours, *peers], list(shapes.values()), o.rounds)

    measured = {}
    for name, row in shapes.items():
        gflop = float(next(a for a in found[row]["ours"] if a)["gflop"])
        for contender, answers in found[row].items():
            measured[name, contender] = [rates(a, gflop, contender == "ours") for a in answers]

    def rate(shape, contender, what):
        return median(m.get(what) for m in measured[shape, contender])

    ops = {name: row.split(",")[1] for name, row in shapes.items()}
    for what in ("fwd", "step"):
        Table(what, [p.name for p in peers], ops, rate).print(o.threads)
    if o.rounds < 2:
        return
    spreads = [spread([m.get(what) for m in answers]) for answers in measured.values() for what in ("fwd", "step")]
    print(f"\n{sum(s > LOUD for s in spreads)} of {len(spreads)} figures differ by more than {LOUD}x between rounds")


main()
