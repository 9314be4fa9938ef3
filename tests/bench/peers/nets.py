"""Whole networks, ours beside PyTorch's, and beside their bounds: called by peers.sh, which knows how to start everybody.

A job is a network and a batch: for it every contender is started with each number of threads, takes its turns, and ends, so that its
peak in memory is that of this job. `torch` is PyTorch as found; all others are tried as well, and torch_best is, for each figure,
the fastest of all.
"""
import argparse
import csv
import shlex
import subprocess
import time

from turns import Peer, geomean, median, print_table, quiet_times, spread

BATCHES, LONGEST = (1, 16, 64, 256), 2000  # ms of a step at the largest batch


class Plan:
    """Shares the time that is left out to the jobs that are left."""

    def __init__(self, minutes, jobs):
        self.end, self.left = time.monotonic() + 60 * minutes, jobs

    def next_job(self):
        self.start = time.monotonic()
        self.share = max(self.end - self.start, 0) / self.left
        self.left -= 1

    def has_time(self, seconds=0):
        return time.monotonic() - self.start + seconds < self.share


def take_turns(contenders, job, rounds, tries, plan, disturbed):
    """found[name]: a list of answers, one for each round that there was time for, one at least."""
    found = {c.name: [] for c in contenders}
    for turn in range(rounds):
        start = time.monotonic()
        first = turn % len(contenders)
        for c in contenders[first:] + contenders[:first]:
            found[c.name].append(quiet_times(c, job, disturbed, tries if plan.has_time() else 1))
        if not plan.has_time(time.monotonic() - start):
            break
    return found


def bounds(o, net, threads, batches):
    """bound[batch]: products, memory, their sum, in ms."""
    one = ["--batch", str(batches[0])] if len(batches) == 1 else []
    run = subprocess.run([o.ours, "--bound", "--net", net, "--threads", str(threads), "--seconds", "0.3", *one, *o.cpu.split()],
                         stdout=subprocess.PIPE, text=True, check=True)
    return {int(row["batch"]): row for row in csv.DictReader(run.stdout.splitlines())}


def measure(o, net, batch, plan, disturbed):
    """Rows, one for each number of threads."""
    names = [name for name, _ in o.peers]
    contenders = []
    for threads in o.threads:
        arguments = f"--net {net} --batch {batch} --threads {threads}{o.cpu}"
        contenders.append(Peer(f"ours,{threads}", f"'{o.ours}' --serve {arguments}", o.seconds))
        for name, commands in o.peers:
            best = " --best" if name != "torch" else ""
            contenders.append(Peer(f"{name},{threads}", f"{commands[threads]} {net} {batch} {threads}{best}{o.cpu}", o.seconds))
    found = take_turns(contenders, f"{net},{batch}", o.rounds, 1 if o.cpu else 2, plan, disturbed)
    how = {c.name: c.version.split()[2:] for c in contenders}
    for c in contenders:
        c.end()
    for threads in o.threads:
        def times(name, which):
            return [None if a is None else a[which] for a in found[f"{name},{threads}"]]

        row = {"net": net, "batch": batch, "threads": threads, "rounds": len(found[f"ours,{threads}"])}
        for which, what in enumerate(("step", "infer")):
            row[f"{what}_ms"] = median(times("ours", which))
            all_torch = {name: median(times(name, which)) for name in names}
            row[f"torch_{what}_ms"] = all_torch.get("torch")
            there = {name: ms for name, ms in all_torch.items() if ms}
            best = min(there, key=there.get) if there else None
            row[f"torch_best_{what}_ms"] = there.get(best)
            row[f"torch_best_{what}_is"] = f"{best}:{how[f'{best},{threads}'][which]}" if best else None
        row["peak_mib"], row["mallocs"] = times("ours", 2)[0], int(times("ours", 3)[-1])
        row["torch_peak_mib"] = times("torch", 2)[0] if "torch" in names else None
        row["spread"] = max(spread(times(name, 0)) for name in ["ours", *names])
        yield row


def ratio(a, b):
    return a / b if a and b else None


def finish(row, bound):
    row.update({key: float(bound[key]) for key in ("gemm_ms", "move_ms", "bound_ms")})
    row["step_over_bound"] = ratio(row["step_ms"], row["bound_ms"])
    for what in ("step", "infer"):
        row[f"{what}_ratio"] = ratio(row[f"torch_{what}_ms"], row[f"{what}_ms"])
        row[f"{what}_best_ratio"] = ratio(row[f"torch_best_{what}_ms"], row[f"{what}_ms"])


# ---- tables ----


def means(rows, columns, width):
    """Lines of geometric means: small batches, large ones, and the smallest single figure."""
    for title, part in (("geomean, batch < 64", [r for r in rows if r["batch"] < 64]),
                        ("geomean, batch >= 64", [r for r in rows if r["batch"] >= 64]), ("smallest", None)):
        if part is None:
            yield [title, *[None] * (width - 1 - len(columns)),
                   *(min((r[c] for r in rows if r[c]), default=None) for c in columns)]
        elif part:
            yield [title, *[None] * (width - 1 - len(columns)), *(geomean(r[c] for r in part) for c in columns)]


