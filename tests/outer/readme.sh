#!/bin/sh
# Every C program in README.md compiles, runs, and prints something; the two commands are named.
. "$(dirname "$0")/common.sh"

[ -f "$root/README.md" ] || fail "there is no README.md"
for command in 'sh examples/run.sh' 'sh tests/run.sh'; do
    grep -qF "$command" "$root/README.md" || fail "README.md does not name the command: $command"
done

# blocks that hold a main, as 1.c, 2.c, ...
awk -v dir="$tmp" '
    /^```c$/ { inside = 1; text = ""; next }
    /^```$/ && inside {
        inside = 0
        if (text ~ /main\(/) printf "%s", text >(dir "/" ++n ".c")
    }
    inside { text = text $0 "\n" }' "$root/README.md"
[ -f "$tmp/1.c" ] || fail "README.md holds no C program"

PKG_CONFIG_PATH=$build/meson-uninstalled:${PKG_CONFIG_PATH:-}
export PKG_CONFIG_PATH
cd "$tmp" || exit 1
for program in *.c; do
    must $cc -std=c17 -Wall -Wextra "$program" -o program $(pkg-config --cflags --libs pleat) -Wl,-rpath,"$build"
    output=$(./program 2>&1) || fail "README.md's program $program ended with status $?: $output"
    [ -n "$output" ] || fail "README.md's program $program printed nothing"
done
