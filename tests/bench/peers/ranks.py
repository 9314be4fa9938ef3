"""What micro-batches and ranks cost, beside PyTorch's DistributedDataParallel: called by mpi.sh, which knows how to start everybody."""
import argparse
import shlex
import subprocess

from turns import Program, digits, median, print_table, spread, take_turns

JOBS = ("autoencoder,256,64", "autoencoder,64,16", "classifier,256,64", "classifier,64,16")  # net, batch, micro-batch
STEPS, RANKS = 20, (1, 2, 4)
HEADING = {"plain": "plain", "micro": "micro", "plain_2": "plain 2 thr", "micro_2": "micro 2 thr", "ranks_2": "2 ranks",
           "ddp_1": "DDP 1", "ddp_2": "DDP 2"}


def parts(job):
    net, batch, micro = job.split(",")
    return net, int(batch), int(micro)


# ---- commands ----


def ours(o, job, micro, threads=1, ranks=0, **more):
    net, batch, size = parts(job)
    start = [*shlex.split(o.mpirun), "-n", str(ranks)] if ranks else []
    words = [word for key, value in more.items() for word in (f"--{key}", str(value))]
    return [*start, o.ours, "--net", net, "--batch", str(batch), "--micro", str(size if micro else 0), "--threads", str(threads), *words]


def ddp(o, job, processes, *what):
    net, batch, _ = parts(job)
    return [*shlex.split(o.ddp), net, str(batch), str(processes), *map(str, what)]


def contenders_of(o):
    time = {"seconds": o.seconds} | ({"bucket": o.bucket} if o.bucket else {})
    if o.cpu:
        return [Program(name, lambda job, m=micro: [*ours(o, job, m, **time), "--cpu"]) for name, micro in (("plain", 0), ("micro", 1))]
    found = [Program("plain", lambda job: ours(o, job, False, **time)), Program("micro", lambda job: ours(o, job, True, **time)),
             Program("plain_2", lambda job: ours(o, job, False, 2, **time)), Program("micro_2", lambda job: ours(o, job, True, 2, **time))]
    if o.mpirun:
        found.append(Program("ranks_2", lambda job: ours(o, job, True, 1, 2, **time)))
    if o.ddp:
        found += [Program(f"ddp_{n}", lambda job, n=n: ddp(o, job, n, o.seconds)) for n in (1, 2)]
    return found


# ---- tables ----


def figure(answers, what):
    return median(float(a[what]) for a in answers)


def ratio(a, b):
    return a / b if a and b else None


def print_times(found, names, unit):
    rows = []
    for job, answers in found.items():
        ms = {name: figure(answers[name], "ms") for name in names}
        rows.append([*parts(job), *ms.values(), ratio(ms["micro"], ms["plain"]), ratio(ms["micro"], ms.get("ranks_2")),
                     ratio(ms.get("ddp_1"), ms.get("ddp_2"))])
    print(f"\n## a step: {unit}")
    print_table(["net", "batch", "micro", *(HEADING[n] for n in names), "micro/plain", "micro/2 ranks", "DDP 1/2"], rows)
    wide = [f"{job} {name}" for job, answers in found.items() for name in names
            if spread([float(a["ms"]) for a in answers[name]]) > 1.3]
    print(f"{len(wide)} of {len(found) * len(names)} differ by more than 1.3x between rounds{': ' if wide else ''}{'; '.join(wide)}")


def print_traffic(found):
    what = ("sent_mb", "least_mb", "waited_ms", "busy_ms", "hidden")
    print("\n## two ranks, a step of rank 0: MB sent, the least possible; ms waited, ms with gradients under way, share that was hidden")
    print_table(["net", "batch", "micro", *what],
                [[*parts(job), *(figure(answers["ranks_2"], w) for w in what)] for job, answers in found.items()])


def answer(command, key):
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    return dict(zip(lines[0].split(","), lines[1].split(",")))[key][:16]


def print_hashes(o, jobs):
    rows = []
    for job in jobs:
        mine = [answer(ours(o, job, True, 1, n if o.mpirun else 0, hash=STEPS), "hash") for n in (RANKS if o.mpirun else (1,))]
        mine.append(answer(ours(o, job, True, 2, 0, hash=STEPS), "hash"))
        theirs = [answer(ddp(o, job, n, "--hash", STEPS), "sha256") for n in RANKS] if o.ddp else []
        for who, hashes in (("pleat", mine), ("DDP", theirs)):
            if hashes:
                rows.append([job, who, "equal" if len(set(hashes)) == 1 else "differ", *hashes])
    print(f"\n## parameters after {STEPS} steps: hashes for {', '.join(map(str, RANKS))} ranks, and for one with two threads")
    width = max(map(len, rows))
    print_table(["net, batch, micro", "", "", *[""] * (width - 3)], [row + [""] * (width - len(row)) for row in rows])


# ---- the command ----


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True)
    parser.add_argument("--mpirun", default="", help="a command without the number of ranks; none: no ranks")
    parser.add_argument("--ddp", default="", help="the command of torch_ddp.py; none: left out")
    parser.add_argument("--only", help="NET, or NET,BATCH,MICRO")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--bucket", type=int, default=0)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--hashes", action="store_true", help="nothing else")
    o = parser.parse_args()
    net = (o.only or "").split(",")[0]
    jobs = [o.only] if "," in (o.only or "") else [job for job in JOBS if not net or parts(job)[0] == net]
    if not jobs:
        raise SystemExit(f"there is no job {o.only}: --only {' or '.join(JOBS)}, or a network")
    if not o.hashes:
        contenders = contenders_of(o)
        names = [c.name for c in contenders]
        found = take_turns(contenders, jobs, o.rounds)
        print_times(found, names, "milliseconds of processor time" if o.cpu else "milliseconds")
        if "ranks_2" in names:
            print_traffic(found)
    if not o.cpu:
        print_hashes(o, jobs)


main()
