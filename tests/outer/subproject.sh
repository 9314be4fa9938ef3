#!/bin/sh
# pleat as a subproject of another meson project: dependency('pleat') is all that it takes.
. "$(dirname "$0")/common.sh"

mkdir -p "$tmp/subprojects/pleat"
project_files | tar -C "$root" -cf - -T - | tar -C "$tmp/subprojects/pleat" -xf - || fail "copying the project"
cp "$root/tests/outer/sample.c" "$tmp"
cat >"$tmp/meson.build" <<'END'
project('guest', 'c')
executable('sample', 'sample.c', dependencies: dependency('pleat'))
END
must meson setup "$tmp/build" "$tmp" --wrap-mode=forcefallback -Dpleat:default_library=static -Doptimization=0
must meson compile -C "$tmp/build"
must "$tmp/build/sample"
