#!/bin/sh
# Sanitizers and analysers, each with no finding but those that tests/analyse/accepted.txt gives a reason for.
#     sh tests/analyse.sh [--help] TOOL...
# sanitize   AddressSanitizer, LeakSanitizer and UBSan: the same as  sh tests/run.sh --sanitize
# threads    ThreadSanitizer: all tests that make threads, on every path of convolution
# memcheck   valgrind: all tests but those that would take it more than a minute
# analyzer   gcc -fanalyzer: the library and the programs
# tidy       clang-tidy with the checks of .clang-tidy: the library and the programs
# cppcheck   the library and the programs
# all        each of them
# Each prints its findings and one closing line, and ends with 1 if there are any.
set -u
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
. "$root/tests/setup.sh"
cd "$root" || exit 1
jobs=$(nproc 2>/dev/null || echo 1)
tools="sanitize threads memcheck analyzer tidy cppcheck"

usage() { sed -n '2,/^set -u/s/^# \{0,1\}//p' "$0"; }

# close NAME STATUS TEXT: the closing line
close() {
    if [ "$2" = 0 ]; then say "$1: fine, $3"; else say "$1: FAILED, $3"; fi
    return "$2"
}

sources() { find ops nn examples -name '*.c' | sort; }

# ---- programs that are watched ----

# build DIR OPTIONS...: the tests, without Criterion's boxes
build() {
    dir=$1
    shift
    needs_to_test
    require_packages
    configure "$dir" -Dboxes=false -Dexamples=false -Ddebug=true -Dc_args=-g1 "$@" && compile "$dir"
}

# watched PATH PROGRAM [FILTER]: run a test program under $watcher; what it prints goes to $log, and counts there
watched() {
    case $1 in # an engine or an instruction set
        im2col | reference) path="PLEAT_ENGINE=$1" ;;
        *) path="PLEAT_ISA=$1" ;;
    esac
    say "== $path $2 ${3:-}" >>"$log"
    env "$path" $watcher "$dir/tests/test_$2" --filter "${3:-*}" >>"$log" 2>&1 || {
        failed="$failed $2($1)"
        sed -n '/^== PLEAT/h;/^== PLEAT/!H;${g;p;}' "$log" | head -n 60
    }
}

# watched_all NAME LINES: a run for each line "PATH PROGRAM [FILTER]"
watched_all() {
    log=$dir/$1.log failed=
    : >"$log"
    set -f # filters are for the programs
    while read -r path program filter; do
        [ -x "$dir/tests/test_$program" ] && watched "$path" "$program" "$filter" # some need an optional library
    done <<END
$2
END
    set +f
    tests=$(awk -F'[:|]' '/Synthesis: / { n += $3 } END { print n + 0 }' "$log")
    [ -z "$failed" ] && [ "$tests" -gt 0 ]
    close "$1" $? "$tests tests${failed:+; see $log for$failed}"
}

