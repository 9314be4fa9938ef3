#!/bin/sh
# Training is killed (SIGKILL) at random moments, also within a save, and resumed: after every kill the checkpoint loads, and every
# run ends with the bits of one that was never disturbed.
#     sh tests/outer/kills.sh BUILD PROGRAM [--kills=N] [--seed=N]
# PROGRAM      tests/outer/kills.c, built: BUILD/tests/kills
# --kills=N    how many (10)
# --seed=N     of the moments; the time of day by default. The line that is printed tells it
case ${1:-} in
--help)
    sed -n 's/^# \{0,1\}//p' "$0" | tail -n +2
    exit
    ;;
esac
. "$(dirname "$0")/common.sh"
program=${2:-$build/tests/kills}
kills=10
seed=$(date +%s)
[ $# -gt 2 ] && shift 2 || set --
for arg in "$@"; do
    case $arg in
    --kills=*) kills=${arg#--kills=} ;;
    --seed=*) seed=${arg#--seed=} ;;
    *) fail "unknown option $arg; there are --kills=N and --seed=N" ;;
    esac
done
for number in "$kills" "$seed"; do
    case $number in
    '' | *[!0-9]*) fail "\"$number\" must be a whole number" ;;
    esac
done
[ -x "$program" ] || fail "$program is not there; meson compile -C $build kills makes it"
"$program" hunt "$tmp" "$kills" "$seed" || fail "$program hunt (seed $seed)"
