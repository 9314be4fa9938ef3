#!/bin/sh
# Build the fuzz targets with clang and libFuzzer, and run them, some at a time.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
. "$root/tests/setup.sh"
cd "$root" || exit 1

usage() {
    cat <<END
usage: sh tests/fuzz/run.sh [--seconds N] [--jobs N] [--build DIR] [TARGET...]

Build the fuzz targets with clang, libFuzzer and the sanitizers, and run each for N seconds (default 60), from
tests/fuzz/corpus/TARGET and what earlier runs have found. Prints the executions of each target, and every finding with the
command that reproduces it. Exit status 1 if there was a finding.

TARGET       $(targets | tr '\n' ' ')(default: all)
--seconds N  time for each target; 0 runs the corpus alone
--jobs N     so many targets at a time (default 2)
--build DIR  build folder, default build-fuzz/; what was found stays in DIR/grown and DIR/findings
An input hangs if it takes 5 s, and takes too much memory with 1 GB, or 300 MB at once.
END
}

targets() { ls tests/fuzz | sed -n 's/^fuzz_\(.*\)\.c$/\1/p'; }

wrong() {
    say "run.sh: $*" >&2
    exit 2
}

seconds=60
jobs=2
build=build-fuzz
chosen=
while [ $# -gt 0 ]; do
    case $1 in
        --help) usage && exit 0 ;;
        --seconds=* | --jobs=* | --build=*) option=${1%%=*} value=${1#*=} ;;
        --seconds | --jobs | --build)
            [ $# -gt 1 ] || wrong "$1 stands alone; it takes an argument"
            option=$1 value=$2
            shift
            ;;
        -*) wrong "unknown option '$1'; 'sh tests/fuzz/run.sh --help' lists what there is" ;;
        *)
            targets | grep -qx -- "$1" || wrong "there is no target '$1'; there are:" $(targets)
            chosen="$chosen $1"
            option=
            ;;
    esac
    case $option in
        --seconds)
            case $value in
                '' | *[!0-9]*) wrong "--seconds $value: it must be a whole number" ;;
            esac
            seconds=$value
            ;;
        --jobs)
            case $value in
                '' | 0 | *[!0-9]*) wrong "--jobs $value: it must be a whole number above 0" ;;
            esac
            jobs=$value
            ;;
        --build) build=$value ;;
    esac
    shift
done
: "${chosen:=$(targets)}"

# ---- building ----

needs_to_build
needs_to_test
needs_to_fuzz
require_packages
likes_to_build
want_packages "$build"
export CC=clang
configure "$build" -Dfuzz=true -Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false || exit 1
known=$(ninja -C "$build" -t targets all | sed -n 's|^tests/fuzz/fuzz_\([a-z]*\):.*|\1|p')
programs=
ready=
for target in $chosen; do
    if ! printf '%s\n' $known | grep -qx "$target"; then
        say "$target is left out: a library that it needs is not here"
        continue
    fi
    ready="$ready $target"
    programs="$programs tests/fuzz/fuzz_$target"
done
[ -n "$ready" ] || wrong "no target can be built"
say "compiling in $build/"
quietly ninja -C "$build" $programs || exit 1

# ---- running ----

export ASAN_OPTIONS="detect_leaks=1:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:${UBSAN_OPTIONS:-}"
logs=$build/fuzz-logs
findings=$build/findings
mkdir -p "$logs" "$findings"

# fuzz TARGET: run it, and leave its exit status in a file.
fuzz() {
    grown=$build/grown/$1
    dictionary=tests/fuzz/dictionaries/$1.dict
    mkdir -p "$grown"
    if [ "$seconds" = 0 ]; then set -- "$1" -runs=0; else set -- "$1" -max_total_time="$seconds"; fi
    [ -f "$dictionary" ] && set -- "$@" -dict="$dictionary"
    target=$1
    shift
    "$build/tests/fuzz/fuzz_$target" "$@" -timeout=5 -rss_limit_mb=1024 -malloc_limit_mb=300 -max_len=4096 \
        -print_final_stats=1 -artifact_prefix="$findings/$target-" "$grown" "tests/fuzz/corpus/$target" \
        >"$logs/$target" 2>&1
    echo $? >"$logs/$target.status"
}

# report TARGET: its line, and its finding. 1 if there is one.
report() {
    log=$logs/$1
    status=$(cat "$log.status" 2>/dev/null || echo 1)
    count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
    printf '%-12s %10s executions%s\n' "$1" "${count:-0}" "$([ "$status" = 0 ] || [ "$status" = 72 ] || echo ', a finding')"
    [ "$status" = 0 ] && return
    if [ "$status" = 72 ]; then
        say "    it was interrupted by a signal: run it again"
        return 1
    fi
    grep -aE 'broken promise:|ERROR: |runtime error:|SUMMARY: ' "$log" | cut -c1-400 | sed 's/^/    /'
    input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    say "    all it said: $log"
    say "    reproduce: $build/tests/fuzz/fuzz_$1 ${input:-tests/fuzz/corpus/$1/*}"
    say "    once it is right, keep the input as tests/fuzz/corpus/$1/NAME"
    return 1
}

trap 'kill $(jobs -p) 2>/dev/null; exit 1' INT TERM
set -- $ready
bad=0
while [ $# -gt 0 ]; do
    some=
    for i in $(seq "$jobs"); do
        [ $# -gt 0 ] || break
        some="$some $1"
        rm -f "$logs/$1.status"
        fuzz "$1" &
        shift
    done
    wait
    for target in $some; do report "$target" || bad=1; done
done
exit $bad
