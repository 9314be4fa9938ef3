#!/bin/sh
# pleat as a subproject of another meson project: dependency('pleat') is all that it takes; and as
# distributions build it.
. "$(dirname "$0")/common.sh"

mkdir -p "$tmp/subprojects/pleat"
project_files | tar -C "$root" -cf - -T - | tar -C "$tmp/subprojects/pleat" -xf - || fail "copying the project"
cp "$root/tests/outer/sample.c" "$tmp"
cat >"$tmp/meson.build" <<'END'
project('guest', 'c')
executable('sample', 'sample.c', dependencies: dependency('pleat'))
END

# expect_engines DIR HOW: the optimization that the engines' commands end with, and whether their loops are rolled
expect_engines() {
    how=$(awk '/"command".*kernels\/.*(direct|implicit_gemm|simd_gemm)\.c/ {
        for (i = 1; i <= NF; i++) if ($i ~ /^-O/) level = $i
        print level (/PL_ROLLED/ ? " rolled" : "") }' "$tmp/$1/compile_commands.json" | sort -u)
    [ "$how" = "$2" ] || fail "$1: the engines are compiled with: $how; expected: $2"
}

# as Debian and Fedora do it: no level is asked for, and the flags are the packager's
must env CFLAGS="-O2 -g" meson setup "$tmp/packaged" "$tmp" --wrap-mode=forcefallback --buildtype=plain
expect_engines packaged -O3

must meson setup "$tmp/build" "$tmp" --wrap-mode=forcefallback -Dpleat:default_library=static -Doptimization=0
expect_engines build "-O2 rolled"
must meson compile -C "$tmp/build"
must "$tmp/build/sample"
