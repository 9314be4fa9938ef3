"""Builds mutants of the library one by one, and runs the tests on each until one fails. Started by tests/mutants.sh."""
import argparse
import concurrent.futures
import hashlib
import json
import pathlib
import queue
import re
import sys
import threading
import time

import rules
import tree

HERE = pathlib.Path(__file__).resolve().parent

# Which tests are likely to find a fault in a file; those that found others there come before them, and the quick ones behind.
LIKELY = [
    ("ops/kernels/gemm/", "products ops kernels kernels-im2col"),
    ("ops/kernels/", "kernels decisions bits products kernels-im2col kernels-baseline kernels-avx2 laws laws-reference torch"),
    ("ops/frameworks/", "frameworks interop errors"),
    ("ops/core/plans", "kernels laws memory errors"),
    ("ops/core/(packs|tensor)", "layers ops memory errors"),
    ("ops/core/", "ops borders memory grads errors"),
    ("ops/conv2d", "laws grads errors torch"),
    ("ops/(pool|resize|pixel|norm)", "spatial borders errors"),
    ("ops/", "ops borders elementwise spatial grads errors"),
    ("nn/data/", "data loader png"),
    ("nn/files/(npy|numbers)", "npy npz"),
    ("nn/files/npz", "npz npy"),
    ("nn/files/png", "png files data"),
    ("nn/files/", "files checkpoint data"),
    ("nn/report/", "report"),
    ("nn/train/", "fit checkpoint report"),
    ("nn/(adam|sgd|rmsprop|optim|schedules|ema|losses|bce|cross)", "optim nn"),
    ("nn/", "nn layers optim"),
]


def may_find(name, file):
    """Whether a fault in the file can show in the test: the kernels use little else, and paths differ in the kernels alone."""
    if name.startswith("kernels") or name in ("bits", "decisions") or name.endswith(("-im2col", "-baseline", "-avx2", "-reference")):
        return file.startswith(("ops/kernels/", "ops/core/plans"))
    return not (file.startswith("nn/") and name in ("ops", "laws", "grads", "article", "torch", "frameworks", "interop",
                                                    "elementwise", "spatial", "borders", "methods"))


class Suite:
    def __init__(self, tests, seconds):
        self.tests, self.seconds = tests, seconds
        self.kills = {}  # (file, test): how often
        self.lock = threading.Lock()

    def order(self, file):
        likely = next((names.split() for pattern, names in LIKELY if re.match(pattern, file)), [])
        rank = {name: i for i, name in enumerate(likely)}
        return sorted((n for n in self.tests if may_find(n, file)),
                      key=lambda n: (-self.kills.get((file, n), 0), rank.get(n, len(rank)), self.seconds[n]))

    def killed(self, file, name):
        with self.lock:
            self.kills[file, name] = self.kills.get((file, name), 0) + 1


# ---- one mutant ----


def verdict_of(where, suite, original, m):
    """(verdict, by which test): killed, SURVIVED, same code (as without the fault), or does not compile."""
    text = where.content(m.file).decode()
    lines = text.split("\n")
    lines[m.number - 1] = m.new
    where.put(m.file, "\n".join(lines).encode())
    try:
        if not where.compiles():
            return "does not compile", ""
        if where.library() == original:
            return "same code", ""
        for name in suite.order(m.file):
            how = where.run(suite.tests[name], suite.seconds[name])
            if how:
                suite.killed(m.file, name)
                return "killed", f"{name}: {how}"
        return "SURVIVED", ""
    finally:
        where.put(m.file, text.encode())


def measure(where, tests):
    """How long each test takes without a fault. One that fails by itself would kill every mutant."""
    seconds = {}
    for name, test in tests.items():
        begin = time.monotonic()
        how = where.run(test, 10)
        if how:
            sys.exit(f"mutants: without any fault, test {name} fails: {how}")
        seconds[name] = time.monotonic() - begin
    return seconds


def digest(names):
    whole = hashlib.sha256()
    for name in sorted(names):
        whole.update((tree.ROOT / name).read_bytes())
    return whole.hexdigest()[:16]


class Log:
    """Verdicts, kept in a file. A kill holds as long as its source is the same; all else only as long as the tests are, too."""

    def __init__(self, path, resume):
        self.path, self.known = path, {}
        self.tests = digest(n for n in tree.project_files() if re.match(r"tests/((support|kernels|kernels/decisions|ops|nn|programs)/[^/]*\.([ch]|txt)|meson\.build|mutants/(run|tree)\.py)$", n))
        self.sources = {}
        if resume and path.exists():
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                self.known[entry["key"]] = entry
        elif path.exists():
            path.unlink()

    def source(self, file):
        if file not in self.sources:
            self.sources[file] = digest([file])
        return self.sources[file]

    def find(self, m):
        entry = self.known.get(m.key)
        if entry and entry["source"] == self.source(m.file) and (entry["verdict"] != "SURVIVED" or entry["tests"] == self.tests):
            return entry["verdict"], entry["by"]
        return None

    def add(self, m, verdict, by):
        entry = {"key": m.key, "id": m.id, "verdict": verdict, "by": by, "source": self.source(m.file), "tests": self.tests}
        with self.path.open("a") as f:
            print(json.dumps(entry), file=f)


# ---- all of them ----


