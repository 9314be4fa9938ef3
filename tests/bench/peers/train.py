"""Training steps and inference of two small networks, ours beside PyTorch's: called by peers.sh, which knows how to start it."""
import argparse

from turns import Peer, Program, geomean, median, print_table, take_turns

NETS, BATCHES = ("autoencoder", "cnn"), (1, 16, 64, 500)


def times(answers, which):
    """The median over the rounds; ours are words by name, a peer's are numbers."""
    names = ("step_ms", "infer_ms")
    return median(None if a is None else float(a[names[which]] if isinstance(a, dict) else a[which]) for a in answers)


def rows_of(found, jobs, peers, which):
    for job in jobs:
        net, batch = job.split(",")
        ours = times(found[job]["ours"], which)
        theirs = [times(found[job][p], which) for p in peers]
        yield [net, batch, ours, *theirs, *(t / ours if t else None for t in theirs)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True)
    parser.add_argument("--peer", action="append", default=[], help="NAME=COMMAND")
    parser.add_argument("--only")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.25)
    o = parser.parse_args()
    jobs = [f"{net},{batch}" for net in NETS for batch in BATCHES if o.only in (None, net, f"{net},{batch}")]
    if not jobs:
        raise SystemExit(f"there is no network {o.only}: --only {' or '.join(NETS)}, or one of them with a batch: cnn,64")

    def command(job):
        net, batch = job.split(",")
        return [o.ours, "--net", net, "--batch", batch, "--threads", str(o.threads), "--seconds", str(o.seconds), "--no-bound"]

    peers = [Peer(*p.split("=", 1), o.seconds) for p in o.peer]
    for p in peers:
        print(f"# {p.name}: {p.version}", flush=True)
    found = take_turns([Program("ours", command), *peers], jobs, o.rounds)
    names = [p.name for p in peers]
    for which, title in enumerate(("training step", "inference")):
        print(f"\n## {title}: milliseconds, {o.threads} thread{'s'[:o.threads > 1]}")
        rows = list(rows_of(found, jobs, names, which))
        means = [geomean(r[i] for r in rows) for i in range(2, len(rows[0]))]
        print_table(["net", "batch", "ours", *names, *(f"{n}/ours" for n in names)], rows + [["geomean", "", *means]])
    print("\n## ours in memory")
    print_table(["net", "batch", "mallocs", "peak MiB"],
                [[*job.split(","), found[job]["ours"][-1]["mallocs"], found[job]["ours"][-1]["peak_mib"]] for job in jobs])


main()
