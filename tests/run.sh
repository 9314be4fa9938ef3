#!/bin/sh
# Build pleat and run all its tests.
#     sh tests/run.sh [--sanitize] [--werror] [--build=DIR] [-Doption=value ...] [options of meson test]
# --sanitize   with AddressSanitizer, LeakSanitizer and UBSan, in build-asan/
# --werror     warnings of the compiler are errors
# --build=DIR  in another build folder than build/
# -D...        options for meson setup
# Names of tests run these alone: sh tests/run.sh report setup
set -u
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
. "$root/tests/setup.sh"
cd "$root" || exit 1

build=
sanitize=
options=
for arg in "$@"; do
    shift
    case $arg in
        --help | -h)
            sed -n '/^[^#]/q; s/^# \{0,1\}//; 2,$p' "$root/tests/run.sh"
            exit
            ;;
        --sanitize) sanitize=yes ;;
        --werror) options="$options -Dwerror=true" ;;
        --build=*) build=${arg#--build=} ;;
        -D*) options="$options $arg" ;;
        *) set -- "$@" "$arg" ;;
    esac
done
if [ -n "$sanitize" ]; then
    # with -O2 and -g, gcc takes four minutes for one instrumented file: a tenth of it so, and traces have their lines still;
    # clang's sanitizers are linked into the program only, so its shared libraries have open symbols
    options="$options -Doptimization=1 -Ddebug=true -Dc_args=-g1 -Db_sanitize=address,undefined -Db_lundef=false"
    export ASAN_OPTIONS="detect_leaks=1:${ASAN_OPTIONS:-}"
    export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:${UBSAN_OPTIONS:-}"
    export PLEAT_TEST_EVERY="${PLEAT_TEST_EVERY:-8}"
    set -- --timeout-multiplier 5 --no-suite once --no-suite numbers "$@"
fi
: "${build:=build${sanitize:+-asan}}"

needs_to_build $options
needs_to_test
require_packages
likes_to_build
want_packages "$build"
configure "$build" $options && compile "$build" || exit 1

log=$build/meson-logs/testlog.txt
rm -f "$log"
meson test -C "$build" --no-rebuild --print-errorlogs "$@"
status=$?
[ -f "$log" ] || : >"$log"
awk -v status=$status -f tests/totals.awk "$log"