# OpenBLAS knows nothing of ThreadSanitizer. On one thread it has none that could be misjudged, so nothing is suppressed.
threads() {
    build build-tsan -Doptimization=1 -Db_sanitize=thread -Db_lundef=false || return 1
    watcher="env OPENBLAS_NUM_THREADS=1 PLEAT_TEST_EVERY=20 TSAN_OPTIONS=halt_on_error=1:${TSAN_OPTIONS:-}"
    watched_all threads "auto loader
auto fit
auto training
auto checkpoint
auto memory
auto determinism
auto ops threads/*
auto ops sums/*
auto laws fused/*
auto kernels kernels/threads_do_not_show
avx2 kernels kernels/threads_do_not_show
baseline kernels kernels/threads_do_not_show
im2col kernels kernels/threads_do_not_show"
}

# valgrind has no AVX-512 and says so to whoever asks the processor, so the default path is AVX2 here. Left out: `errors`, which runs
# each scenario once for every allocation, `training`, the rest of `ops` (some hundred thousand draws, products of large
# matrices) and of `kernels` (large shapes): minutes each; the sanitizers run them. Blocks that are possibly lost are those of processes
# that a signal ends.
memcheck() {
    needs valgrind has valgrind
    build build-memcheck -Doptimization=2 || return 1
    watcher="env OPENBLAS_NUM_THREADS=1 PLEAT_TEST_EVERY=40 PLEAT_TEST_UNWRITTEN=1 valgrind -q --error-exitcode=99 --leak-check=full
        --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect"
    lines=
    for program in article checkpoint data elementwise files fit frameworks grads interop layers laws loader memory nn \
        npy npz optim png report spatial torch; do lines="${lines}auto $program
"; done
    for suite in elementwise isa shapes sums; do lines="${lines}auto ops $suite/*
"; done
    for path in avx2 baseline im2col; do
        for name in reference what_follows_the_sum unfold_and_fold one_form; do lines="$lines$path kernels kernels/$name
"; done
    done
    # its own engines: memory that nobody has written is left as it came
    watched_all memcheck "${lines}auto decisions decisions/every_pair
"
}

# ---- sources that are read ----

# judge NAME LOG: print what LOG found and the list does not accept
judge() {
    awk -v tool="$1" -v root="$root/" -f tests/analyse/findings.awk tests/analyse/accepted.txt "$2"
    status=$?
    close "$1" $status "$(sources | wc -l) files; the log is $2"
}

analyzer() {
    needs "gcc libc6-dev" has gcc
    needs_to_build
    require_packages
    rm -rf build-analyzer # a file that is not compiled anew says nothing
    (CC=gcc && export CC && configure build-analyzer -Dtests=disabled -Doptimization=1 -Ddefault_library=static \
        -Dc_args=-fanalyzer) || return 1
    ninja -C build-analyzer >build-analyzer/analyzer.log 2>&1 || {
        cat build-analyzer/analyzer.log
        close analyzer 1 "the build failed"
        return
    }
    judge analyzer build-analyzer/analyzer.log
}

# One file to a process: with several, version 14 takes every va_list for uninitialized.
tidy() {
    needs clang-tidy has clang-tidy
    needs clang has clang
    needs_to_build
    require_packages
    (CC=clang && export CC && configure build-tidy -Dtests=disabled) || return 1
    sources | xargs -P "$jobs" -n 1 clang-tidy -quiet -p build-tidy >build-tidy/tidy.log 2>build-tidy/errors.log
    [ -s build-tidy/tidy.log ] || cat build-tidy/errors.log
    judge tidy build-tidy/tidy.log
}

# invalidPointerCast: a tensor's data is char *, aligned for its numbers. shadowFunction: -Wshadow is the compilers' part.
cppcheck_all() {
    needs cppcheck has cppcheck
    require_packages
    (CC=clang && export CC && configure build-tidy -Dtests=disabled) || return 1
    # with several jobs it would not look across files
    cppcheck -q --std=c11 --enable=warning,performance,portability --suppress=invalidPointerCast --inline-suppr \
        --template='{file}:{line}:{column}: warning: {message} [{id}]' -DPL_AVX2 -DPL_AVX512 -Iops -Iops/kernels -Iops/frameworks -Iops/autograd -Inn \
        -Ibuild-tidy ops nn examples >build-tidy/cppcheck.log 2>&1
    judge cppcheck build-tidy/cppcheck.log
}

run_tool() {
    case $1 in
        sanitize)
            sh tests/run.sh --sanitize
            close sanitize $? "see the line above"
            ;;
        cppcheck) cppcheck_all ;;
        *) "$1" ;;
    esac
}

[ $# -gt 0 ] || set -- --help
[ "$1" = all ] && [ $# = 1 ] && set -- $tools
for tool; do
    case " $tools --help " in
        *" $tool "*) ;;
        *)
            say "unknown tool '$tool'; it must be one of: $tools, or all alone" >&2
            exit 2
            ;;
    esac
done
status=0
for tool; do
    if [ "$tool" = --help ]; then usage; else run_tool "$tool" || status=1; fi
done
exit $status
