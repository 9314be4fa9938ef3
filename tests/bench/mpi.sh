#!/bin/sh
# What micro-batches and ranks cost, in turn with plain steps and with PyTorch's DistributedDataParallel. README.md has the columns.
set -u

usage() {
    cat <<'END'
usage: sh tests/bench/mpi.sh [--only NET] [--rounds R] [--seconds S] [--bucket BYTES] [--cpu] [--hashes] [--mpirun COMMAND] [--build DIR]

Times training steps at batch 256 in micro-batches of 64, and at 64 in micro-batches of 16: plain (pleat_nn_step), cut into
micro-batches in one process, with two threads, on two ranks of a thread each, and PyTorch's DDP with one and two processes.
Contenders take turns, in an order that rotates; figures are medians over the rounds. Then the parameters after 20 steps with 1, 2
and 4 ranks, which are the same bits, and those of DDP.

  --only NET        autoencoder or classifier, or with batch and micro-batch: autoencoder,64,16
  --rounds R        default 3
  --seconds S       time for each median (default 1)
  --bucket BYTES    of gradients that travel together (default: the library's)
  --cpu             processor time of one process, with and without micro-batches, where others are at work; nothing else
  --hashes          the parameters alone
  --mpirun COMMAND  of the MPI that pleat was built with (default: mpirun, with what two ranks on one machine need)
  --build DIR       the build folder that has bench_ranks (default: build)

Needs python3. Without mpirun or PyTorch their columns are left out.
END
}

here=$(cd "$(dirname "$0")" && pwd) || exit 1
root=$(cd "$here/../.." && pwd) || exit 1
build=$root/build mpirun= options=
while [ $# -gt 0 ]; do
    case $1 in
        --help) usage && exit 0 ;;
        --cpu | --hashes) options="$options $1" && shift && continue ;;
        --only | --rounds | --seconds | --bucket | --mpirun | --build) ;;
        *) usage >&2 && exit 2 ;;
    esac
    [ $# -ge 2 ] || { usage >&2 && exit 2; }
    case $1 in
        --mpirun) mpirun=$2 ;;
        --build) build=$2 ;;
        *) options="$options $1 $2" ;;
    esac
    shift 2
done
ours=$build/tests/bench/bench_ranks
say() { printf '# %s\n' "$*"; }
has() { command -v "$1" >/dev/null 2>&1; }

[ -x "$ours" ] || {
    echo "mpi.sh: no bench_ranks: meson compile -C $build (with Criterion: apt-get install libcriterion-dev)" >&2
    exit 1
}

# OpenMPI would bind each rank to a core, and refuses more ranks than cores, and the superuser of a container. Ranks that wait give
# way, so that four of them can be compared on two cores.
find_mpirun() {
    [ -z "$mpirun" ] || return
    has mpirun || { say "mpirun is missing: apt-get install libopenmpi-dev" && return; }
    mpirun=mpirun
    case $(mpirun --version) in
        *"Open MPI"*)
            mpirun="mpirun --bind-to none --oversubscribe --mca mpi_yield_when_idle 1"
            [ "$(id -u)" != 0 ] || mpirun="$mpirun --allow-run-as-root --mca btl_vader_single_copy_mechanism none"
            ;;
    esac
}

# Memory that is kept, as in peers.sh.
find_ddp() {
    ddp=
    for python in python3 /usr/bin/python3; do
        "$python" -c 'import torch.distributed' 2>/dev/null || continue
        ddp="env MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=67108864 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1"
        ddp="$ddp $python '$here/peers/torch_ddp.py'"
        return
    done
    say "PyTorch is missing: apt-get install python3-torch"
}

find_mpirun
find_ddp
python3 "$here/peers/machine.py"
say "pleat: $(git -C "$root" describe --always --dirty 2>/dev/null || echo 'unknown version')"
say "ranks: ${mpirun:-none}"
# shellcheck disable=SC2086 # a list of options
exec python3 "$here/peers/ranks.py" --ours "$ours" --mpirun "$mpirun" --ddp "$ddp" $options