def choose(o):
    """The mutants, and what is wrong with the lists."""
    files = [n for n in tree.project_files() if re.match(r"(ops|nn)/.*\.(c|h|inc)$", n) and not re.search(r"/pleat_?\w*\.h$", n)]
    texts = {n: (tree.ROOT / n).read_text() for n in files}
    by_rule = [m for n in files for m in rules.mutants_of(n, texts[n])]
    chosen, wrong = rules.written(HERE / "written.txt", texts)
    chosen += rules.sample(by_rule, o.count, o.seed)
    if o.only and re.fullmatch(r"[0-9a-f]{7}", o.only):
        chosen = [m for m in chosen + by_rule if m.id == o.only][:1]
    elif o.only:
        chosen = [m for m in (by_rule if o.all else chosen) if re.search(o.only, str(m))]
    equivalent = {}
    for file, old, new, why, number in rules.read_list(HERE / "equivalent.txt"):
        if old not in map(str.strip, texts.get(file, "").split("\n")):
            wrong.append(f"{HERE / 'equivalent.txt'}:{number}: no line of {file} is \"{old}\"; take the entry out")
        equivalent[file, old, new] = why
    chosen = sorted(set(chosen), key=lambda m: (m.file, m.number, m.rule, m.new))
    return [m for m in chosen if (m.file, m.old.strip(), m.new.strip()) not in equivalent], \
           [m for m in chosen if (m.file, m.old.strip(), m.new.strip()) in equivalent], wrong


def report(m, verdict, by):
    print(f"{m}  {'killed by ' + by if verdict == 'killed' else verdict}", flush=True)


def run(o, mutants, log):
    """The verdict of each mutant that came to its turn."""
    found = {m: known for m in mutants for known in [log.find(m)] if known}
    left = sorted((m for m in mutants if m not in found), key=lambda m: m.key in log.known)  # those without a verdict first
    for m, known in found.items():
        report(m, *known)
    if not left:
        return found
    trees = queue.SimpleQueue()
    for i in range(o.jobs):
        where = tree.Tree(o.folder, i)
        where.path.mkdir(parents=True, exist_ok=True)
        where.update()
        trees.put((where, where.library()))
    tests, times = where.tests(), o.folder / "seconds.json"
    seconds = json.loads(times.read_text()) if o.resume and times.exists() else {}
    if set(seconds) != set(tests):
        seconds = measure(where, tests)
        times.write_text(json.dumps(seconds))
    suite, begin, lock = Suite(tests, seconds), time.monotonic(), threading.Lock()

    def one(m):
        if o.seconds and time.monotonic() - begin > o.seconds:
            return
        where, original = trees.get()
        try:
            verdict, by = verdict_of(where, suite, original, m)
        finally:
            trees.put((where, original))
        with lock:
            found[m] = verdict, by
            log.add(m, verdict, by)
            report(m, verdict, by)

    with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
        for done in [pool.submit(one, m) for m in left]:
            done.result()
    return found


def options():
    p = argparse.ArgumentParser(prog="tests/mutants.sh", description="Puts single faults into the library, one at a time, and runs "
                                "the tests on each: what survives is a test that is missing. Exit status 1 if any does.")
    p.add_argument("--list", action="store_true", help="the mutants, a line each; nothing is built")
    p.add_argument("--only", metavar="ID|PATTERN", help="one mutant, or those whose line (see --list) matches")
    p.add_argument("--all", action="store_true", help="with --only PATTERN: of all that the rules can make, not of the sample")
    p.add_argument("--count", type=int, default=220, metavar="N", help="mutants by rule, spread over the files (default 220)")
    p.add_argument("--seed", type=int, default=1, metavar="N", help="of the sample (default 1)")
    p.add_argument("--jobs", type=int, default=1, metavar="N", help="mutants at a time, each in a tree of its own (default 1)")
    p.add_argument("--resume", action="store_true", help="keep the verdicts of the last run that still hold")
    p.add_argument("--seconds", type=int, default=0, metavar="S", help="begin no mutant after so long; go on with --resume")
    p.add_argument("--folder", type=pathlib.Path, default=tree.ROOT / "build-mutants", help="for the builds (default build-mutants)")
    o = p.parse_args()
    if o.count < 0 or o.jobs < 1 or o.seconds < 0:
        p.error("--count and --seconds are at least 0, --jobs at least 1")
    o.folder = o.folder.resolve()
    return o


def main():
    o = options()
    mutants, equivalent, wrong = choose(o)
    if wrong:
        sys.exit("\n".join(wrong))
    if not mutants and not equivalent:
        sys.exit(f"mutants: nothing matches --only {o.only}; see --list")
    if o.list:
        print(*mutants, sep="\n")
        return
    o.folder.mkdir(parents=True, exist_ok=True)
    found = run(o, mutants, Log(o.folder / "verdicts.jsonl", o.resume))
    count = {word: sum(v == word for v, _ in found.values()) for word in ("killed", "SURVIVED", "same code", "does not compile")}
    for m, (verdict, _) in found.items():
        if verdict == "SURVIVED":
            print("survivor:", m)
    judged = count["killed"] + count["SURVIVED"]
    print(f"{count['killed']} of {judged} killed ({100 * count['killed'] / max(judged, 1):.1f} %), {count['SURVIVED']} survived; "
          f"not counted: {len(equivalent)} equivalent, {count['same code']} the same code, {count['does not compile']} did not "
          f"compile, {len(mutants) - len(found)} left over")
    sys.exit(1 if count["SURVIVED"] or len(found) < len(mutants) else 0)


main()
