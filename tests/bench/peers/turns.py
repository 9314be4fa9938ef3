"""Contenders that take turns: job by job, in an order that rotates, for some rounds.

Every peer is a process that lives through the whole run: it prints "ready NAME VERSION", then reads lines "SECONDS WARM JOB" and
answers each with times in milliseconds, or with "error ..." . While it is not its turn it is stopped, so nothing that it does
between two jobs (threads that spin, collectors of garbage) costs the others time, and each may wait for work in the way that
suits it best.

A turn during which strangers took more than a tenth of a core is repeated, and the one that was disturbed least counts: two
threads that wait for each other lose far more than the time that a stranger takes.
"""
import atexit
import math
import os
import resource
import shlex
import signal
import statistics
import subprocess
import sys
import time

signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no peer is left behind, stopped

WARM = 0.35  # seconds: a processor that was given to somebody else needs them
STRANGERS, TRIES = 0.1, 4
TICK = os.sysconf("SC_CLK_TCK")


class Peer:
    def __init__(self, name, command, seconds):
        self.name, self.seconds = name, seconds
        self.process = subprocess.Popen(shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        atexit.register(self.end)
        self.version = self.process.stdout.readline().strip().removeprefix("ready ")
        if not self.version:
            sys.exit(f"{name} does not start: {command}")
        self.process.send_signal(signal.SIGSTOP)

    def times(self, job):
        """A list of milliseconds, or None where the peer cannot do it."""
        if self.process.poll() is not None:
            return None
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(f"{self.seconds} {WARM} {job}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer:  # it died, and will have said why
            self.end()
        self.process.send_signal(signal.SIGSTOP)
        if not answer or answer.startswith("error"):
            print(f"# {self.name}: {job}: {answer or 'ended'}", flush=True)
            return None
        return [float(word) for word in answer.split()]

    def cpu_seconds(self):
        try:
            with open(f"/proc/{self.process.pid}/stat") as stat:
                return sum(map(int, stat.read().rpartition(")")[2].split()[11:13])) / TICK
        except OSError:
            return 0

    def end(self):
        self.process.kill()
        self.process.wait()


class Program:
    """pleat's own: a program that prints CSV, with a line for the job."""

    def __init__(self, name, arguments):
        self.name, self.arguments = name, arguments

    def times(self, job):
        run = subprocess.run(self.arguments(job), stdout=subprocess.PIPE, text=True)
        if run.returncode:
            sys.exit(f"{self.name}: {shlex.join(run.args)} failed")
        lines = run.stdout.splitlines()
        return dict(zip(lines[0].split(","), lines[1].split(",")))

    def cpu_seconds(self):
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime


def busy_seconds():
    """Of all cores together, for whomever, since the machine was started; time that the host gave to others included."""
    with open("/proc/stat") as stat:
        user, nice, system, _, _, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICK


def quiet_times(contender, job, disturbed, tries=TRIES):
    """times() of the turn that strangers disturbed least; how much, in cores, goes to the list."""
    least = None
    for _ in range(tries):
        start, busy, own = time.monotonic(), busy_seconds(), contender.cpu_seconds()
        found = contender.times(job)
        if found is None:
            return None
        took = time.monotonic() - start
        strangers = max(busy_seconds() - busy - contender.cpu_seconds() + own, 0) / took
        if least is None or strangers < least[0]:
            least = strangers, found
        if strangers < STRANGERS:
            break
    disturbed.append(least[0])
    return least[1]


def take_turns(contenders, jobs, rounds):
    """found[job][name]: what times() returned, a list with an entry for each round."""
    disturbed = []
    found = {job: {c.name: [] for c in contenders} for job in jobs}
    for turn in range(rounds):
        for number, job in enumerate(jobs):
            first = (turn + number) % len(contenders)
            for c in contenders[first:] + contenders[:first]:
                found[job][c.name].append(quiet_times(c, job, disturbed))
            progress(f"round {turn + 1} of {rounds}, {number + 1} of {len(jobs)}")
    progress("")
    print(f"# strangers took {statistics.mean(disturbed):.2f} cores in the mean; in {sum(d >= STRANGERS for d in disturbed)} of "
          f"{len(disturbed)} turns more than {STRANGERS}, in {TRIES} tries")
    return found


def progress(text):
    if sys.stderr.isatty():
        print(f"\r{text:60}\r", end="", file=sys.stderr, flush=True)


def median(values):
    """Of those that are there; None of none."""
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def spread(values):
    values = [v for v in values if v is not None]
    return max(values) / min(values) if values else 1


def geomean(values):
    """None unless all are there: a mean over fewer shapes would not compare with the others."""
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values)) if values and all(values) else None


def digits(value):
    if not isinstance(value, float):
        return "-" if value is None else str(value)
    return f"{value:.{3 if value < 1 else 2 if value < 100 else 1}f}"


def print_table(heading, rows):
    """Columns as wide as they need; the first to the left, numbers to the right, None as a dash."""
    cells = [heading] + [[digits(v) for v in row] for row in rows]
    width = [max(len(row[i]) for row in cells) for i in range(len(heading))]
    for row in cells:
        print("  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, width))).rstrip())