def print_times(rows, what, title, version):
    print(f"\n## {title}; torch is {version}")
    columns = [f"{what}_ms", f"torch_{what}_ms", f"torch_best_{what}_ms", f"{what}_ratio", f"{what}_best_ratio"]
    heading = ["net", "batch", "ours", "torch", "torch_best", "torch/ours", "best/ours"]
    if what == "step":
        columns += ["bound_ms", "step_over_bound"]
        heading += ["bound", "ours/bound"]
    table = [[r["net"], r["batch"], *(r[c] for c in columns), r[f"torch_best_{what}_is"]] for r in rows]
    ratios = columns[3:5]
    blank = [None] * (len(columns) - 5 + 1)
    print_table([*heading, "best is"], table + [m + blank for m in means(rows, ratios, 7)])


def print_memory(rows, version):
    print(f"\n## peak of training: MiB beyond the program at its start; torch is {version}, as found")
    print_table(["net", "batch", "ours", "torch", "ours/torch", "mallocs a step"],
                [[r["net"], r["batch"], r["peak_mib"], r["torch_peak_mib"], ratio(r["peak_mib"], r["torch_peak_mib"]),
                  r["mallocs"]] for r in rows])


def print_scaling(rows, version):
    table = []
    for r in rows:
        two = next((s for s in rows if s["threads"] == 2 and (s["net"], s["batch"]) == (r["net"], r["batch"])), None)
        if r["threads"] == 1 and two:
            table.append([r["net"], r["batch"],
                          *(ratio(r[key], two[key]) for key in ("step_ms", "torch_best_step_ms", "infer_ms", "torch_best_infer_ms"))])
    if table:
        print(f"\n## two threads over one: how many times as fast; torch is {version}, at its best")
        print_table(["net", "batch", "step", "torch's", "inference", "torch's"], table)


def print_all(rows, o, version):
    for threads in o.threads:
        part = [r for r in rows if r["threads"] == threads]
        noun = f"{threads} thread{'s'[:threads > 1]}: milliseconds{' of processor time' if o.cpu else ''}"
        print_times(part, "step", f"training step, {noun}", version)
        print_times(part, "infer", f"inference, {noun}", version)
    print_memory([r for r in rows if r["threads"] == o.threads[0]], version)
    print_scaling(rows, version)


# ---- the command ----


def read_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True)
    parser.add_argument("--peer", action="append", default=[], help="NAME:THREADS=COMMAND")
    parser.add_argument("--only", help="NET, or NET,BATCH")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--csv", required=True)
    parser.add_argument("--cpu", action="store_const", const=" --cpu", default="", help="processor time")
    parser.add_argument("--quick", action="store_true", help="batch 16 alone")
    o = parser.parse_args()
    o.threads = [int(n) for n in o.threads.split(",")]
    if o.cpu and o.threads != [1]:
        raise SystemExit("processor time says nothing of several threads: --cpu needs --threads 1")
    commands = {}
    for peer in o.peer:
        name, _, command = peer.partition("=")
        name, _, threads = name.partition(":")
        commands.setdefault(name, {})[int(threads)] = command
    o.peers = list(commands.items())
    if o.quick:
        o.minutes = 5
    return o


def jobs_of(o, nets):
    net, _, batch = (o.only or "").partition(",")
    if net and net not in nets:
        raise SystemExit(f"there is no network {net}: --only {' or '.join(nets)}, or one of them with a batch: unet,16")
    return [(n, b) for n in nets for b in ([int(batch)] if batch else [16] if o.quick else BATCHES) if not net or n == net]


def version_of(o):
    command = o.peers[0][1][o.threads[0]] if o.peers else None
    if not command:
        return "left out"
    peer = Peer("torch", f"{command} mlp 1 1", 0)
    peer.end()
    return " ".join(peer.version.split()[:2])


def main():
    o = read_arguments()
    listed = subprocess.run([o.ours, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    nets = [line.split(",")[0] for line in listed]
    jobs, rows, disturbed, found_bounds = jobs_of(o, nets), [], [], {}
    version = version_of(o)
    print(f"# torch: {version}", flush=True)
    plan = Plan(o.minutes, len(jobs))
    for net, batch in jobs:
        plan.next_job()
        smaller = next((r for r in rows if (r["net"], r["batch"], r["threads"]) == (net, 64, 1)), None)
        if batch == 256 and smaller and 4 * smaller["step_ms"] > LONGEST:
            print(f"# {net},256 is left out: a step would take more than {LONGEST / 1000:g} s", flush=True)
            continue
        new = list(measure(o, net, batch, plan, disturbed))
        for row in new:
            key = net, row["threads"]
            if key not in found_bounds:
                found_bounds[key] = bounds(o, *key, [b for n, b in jobs if n == net])
            finish(row, found_bounds[key][batch])
            print(f"# {net},{batch},{row['threads']}: ours {row['step_ms']:.3f} ms, torch's best"
                  f" {row['torch_best_step_ms'] or 0:.3f} ms", flush=True)
        rows += new
    with open(o.csv, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows({key: f"{v:.5g}" if isinstance(v, float) else v for key, v in r.items()} for r in rows)
    print_all(rows, o, version)
    noisy = sum(d > 0.1 for d in disturbed)
    print(f"\n{noisy} of {len(disturbed)} turns were disturbed by strangers, {sum(r['spread'] > 1.3 for r in rows)} of {len(rows)} "
          f"rows have a step that differs by more than 1.3x between rounds. CSV: {o.csv}")


main()
