#!/bin/sh
# Ours beside PyTorch, oneDNN and ONNX Runtime, in turn, in one run. README.md says what the columns are.
set -u

usage() {
    cat <<'END'
usage: sh tests/bench/peers.sh [--threads N] [--seed N [--count K]] [--shapes FILE] [--only NAME] [--rounds R] [--seconds S] [--build DIR]
       sh tests/bench/peers.sh --train [--threads N] [--only NET] [--rounds R] [--seconds S] [--build DIR]
       sh tests/bench/peers.sh --nets [--quick] [--cpu] [--threads N] [--only NET] [--rounds R] [--seconds S] [--build DIR] [--csv FILE]

Times convolutions and their transposes (forward, and forward with both gradients), or with --train the training step and
inference of two small networks at several batch sizes. Contenders take turns at each shape, in an order that rotates; figures
are medians over the rounds. A list of shapes that is always the same comes first, then one that is drawn at random from the layers of
real networks. Some minutes a round and list.

With --nets twelve whole networks, after a check that PyTorch's twins have the same parameters, loss and gradient: training step,
inference, memory, and the bound of a step. A whole run takes at most 45 minutes: where time runs short, with fewer rounds.

  --threads N     for everybody (default 1; with --train and --nets 1, then 2)
  --seed N        of the random list (default: the day's date as a number; it is printed); the list is kept as peers/seed-N.csv in
                  the build folder. Change kernels on one seed, and judge the change on another that you have not looked at
  --count K       shapes in the random list (default 40; 0: none)
  --shapes FILE   CSV, as bench_conv reads it, in place of both lists
  --only NAME     that shape of shapes.csv or FILE alone; with --train or --nets a network, or one and a batch: cnn,64
  --rounds R      default 3
  --seconds S     time for each median (default 0.25)
  --build DIR     the build folder that has bench_conv, bench_train and bench_nets (default: build)
  --quick         batch 16 alone, one short round: some minutes
  --cpu           processor time in place of wall time, for --nets --threads 1 where others are at work
  --csv FILE      where --nets writes all figures (default: peers/nets.csv in the build folder)

Needs python3. Peers that are missing are named, with the command that would install them, and left out.
END
}

here=$(cd "$(dirname "$0")" && pwd) || exit 1
root=$(cd "$here/../.." && pwd) || exit 1
train= nets= quick= cpu= csv= threads= only= shapes= seed=$(date +%Y%m%d) count=40 rounds=3 seconds=0.25 build=$root/build
while [ $# -gt 0 ]; do
    case $1 in
        --help) usage && exit 0 ;;
        --train) train=yes && shift && continue ;;
        --nets) nets=yes && shift && continue ;;
        --quick) quick=--quick && shift && continue ;;
        --cpu) cpu=--cpu && shift && continue ;;
        --threads | --seed | --count | --shapes | --only | --rounds | --seconds | --build | --csv) ;;
        *) usage >&2 && exit 2 ;;
    esac
    [ $# -ge 2 ] || { usage >&2 && exit 2; }
    case $1 in
        --threads) threads=$2 ;;
        --seed) seed=$2 ;;
        --count) count=$2 ;;
        --shapes) shapes=$2 ;;
        --only) only=$2 ;;
        --rounds) rounds=$2 ;;
        --seconds) seconds=$2 ;;
        --build) build=$2 ;;
        --csv) csv=$2 ;;
    esac
    shift 2
done
build=$(cd "$build" 2>/dev/null && pwd) || {
    echo "peers.sh: no build folder there: meson setup build && meson compile -C build, or --build DIR" >&2
    exit 1
}
[ -z "$quick" ] || rounds=1 seconds=0.1
peers=$build/peers
mkdir -p "$peers" || exit 1

say() { printf '# %s\n' "$*"; }
missing() { say "$1 is missing: $2"; }
has() { command -v "$1" >/dev/null 2>&1; }

