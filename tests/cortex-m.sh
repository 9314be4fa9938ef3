#!/bin/sh
# Networks as C files on Cortex-M processors: exported on this machine, compiled with -Os, and run by qemu on an emulated Cortex-M4
# and M3 with ten inputs each, and here with ten thousand; sizes in bytes as `size` tells them of the network alone.
#     sh tests/cortex-m.sh [--build=DIR] [--install]
# --install: apt-get install the compiler and the emulator (466 MB), which is why it is no part of .ci/run.
set -u
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
build=$root/build
for option; do
    case $option in
        --build=*) build=$(cd "${option#*=}" && pwd) || exit 1 ;;
        --install) apt-get install -y --no-install-recommends gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm || exit 1 ;;
        *) sed -n '/^[^#]/q; s/^# \{0,1\}//; 2,$p' "$0" >&2 && exit 2 ;;
    esac
done
for program in arm-none-eabi-gcc qemu-system-arm; do
    command -v $program >/dev/null || { echo "no $program here: sh tests/cortex-m.sh --install" >&2 && exit 77; }
done
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
failed=0

# fails WORDS: it is said, and remembered
fails() { echo "$1" && failed=1; }

# on_board NET CPU BOARD OPTIONS...
on_board() {
    net=$1 cpu=$2 board=$3
    shift 3
    arm-none-eabi-gcc -std=gnu11 -Os -mthumb -mcpu="$cpu" "$@" -c "$net.c" -o "$net.o" &&
        arm-none-eabi-gcc -std=gnu11 -Os -mthumb -mcpu="$cpu" "$@" --specs=rdimon.specs -nostartfiles -T "$root/tests/cortex-m/board.ld" \
            "$root/tests/cortex-m/start.c" "$net.o" "${net}_test.c" -o "$net.elf" 2>errors || fails "$(cat errors)"
    sizes=$(arm-none-eabi-size "$net.o" | awk 'NR == 2 {printf "text %d, data %d, bss %d", $1, $2, $3}')
    printed=$(timeout 900 qemu-system-arm -M "$board" -nographic -semihosting -kernel "$net.elf" 2>&1) || fails "$net on $cpu: failed"
    echo "$cpu: $sizes; $printed"
}

for net in sine autoencoder classifier; do
    "$build/tests/export_nets" "$net" 10000 "$net.c" && cc -std=c11 -O2 -march=native "$net.c" "${net}_test.c" -o "$net" &&
        echo "here: $(./"$net")" || fails "$net: failed here"
    "$build/tests/export_nets" "$net" 10 "$net.c" || fails "$net: no C file"
    on_board "$net" cortex-m4 mps2-an386 -mfloat-abi=hard -mfpu=fpv4-sp-d16
    on_board "$net" cortex-m3 mps2-an385 -mfloat-abi=soft
done
exit $failed
