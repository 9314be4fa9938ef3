#!/bin/sh
# The tests on another processor: build-NAME/ is made with Debian's cross compiler, without BLAS and optional libraries, so that no
# library of the other machine is needed but C's, and its programs run under qemu, on this machine (i386), or under node (wasm).
#     sh tests/cross.sh aarch64|armhf|i386|riscv64|s390x|wasm [--quick] [options of meson test]
# --quick: a few programs, a case of eight
# tests/cross/NAME.txt is the cross file; a build of one's own: meson setup build --cross-file tests/cross/NAME.txt
set -u
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
. "$root/tests/setup.sh"
cd "$root" || exit 1

name=${1:-}
case $name in
    aarch64 | armhf | i386 | riscv64 | s390x | wasm) shift ;;
    *)
        sed -n '/^[^#]/q; s/^# \{0,1\}//; 2,$p' "$root/tests/cross.sh" >&2
        exit 2
        ;;
esac
build=build-$name
targets=
if [ "${1:-}" = --quick ]; then
    shift
    export PLEAT_TEST_EVERY="${PLEAT_TEST_EVERY:-8}"
    programs="laws nn elementwise torch"
    [ "$name" = wasm ] || programs="$programs ops products" # the one needs processes, the other minutes
    for program in $programs; do
        targets="$targets test_$program"
        set -- "$program" "$@"
    done
fi

needs_to_build -Dblas=none
needs_to_cross "$name"
require_packages
export NODE_PATH="${NODE_PATH:-/usr/share/nodejs}" # where Debian has emcc's modules

# Copies: beside them in /usr/include lie this machine's headers of C.
headers=$root/$build/headers
mkdir -p "$headers" && cp -R /usr/include/criterion /usr/include/boxfort.h "$headers" || exit 1
cat >"$headers/criterion.pc" <<END
Name: criterion
Description: headers of Criterion
Version: $(pkg-config --modversion criterion)
Cflags: -I$headers
END
cat >"$headers/cross.txt" <<END
[binaries]
pkgconfig = 'pkg-config'
[properties]
pkg_config_libdir = '$headers'
END

unset CC CFLAGS LDFLAGS # of this machine
configure "$build/build" --cross-file "tests/cross/$name.txt" --cross-file "$headers/cross.txt" -Dboxes=false -Dwerror=true &&
    compile "$build/build" $targets || exit 1
log=$build/build/meson-logs/testlog.txt
rm -f "$log"
meson test -C "$build/build" --no-rebuild --print-errorlogs --suite library --no-suite outer --no-suite once "$@"
status=$?
awk -v status=$status -f tests/totals.awk "$log"