# ---- what is measured ----

describe_run() {
    python3 "$here/peers/machine.py"
    say "pleat: $(git -C "$root" describe --always --dirty 2>/dev/null || echo 'unknown version')"
    say "each peer is stopped while it is not its turn; order rotates; medians of $rounds rounds, $seconds s each"
}

# ---- who is there ----

# Memory that is given back to the kernel, and cleared by it again, costs a peer more than its arithmetic on small nets.
keep_memory="MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=67108864"
# Threads that wait spin for tens of microseconds and then sleep: as fast as OpenMP's default of milliseconds on a machine of one's
# own, and no disaster where a stranger has the core of the thread that is waited for.
spin="GOMP_SPINCOUNT=10000"

find_python() {
    for python in python3 /usr/bin/python3; do
        "$python" -c 'import torch' 2>/dev/null && return
    done
    python=
    missing PyTorch "apt-get install python3-torch"
}

# Keeps memory, too, and may be faster at it.
find_jemalloc() {
    for jemalloc in /usr/lib/*/libjemalloc.so.2 "$peers"/usr/lib/*/libjemalloc.so.2; do
        [ -e "$jemalloc" ] && return
    done
    jemalloc=
    missing jemalloc "apt-get install libjemalloc2"
}

# PyTorch's threads and those of OpenBLAS get in each other's way, unless both are OpenMP's.
find_openmp() {
    for openmp in /usr/lib/*/openblas-openmp "$peers"/usr/lib/*/openblas-openmp; do
        [ -e "$openmp/libblas.so.3" ] && return
    done
    openmp=
    missing "OpenBLAS for OpenMP (PyTorch's threads)" \
        "(cd $peers && apt-get download libopenblas0-openmp && dpkg -x libopenblas0-openmp_*.deb .)"
}

find_onednn() {
    onednn=$peers/onednn
    [ "$onednn" -nt "$here/peers/onednn.cpp" ] && return
    if echo '#include <dnnl.hpp>' | ${CXX:-c++} -x c++ -E - >/dev/null 2>&1; then
        ${CXX:-c++} -std=c++17 -O2 "$here/peers/onednn.cpp" -o "$onednn" -ldnnl && return
        say "oneDNN is left out: its program does not compile (it is written for oneDNN 2)"
    else
        missing oneDNN "apt-get install g++ libdnnl-dev"
    fi
    onednn=
}

find_ort() {
    for ort in "${ORT:-}" "$peers"; do
        [ -n "$ort" ] && has node && [ -d "$ort/node_modules/onnxruntime-node" ] && return
    done
    ort=
    missing "ONNX Runtime" "npm install --ignore-scripts --no-audit --prefix $peers onnxruntime-node@1.30.0 (needs Node 20)"
}

# ---- runs ----

# torch_settings THREADS: the environment that PyTorch runs best in
torch_settings() {
    echo "$keep_memory $spin OMP_NUM_THREADS=$1 OPENBLAS_NUM_THREADS=$1${openmp:+ LD_LIBRARY_PATH='$openmp'}"
}

# run_convolutions FILE
run_convolutions() {
    shapes=$1
    set -- # becomes the list of peers
    if [ -n "$python" ]; then
        torch="env $(torch_settings "$threads") '$python' '$here/peers/torch_conv.py' $threads"
        set -- "$@" --peer "torch=$torch" --peer "torch_cl=$torch --channels-last"
        say "torch: $(torch_settings "$threads"); torch_cl: the same with channels last"
    fi
    if [ -n "$onednn" ]; then
        set -- "$@" --peer "onednn=env $spin OMP_NUM_THREADS=$threads '$onednn'" \
            --peer "onednn_nchw=env $spin OMP_NUM_THREADS=$threads '$onednn' --nchw"
        say "onednn: its own blocked layouts, reorders not counted; onednn_nchw: NCHW in and out; direct algorithm; $spin"
    fi
    if [ -n "$ort" ]; then
        set -- "$@" --peer "ort=env $keep_memory node '$here/peers/onnxruntime.mjs' '$ort' $threads"
        say "ort: memory kept, all graph optimizations, constant weights, the cost of an empty call subtracted; forward only"
    fi
    python3 "$here/peers/conv.py" --ours "$build/tests/bench/bench_conv" --shapes "$shapes" ${only:+--only "$only"} \
        --threads "$threads" --rounds "$rounds" --seconds "$seconds" "$@"
}

