"""A copy of the project with a warm build, in which one file at a time is another, and its tests."""
import hashlib
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LIBRARY = "tests/libpleat_inside.so"
DECISIONS = "tests/test_decisions"  # has engines of its own
# what a test of a mutant may use before it counts as running away: a test (that of the baseline computes its multiply-adds), and a program
# with all of its tests
CPU_SECONDS, WALL_SECONDS, ADDRESSES, FILE_BYTES = 40, 60, 8 << 30, 8 << 30  # a test of long files makes one with a hole

AGAIN = "Criterion could not start a test"


def project_files():
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if listed.returncode == 0 and listed.stdout:
        names = listed.stdout.split("\n")
    else:
        names = [str(p.relative_to(ROOT)) for p in ROOT.rglob("*")]
        names = [n for n in names if not re.match(r"(build[^/]*|out|\.git)/", n)]
    return [n for n in names if n and (ROOT / n).is_file()]


def replace(text, old, new, where):
    if old not in text:
        sys.exit(f"mutants: {where} has no \"{old}\" any more: tree.py must be told how the tests are to link a shared library")
    return text.replace(old, new)


class Tree:
    def __init__(self, folder, number):
        self.path = folder / f"tree-{number}"
        self.build = self.path / "build"
        self.scratch = "/tmp/pleat-mutant-" + hashlib.sha256(str(self.path).encode()).hexdigest()[:8]

    # ---- files ----

    def content(self, name):
        """A file as it is here: the tests link a shared library, so a mutant is compiled and linked once and not with each test;
        what tests leave in /tmp has a name that tells whose it is; and the compiler does not optimize for long."""
        data = (ROOT / name).read_bytes()
        if name == "tests/meson.build":
            # products and sums are fused by one of gcc's expensive optimizations
            data = data.replace(b"'-O2'", b"'-O1', '-fexpensive-optimizations'")
            data = replace(data.decode(), "static_library('pleat_inside', ",
                           "shared_library('pleat_inside', 'support/unwritten.c', dependencies: pleat_deps, link_args: '-Wl,--wrap=pl_take', "
                           "include_directories: [public_dirs, private_dirs, include_directories('../ops')], ", name).encode()
        if name == "ops/kernels/meson.build":
            data = replace(data.decode(), "['-O2'] : ", "['-O1', '-fexpensive-optimizations', '-DPL_ROLLED'] : ", name).encode()
        if name.startswith("tests/") and name.endswith((".c", ".h")):
            data = data.replace(b"/tmp/pleat-test", self.scratch.encode())
        return data

    def put(self, name, data):
        path = self.path / name
        if path.exists() and path.read_bytes() == data:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def update(self):
        """All files as they are in the project now, and a build of them."""
        names, list_of = project_files(), self.path / "files"
        before = list_of.read_text().split("\n") if list_of.exists() else []
        for name in names:
            self.put(name, self.content(name))
        for name in set(before) - set(names):
            (self.path / name).unlink(missing_ok=True)
        list_of.write_text("\n".join(names))
        if not (self.build / "build.ninja").exists():
            self.must("meson", "setup", self.build, "-Dbuildtype=plain", "-Doptimization=1", "-Dwarning_level=0",
                      "-Ddefault_library=static", "-Dtests=enabled")
        self.must("ninja", "-C", self.build)

    def must(self, *command):
        done = subprocess.run(command, cwd=self.path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            sys.exit(f"{done.stdout}\nmutants: {' '.join(map(str, command))} failed")
        return done.stdout

    # ---- the library ----

    def compiles(self):
        done = subprocess.run(["ninja", "-C", self.build, "-j1", LIBRARY, DECISIONS], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode == 0

    def library(self):
        return hashlib.sha256((self.build / LIBRARY).read_bytes()).hexdigest()

    # ---- tests ----

    def tests(self):
        listed = json.loads(self.must("meson", "introspect", "--tests", self.build))
        for t in listed:  # they run in whichever tree has the mutant
            t["cmd"][0] = os.path.relpath(t["cmd"][0], self.build)
            t["env"].pop("LD_LIBRARY_PATH", None)
        # a shell test may have a program's name; a fuzz target reads its corpus and is no Criterion program
        suites = [{s.split(":")[-1] for s in t["suite"]} for t in listed]
        return {t["name"]: t for t, of in zip(listed, suites) if "library" in of and "fuzz" not in of}

    def run(self, test, seconds):
        """None if the test passes, or how it fails. `seconds` is what it took before. Criterion may fail to start a process."""
        for _ in range(5):
            how = self.run_once(test, seconds)
            if how != AGAIN:
                return how
        sys.exit(f"mutants: {test['name']}: {how}")

    def run_once(self, test, seconds):
        def limits():
            for what, most in ((resource.RLIMIT_CPU, CPU_SECONDS), (resource.RLIMIT_AS, ADDRESSES),
                               (resource.RLIMIT_FSIZE, FILE_BYTES), (resource.RLIMIT_CORE, 0)):
                resource.setrlimit(what, (most, resource.getrlimit(what)[1]))  # some tests set limits of their own
        with subprocess.Popen([self.build / test["cmd"][0], *test["cmd"][1:], "-j1", "--fail-fast"], cwd=self.build, env={**os.environ, **test["env"]},
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=limits,
                              start_new_session=True) as process:
            try:
                output, _ = process.communicate(timeout=WALL_SECONDS + 10 * seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                output = None
            finally:
                self.tidy()
        return self.verdict(process.returncode, output)

    @staticmethod
    def verdict(status, output):
        if status == 127:
            sys.exit(f"mutants: a test did not start: {output.decode(errors='replace')}")
        if output is None:
            return "it did not end"
        output = output.decode(errors="replace")
        if status == 0 and "fixture failed:" not in output:
            return None
        names = re.findall(r"^\[FAIL\] (\w+::\w+)", output, re.M) or re.findall(r"^\[----\] .*?(\w+::\w+)", output, re.M)
        if "criterion: Could not spawn" in output:
            return AGAIN
        return names[0].rstrip(":") if names else f"exit status {status}: {(output.strip().splitlines() or ['no output'])[-1]}"

    def tidy(self):
        for path in pathlib.Path("/tmp").glob(pathlib.Path(self.scratch).name + "-*"):
            shutil.rmtree(path, ignore_errors=True)
