#!/bin/sh
# The Fortran example: compiled with gfortran, where it is there, and its three verdicts.
in_memory=yes
. "$(dirname "$0")/common.sh"

if ! command -v gfortran >/dev/null; then
    echo "no gfortran here"
    exit 77
fi
cd "$tmp" || exit 1
must gfortran -std=f2018 -Wall -Wextra -Werror -O2 -fcheck=all "$root/examples/gradcheck.f90" -o gradcheck_f "$build/libpleat.so" -Wl,-rpath,"$build"
must ./gradcheck_f
for line in "gradient: right: off by" "gradient: wrong: element 2: difference quotient" "adjoint: right: off by"; do
    echo "$output" | grep -q "^$line" || fail "no line '$line': $output"
done