# run_training THREADS
run_training() {
    program="'$python' '$here/peers/torch_train.py' $1"
    say "torch: as found, set_num_threads($1); torch_best: the fastest way to write the step, $(torch_settings "$1")"
    python3 "$here/peers/train.py" --ours "$build/tests/bench/bench_train" ${only:+--only "$only"} \
        --threads "$1" --rounds "$rounds" --seconds "$seconds" \
        --peer "torch=$program" --peer "torch_best=env $(torch_settings "$1") $program --best"
}

# The twins first, then turns: as found, with memory kept, and with jemalloc.
run_nets() {
    program="'$python' '$here/peers/torch_nets.py'" ours=$build/tests/bench/bench_nets
    exchange=$(mktemp -d) || exit 1
    trap 'rm -rf "$exchange"' EXIT
    "$ours" --check && "$ours" --write "$exchange" && "$python" "$here/peers/torch_nets.py" --check "$exchange" || {
        echo "peers.sh: ours and PyTorch's are not the same networks" >&2
        exit 1
    }
    rm -rf "$exchange"
    set -- # becomes the list of peers
    for n in $(echo "${threads:-1,2}" | tr , ' '); do
        # a BLAS with threads of its own would take a second core where PyTorch is told to use one
        set -- "$@" --peer "torch:$n=env OPENBLAS_NUM_THREADS=$n $program" --peer "torch_kept:$n=env $(torch_settings "$n") $program"
        [ -z "$jemalloc" ] || set -- "$@" --peer "torch_jemalloc:$n=env LD_PRELOAD=$jemalloc $(torch_settings "$n") $program"
    done
    say "torch: as found, set_num_threads, OPENBLAS_NUM_THREADS=N; torch_kept: $(torch_settings N)${jemalloc:+; torch_jemalloc: the same with $jemalloc}"
    python3 "$here/peers/nets.py" --ours "$ours" ${only:+--only "$only"} --threads "${threads:-1,2}" --rounds "$rounds" \
        --seconds "$seconds" --csv "${csv:-$peers/nets.csv}" $quick $cpu "$@"
}

has python3 || { echo "peers.sh: needs python3" >&2 && exit 1; }
for program in bench_conv bench_train bench_nets; do
    [ -x "$build/tests/bench/$program" ] && continue
    echo "peers.sh: no $program: meson compile -C $build (with Criterion: apt-get install libcriterion-dev)" >&2
    exit 1
done
describe_run
find_python
[ -z "$python" ] || find_openmp
if [ -n "$nets" ]; then
    [ -n "$python" ] || exit 1
    find_jemalloc
    run_nets
elif [ -n "$train" ]; then
    [ -n "$python" ] || exit 1
    for n in ${threads:-1 2}; do run_training "$n" || exit; done
else
    : "${threads:=1}"
    find_onednn
    find_ort
    if [ -n "$shapes" ]; then
        run_convolutions "$shapes"
        exit
    fi
    say "shapes.csv"
    run_convolutions "$here/shapes.csv" || exit
    [ "$count" != 0 ] && [ -z "$only" ] || exit 0
    python3 "$here/peers/draw.py" "$seed" "$count" >"$peers/seed-$seed.csv" || exit
    echo
    say "$count shapes drawn at random, seed $seed: $peers/seed-$seed.csv"
    run_convolutions "$peers/seed-$seed.csv"
fi
