#!/bin/sh
# Layout: what .editorconfig asks of every text file, and .clang-format of the C files.
. "$(dirname "$0")/common.sh"

cd "$root" || exit 1
wrong=0
for file in $(project_files | grep -v '^tests/fuzz/corpus/'); do # any bytes, some of them text
    [ ! -s "$file" ] || grep -Iq . "$file" || continue # not text
    if grep -nE "$(printf '\t')|[[:space:]]$" "$file" /dev/null; then
        echo "$file: tabs, or white space at the end of a line"
        wrong=1
    fi
    if [ -n "$(tail -c 1 "$file")" ]; then
        echo "$file: no newline at the end"
        wrong=1
    fi
done
[ $wrong = 0 ] || fail "the layout is not what .editorconfig asks for"

# other versions lay out a few things differently
for name in clang-format-14 clang-format; do
    case $($name --version 2>/dev/null) in
        *"version 14."*)
            output=$($name --dry-run -Werror $(project_files | grep -E '\.(c|h|inc)$') 2>&1) && exit 0
            printf '%s\n' "$output" | grep 'error:'
            fail "$name -i would lay these lines out differently"
            ;;
    esac
done
echo "no clang-format 14 here"
exit 77
