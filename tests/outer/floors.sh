#!/bin/sh
# The floors of the house: includes point downwards only, each outside library has one place where it is used, and the
# library neither prints, ends the program, depends on the locale, nor has globals that change.
. "$(dirname "$0")/common.sh"

cd "$root" || exit 1
wrong=0
complain() {
    echo "$*"
    wrong=1
}

# The floor of a file. The public headers of ops/ are floors of their own: ops/frameworks/, nn/ and
# examples/ see these alone.
floor() {
    case $1 in
        *pleat_config.h) echo 0 ;;
        ops/kernels/*) echo 1 ;;
        ops/pleat.h | ops/core/*) echo 2 ;;
        ops/frameworks/*) echo 4 ;;
        ops/*) echo 3 ;;
        nn/*) echo 5 ;;
        *) echo 6 ;;
    esac
}

# The file that `#include "$2"` in the file $1 means.
find_include() {
    for dir in "$(dirname "$1")" ops ops/kernels ops/frameworks nn; do
        [ -f "$dir/$2" ] && realpath --relative-to=. "$dir/$2" && return
    done
    echo "$2"
}

for file in $(project_files | grep -E '^(ops|nn|examples)/.*\.(c|h|inc)$'); do
    for name in $(sed -n 's/^ *# *include *"\(.*\)".*/\1/p' "$file"); do
        target=$(find_include "$file" "$name")
        case $target in
            ops/pleat.h | ops/kernels/pleat_kernels.h | ops/kernels/pleat_isa.inc | ops/frameworks/pleat_frameworks.h | nn/pleat_nn*.h) public=yes ;;
            *) public= ;;
        esac
        if [ "$(floor "$target")" -gt "$(floor "$file")" ]; then
            complain "$file includes $name, which is on a higher floor"
        fi
        case $file:$target in
            ops/frameworks/*:ops/frameworks/*) ;;
            ops/frameworks/*:ops/* | nn/*:ops/* | examples/*:ops/* | examples/*:nn/*)
                [ $public ] || complain "$file includes $name, which is not public"
                ;;
        esac
    done
done

# only FILE may hold what matches PATTERN
only() {
    found=$(grep -rlE --include='*.[ch]' --include='*.inc' "$2" ops nn examples | grep -vxE "$1")
    [ -z "$found" ] || complain "$(echo $found): only $1 may have: $2"
}
only ops/kernels/gemm/blas.c '^ *# *include *[<"]cblas\.h'
only 'ops/kernels/parallel.c|nn/data/loader.c' 'pthread_create'
only 'ops/kernels/parallel.c|nn/data/loader.c|nn/train/signals.c' '^ *# *include *[<"](pthread|threads|omp)\.h|^ *# *pragma +omp'

# What follows the locale: printf, scanf and strtod with a floating number, which two files keep from doing it, kinds of characters,
# order. (A % before a blank is the operator, and %3E is a character of a URL.)
only 'nn/files/numbers\.[ch]|ops/core/error\.c|examples/.*' \
    '%[-+#0-9.*]*[lL]?[aefgAFG]|%([-+#*.][-+#0-9.*]*)?E|\<(strto(f|d|ld)|atof|is(alpha|alnum|space|print|upper|lower)|to(upper|lower)|strcoll|strn?casecmp)\>'
# The programs never ask for another locale than the one they begin with, "C".
only 'nothing' '\<setlocale\>'

# The library as it was compiled. Sanitizers and coverage add symbols of their own, so this is left out with them.
library=${2:-}
if [ -n "$library" ]; then
    names=$(nm -g --defined-only "$library" | awk 'NF == 3 && $3 !~ /^(pleat_|pl_|pln_)/ { print $3 }')
    [ -z "$names" ] || complain "global names without the prefix pleat_, pl_ or pln_: $names"

    # .data.rel.ro is constant once the program is loaded: tables of pointers
    names=$(nm -f sysv --defined-only "$library" |
        awk -F'|' '$7 ~ /^\.t?(data|bss)|COM/ && $7 !~ /^\.data\.rel\.ro/ { print $1 }')
    # of signals: what a handler reaches is global, and so are the actions that runs share
    names=$(echo "$names" | sed 's/^shared *$//' | grep .)
    [ -z "$names" ] || complain "globals that change: $names"

    names=$(nm -u "$library" | awk '{ print $NF }' | sort -u |
        grep -xE '_*(v?printf|puts|putchar|perror|abort|exit|_exit|quick_exit)(_chk)?|stdout|stderr')
    [ -z "$names" ] || complain "the library must not print or end the program, but uses: $names"
fi
[ $wrong = 0 ] || fail "see above"
