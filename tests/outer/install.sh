#!/bin/sh
# An installed pleat: the files are there, pkg-config alone is enough to use them, shared and static, and every header
# stands on its own, in C and in C++.
. "$(dirname "$0")/common.sh"

must meson install -C "$build" --no-rebuild --destdir "$tmp/dest"
pc=$(find "$tmp/dest" -name pleat.pc)
[ -n "$pc" ] || fail "no pleat.pc was installed"
# the copy lies elsewhere than its prefix says
prefix=$tmp/dest$(sed -n 's/^prefix=//p' "$pc")
sed -i "s|^prefix=.*|prefix=$prefix|" "$pc"
PKG_CONFIG_PATH=$(dirname "$pc"):${PKG_CONFIG_PATH:-}
export PKG_CONFIG_PATH
lib=$(pkg-config --variable=libdir pleat)
[ "$(pkg-config --modversion pleat)" = "$(sed -n 's/^#define PLEAT_VERSION "\(.*\)"/\1/p' "$root/ops/pleat.h")" ] ||
    fail "pleat.pc and PLEAT_VERSION name different versions"

for name in pleat.h pleat_check.h pleat_frameworks.h pleat_kernels.h pleat_nn.h pleat_nn_data.h pleat_nn_models.h pleat_nn_train.h pleat_nn_world.h pleat_op.h; do
    [ -f "$prefix/include/pleat/$name" ] || fail "include/pleat/$name was not installed"
    echo "#include <$name>" >"$tmp/header.c"
    must $cc -std=c17 -Wall -Wextra -Wpedantic -Werror -fsyntax-only $(pkg-config --cflags pleat) "$tmp/header.c"
    if command -v g++ >/dev/null; then
        must g++ -x c++ -Wall -Wextra -Wpedantic -Werror -fsyntax-only $(pkg-config --cflags pleat) "$tmp/header.c"
    fi
done
[ "$(ls "$prefix/include/pleat")" = "pleat.h
pleat_check.h
pleat_frameworks.h
pleat_kernels.h
pleat_nn.h
pleat_nn_data.h
pleat_nn_models.h
pleat_nn_train.h
pleat_nn_world.h
pleat_op.h" ] || fail "more than the public headers was installed: $(ls "$prefix/include/pleat")"

sample="$root/tests/outer/sample.c -std=c17 -Wall -Wextra -Wpedantic -Werror"
if [ -f "$lib/libpleat.so" ]; then
    must $cc $sample -o "$tmp/shared" $(pkg-config --cflags --libs pleat)
    must env LD_LIBRARY_PATH="$lib" "$tmp/shared"
    hidden=$(nm -D --defined-only "$lib/libpleat.so" | awk '$3 !~ /^pleat_/ { print $3 }')
    [ -z "$hidden" ] || fail "the shared library shows more than pleat_ names: $hidden"
    rm "$lib"/libpleat.so* # so that -lpleat is the static one
fi
[ -f "$lib/libpleat.a" ] || fail "no static library was installed"
echo 'int main(void) { return 0; }' >"$tmp/empty.c"
if $cc "$tmp/empty.c" -o "$tmp/empty" $(pkg-config --static --libs openblas) >/dev/null 2>&1; then
    must $cc $sample -o "$tmp/static" $(pkg-config --static --cflags --libs pleat)
    must "$tmp/static"
else
    echo "not tested: static linking, as what openblas.pc asks for is not all here"
fi

# README's three ways to link. A build with only the static library has a pleat.pc that needs no --static
needed=$(pkg-config --print-requires --print-requires-private pleat)
must $cc $sample -o "$tmp/archive" $(pkg-config --cflags pleat) "$lib/libpleat.a" $(pkg-config --libs $needed) -lm -pthread
must "$tmp/archive"
must meson setup "$tmp/static-only" "$root" -Ddefault_library=static -Dtests=disabled -Dexamples=false
sed "s|^prefix=.*|prefix=$prefix|" "$tmp/static-only/meson-private/pleat.pc" >"$pc"
must $cc $sample -o "$tmp/plain" $(pkg-config --cflags --libs pleat)
must "$tmp/plain"
for program in static archive plain; do
    [ ! -f "$tmp/$program" ] || ! ldd "$tmp/$program" | grep libpleat || fail "$program asks for the shared library"
done

# all of it static: only without libcjson and libzip, of which Debian has no archives
full="$(pkg-config --cflags pleat) $lib/libpleat.a $(pkg-config --static --libs $needed) -lm -pthread"
if echo "$needed" | grep -qE 'libcjson|libzip'; then
    echo "not tested: -static, which needs -Dsafetensors=disabled -Dnpz=disabled"
elif $cc -static "$tmp/empty.c" -o "$tmp/empty" $(pkg-config --static --libs $needed) >/dev/null 2>&1; then
    must $cc -static $sample -o "$tmp/full" $full
    must "$tmp/full"
else
    echo "not tested: -static, as not all archives are here"
fi
