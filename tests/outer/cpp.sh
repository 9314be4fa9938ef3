#!/bin/sh
# A program in C++17, C++20 and C++23, by each compiler that is here: all public headers without a warning, and it runs.
# From C++20 on also the program of examples/cpp.md.
. "$(dirname "$0")/common.sh"

for header in "$root"/ops/pleat*.h "$root"/ops/*/pleat*.h "$root"/nn/pleat*.h; do
    grep -qxF "#include <$(basename "$header")>" "$root/tests/outer/cpp.cc" || fail "cpp.cc does not include $(basename "$header")"
done

PKG_CONFIG_PATH=$build/meson-uninstalled:${PKG_CONFIG_PATH:-}
export PKG_CONFIG_PATH
# g++ warns of members that a designated initializer leaves out, which is what they are for
warnings="-Wall -Wextra -Wpedantic -Wno-missing-field-initializers -Werror"
# a C++ program with the option macros of C is told what is wrong
printf '#include <pleat.h>\npleat_tensor *f(pleat_tensor *x, pleat_tensor *w) { return pleat_conv2d(x, w); }\n' >"$tmp/mixed.cc"
awk '/^```$/ { inside = 0 } inside; /^```cpp$/ { inside = 1 }' "$root/examples/cpp.md" >"$tmp/page.cc"
libs="$(pkg-config --cflags --libs pleat) -Wl,-rpath,$build"
tried=
for cxx in g++ clang++; do
    command -v $cxx >/dev/null || continue
    for std in c++17 c++20 c++23; do
        echo 'int main() {}' >"$tmp/empty.cc"
        if ! $cxx -std=$std "$tmp/empty.cc" -o "$tmp/empty" 2>/dev/null; then # C++23's name before it was finished
            [ $std = c++23 ] && std=c++2b
            $cxx -std=$std "$tmp/empty.cc" -o "$tmp/empty" 2>/dev/null || continue
        fi
        must $cxx -std=$std $warnings "$root/tests/outer/cpp.cc" -o "$tmp/cpp" $libs
        must "$tmp/cpp"
        tried="$tried, $cxx $std"
        [ $std = c++17 ] && continue
        must $cxx -std=$std $warnings "$tmp/page.cc" -o "$tmp/page" $libs
        must "$tmp/page"
        [ "$output" ] || fail "the program of examples/cpp.md printed nothing"
        $cxx -std=$std -Werror -fsyntax-only $(pkg-config --cflags pleat) "$tmp/mixed.cc" 2>"$tmp/err" && fail "$cxx -std=$std takes names and none"
        grep -q designated "$tmp/err" || fail "$cxx -std=$std: operands without names: $(cat "$tmp/err")"
    done
done
[ "$tried" ] || {
    echo "no C++ compiler here"
    exit 77
}
echo "tried: ${tried#, }"
