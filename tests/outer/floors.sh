#!/bin/sh
# The floors of the house: includes and calls point downwards only, each outside library has one place where it is used, and the
# library neither prints, ends the program, depends on the locale, nor has globals that change.
. "$(dirname "$0")/common.sh"

library=${2:-} # a path from where the test is started
[ -z "$library" ] || library=$(realpath -e "$library") || fail "there is no library $2"
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
        *pleat_config.h | *runtime_text.h) echo 0 ;; # made by the build
        ops/kernels/*) echo 1 ;;
        ops/pleat.h | ops/pleat_op.h | ops/core/*) echo 2 ;;
        ops/autograd/*) echo 4 ;;
        ops/frameworks/*) echo 5 ;;
        ops/*) echo 3 ;;
        nn/*) echo 6 ;;
        *) echo 7 ;;
    esac
}

# The file that `#include "$2"` in the file $1 means.
find_include() {
    for dir in "$(dirname "$1")" ops ops/autograd ops/kernels ops/frameworks nn; do
        [ -f "$dir/$2" ] && realpath --relative-to=. "$dir/$2" && return
    done
    echo "$2"
}

for file in $(project_files | grep -E '^(ops|nn|examples)/.*\.(c|h|inc)$'); do
    for name in $(sed -n 's/^ *# *include *"\(.*\)".*/\1/p' "$file"); do
        target=$(find_include "$file" "$name")
        case $target in
            ops/pleat.h | ops/pleat_op.h | ops/autograd/pleat_check.h | ops/kernels/pleat_kernels.h | ops/kernels/pleat_isa.inc | ops/frameworks/pleat_frameworks.h | nn/pleat_nn*.h) public=yes ;;
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
only 'nn/mpi/mpi.c' '^ *# *include *[<"]mpi\.h'
only 'nn/onnx/messages\.h' '^ *# *include *[<"].*(protobuf-c|pb-c)\.h'
only 'ops/kernels/parallel.c|ops/core/lockstep.c|nn/data/loader.c|nn/mpi/lifeline.c' 'pthread_create'
only 'ops/kernels/parallel.c|ops/core/lockstep.c|nn/data/loader.c|nn/mpi/lifeline.c|nn/train/signals.c' '^ *# *include *[<"](pthread|threads|omp)\.h|^ *# *pragma +omp'

# What follows the locale: printf, scanf and strtod with a floating number, which two files keep from doing it, kinds of characters,
# order. (A % before a blank is the operator, and %3E is a character of a URL.)
only 'nn/files/numbers\.[ch]|ops/core/error\.c|examples/.*' \
    '%[-+#0-9.*]*[lL]?[aefgAFG]|%([-+#*.][-+#0-9.*]*)?E|\<(strto(f|d|ld)|atof|is(alpha|alnum|space|print|upper|lower)|to(upper|lower)|strcoll|strn?casecmp)\>'
# The programs never ask for another locale than the one they begin with, "C".
only 'nothing' '\<setlocale\>'

# The library as it was compiled. Sanitizers and coverage add symbols of their own, so this is left out with them.
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

    # a function of the C library that does not round as IEEE 754 has it gives other bits with another library
    names=$(nm -u "$library" | awk '{ print $NF }' | sort -u |
        grep -xE '(a?(sin|cos|tan)h?|atan2|exp(2|10|m1)?|log(2|10|1p|b)?|pow|hypot|cbrt|erfc?|[lt]gamma(_r)?|fmod|remainder)[fl]?')
    [ -z "$names" ] || complain "the library has functions of its own for these: $names"

    # Who calls whom: an object uses no name that an object of a higher floor defines. A public header declares names of several
    # floors, so includes alone do not show it. The address of a function in a table (a vjp, a kind) is no call.
    objects=$(nm -A -g "$library" | sed -nE 's/^[^ ]*[:\/]([^:\/]*)\.o: *[0-9a-f]* *([A-Za-z]) (.*)/\1 \2 \3/p')
    floors=$(for object in $(echo "$objects" | cut -d' ' -f1 | sort -u); do
        # conv_direct.c, an instance of an engine, is ops/kernels/conv/direct.c
        path=$(echo "$object" | sed -E 's/^ops_//; s/^(conv|gemm)_/kernels_\1_/; s/^(kernels|core|autograd|frameworks)_/\1\//; /^nn_/!s/^/ops\//; s/^nn_/nn\//')
        echo "$object @ $(floor "$path") $path"
    done)
    calls=$(printf '%s\n' "$floors" "$objects" | awk '
        $2 == "@" { floor[$1] = $3; path[$1] = $4; next }
        $2 == "U" || $2 == "w" { uses[$1, $3]; next }
        { home[$3] = $1 }
        END {
            for (use in uses) {
                split(use, at, SUBSEP)
                if (!(at[2] in home) || home[at[2]] == at[1]) continue
                seen += floor[home[at[2]]] < floor[at[1]]
                if (floor[home[at[2]]] > floor[at[1]])
                    print path[at[1]] " calls " at[2] " of " path[home[at[2]]] ", which is on a higher floor"
            }
            if (seen < 300) print "only " seen + 0 " calls of lower floors were seen"
        }' | sort)
    [ -z "$calls" ] || complain "$calls"
fi
[ $wrong = 0 ] || fail "see above"
