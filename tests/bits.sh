#!/bin/sh
# The same bits from every build: programs/bits.c is built by each compiler and for each processor that this machine has the tools for, in
# build-bits/, and run with each engine, instruction set and number of threads. A line for each has the beginnings of the SHA-256 of
# its files. Fails if one is not that of bits.txt.
#     sh tests/bits.sh [--quick]             --quick: four builds
set -u
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
. "$root/tests/setup.sh"
cd "$root" || exit 1
quick=
case $#:${1:-} in
    0:) ;;
    1:--quick) quick=yes ;;
    *)
        sed -n '/^[^#]/q; s/^# \{0,1\}//; 2,$p' tests/bits.sh >&2
        exit 2
        ;;
esac
needs_to_build -Dblas=none
require_packages

made=$(mktemp -d) || exit 1
trap 'rm -rf "$made"' EXIT
columns=$(awk '{ print $2 }' tests/bits.txt)
rows=0
wrong=0
skipped=

line() { printf '%-44s' "$1" && shift && printf ' %-17s' "$@" && echo; }
skip() { skipped="$skipped
skipped: $1, as there is no $2"; }

# row BUILD ENGINE ISA THREADS: of $run
row() {
    name="$1, $2, $3, $4"
    rm -f "$made"/*
    $run "$made" "$4" "$2" "$3"
    set --
    for column in $columns; do
        hash=$(sha256sum "$made/$column" 2>/dev/null | cut -d' ' -f1)
        mark=
        grep -qx "$hash  $column" tests/bits.txt || mark=! wrong=$((wrong + 1))
        set -- "$@" "$(printf '%.16s' "${hash:-none}")$mark"
    done
    rows=$((rows + 1))
    line "$name" "$@"
}

# prepare BUILD CC OPTIONS...: build bits; $run becomes the command that runs it
prepare() {
    dir=build-bits/$(echo "$1" | tr -d ' ')
    cc=$2
    shift 2
    {
        CC=$cc configure "$dir" -Dexamples=false -Dtests=disabled -Dblas=none -Dzlib=disabled -Dpng=disabled -Dsafetensors=disabled \
            -Dnpz=disabled -Donnx=disabled "$@" && CC=$cc compile "$dir" bits
    } >&2 || exit 1
    run=$dir/bits
    [ -f "$run" ] || run=$run.js
}

every_way() {
    for engine in auto reference implicit_gemm direct; do row "$1" $engine auto 1; done
    for isa in baseline avx2 avx512; do
        if [ $isa = baseline ] || grep -q "^flags.* $isa" /proc/cpuinfo; then
            row "$1" auto $isa 1
        else
            skip "$1, $isa" "such processor"
        fi
    done
    for threads in 2 3 5; do row "$1" auto auto $threads; done
}

both_ways() {
    row "$1" auto auto 3
    row "$1" reference auto 1
}

# native CC LEVEL [FLAGS]
native() {
    name="$1 -O$2${3:+ $3}"
    if has "$1"; then
        prepare "$name" "$1" -Doptimization="$2" ${3:+-Dc_args="$3"}
    else
        skip "$name" "$1"
        return 1
    fi
}

# other MACHINE: by the cross file of cross.sh, which names the compiler and what runs its programs
other() {
    file=tests/cross/$1.txt
    cc=$(sed -n "s/^c = '\(.*\)'.*/\1/p" "$file")
    runner=$(sed -n 's/^exe_wrapper = \([^]#]*\).*/\1/p' "$file" | tr -d "[',")
    for tool in "$cc" ${runner%% *}; do
        has "$tool" || {
            skip "$1" "$tool"
            return
        }
    done
    prepare "$1" "${CC:-cc}" --cross-file "$file"
    run="$runner $run"
    both_ways "$1"
}

export NODE_PATH="${NODE_PATH:-/usr/share/nodejs}" # where Debian has emcc's modules
line 'build, engine, instructions, threads' $columns
native gcc 3 && {
    every_way 'gcc -O3'
    if has qemu-x86_64 && [ -z "$quick" ]; then
        run="qemu-x86_64 -cpu Nehalem $run"
        both_ways 'gcc -O3, no AVX'
    fi
}
native gcc 3 -march=native && both_ways 'gcc -O3 -march=native'
native clang 3 && both_ways 'clang -O3'
other aarch64
[ -n "$quick" ] || {
    native gcc 0 && both_ways 'gcc -O0'
    native gcc 2 && both_ways 'gcc -O2'
    native clang 0 && both_ways 'clang -O0'
    native clang 2 && both_ways 'clang -O2'
    other s390x
    other armhf
    other riscv64
    other i386
    other wasm
}
say "$skipped" | sed 1d
say "$rows runs, $wrong of $((rows * $(wc -l <tests/bits.txt))) files differ; in full:"
cat tests/bits.txt
[ "$wrong" = 0 ] && [ "$rows" -gt 0 ]
