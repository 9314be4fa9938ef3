#!/bin/sh
# Which lines and branches of the library the tests run. Needs gcovr and gcc.
#     sh tests/coverage.sh [--help] [--files] [--report]
# --files   a line for each file, too
# --report  do not build and run, but read what the last run left in build-coverage/
# Ends with 1 if a line is not run and tests/coverage.txt gives no reason for it.
set -u
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
. "$root/tests/setup.sh"
cd "$root" || exit 1
dir=build-coverage files= report=
for arg; do
    case $arg in
        --files) files=yes ;;
        --report) report=yes ;;
        --help)
            sed -n '2,/^set -u/s/^# \{0,1\}//p' "$0"
            exit
            ;;
        *)
            say "unknown option '$arg'; it must be --files, --report or --help" >&2
            exit 2
            ;;
    esac
done

needs gcovr has gcovr
require_packages
if [ -z "$report" ]; then
    [ -d $dir ] && find $dir -name '*.gcda' -delete # the counts of another source
    # every line as it stands: at -O0 none is merged with another; counts of threads that race can come out negative
    output=$(CC=gcc PLEAT_TEST_EVERY="${PLEAT_TEST_EVERY:-4}" sh tests/run.sh --build=$dir -Doptimization=0 -Ddebug=true \
        -Dc_args="['-g1','-fprofile-update=atomic']" -Db_coverage=true --timeout-multiplier 5 --no-suite once 2>&1) || {
        printf '%s\n' "$output"
        exit 1
    }
    printf '%s\n' "$output" | tail -n 1
fi
[ -d $dir ] || {
    say "there is no $dir/ to report on; run this without --report first"
    exit 1
}
gcovr -r . --filter ops/ --filter nn/ --object-directory $dir $dir --csv $dir/coverage.csv --json $dir/coverage.json \
    --html-details $dir/coverage.html 2>$dir/gcovr.log || {
    cat $dir/gcovr.log
    exit 1
}

awk -F, -v files="$files" '
    function row(name) {
        printf "%-32s %6d %6.1f %% %6d %6.1f %%\n", name, lines[name], 100 * run[name] / (lines[name] ? lines[name] : 1),
            branches[name], 100 * taken[name] / (branches[name] ? branches[name] : 1)
    }
    function add(name) {
        if (!(name in lines)) order[++n] = name
        lines[name] += $2; run[name] += $3; branches[name] += $5; taken[name] += $6
    }
    BEGIN { printf "%-32s %6s %8s %6s %8s\n", "", "lines", "run", "branches", "taken" }
    NR > 1 {
        folder = $1
        sub(/[^\/]*$/, "", folder)
        add(folder)
        if (files) add($1)
        add("all")
    }
    END { for (i = 1; i <= n; i++) if (order[i] != "all") row(order[i]); row("all") }' $dir/coverage.csv

# as a compiler would say it
python3 - $dir/coverage.json >$dir/missed.log <<'END'
import json, sys
for f in json.load(open(sys.argv[1]))["files"]:
    starts = sorted((g["lineno"], g["name"]) for g in f["functions"])
    for line in f["lines"]:
        if line["count"] == 0 and not line.get("gcovr/noncode"):
            inside = [name for start, name in starts if start <= line["line_number"]]
            print("%s:%d:1: warning: no test runs this [%s]" % (f["file"], line["line_number"], inside[-1] if inside else "?"))
END
missed=$(wc -l <$dir/missed.log)
if awk -v tool=coverage -v root="$root/" -v list=tests/coverage.txt -f tests/analyse/findings.awk tests/coverage.txt $dir/missed.log; then
    say "coverage: fine, $missed lines are not run, each with a reason in tests/coverage.txt; pages in $dir/coverage.html"
else
    say "coverage: FAILED, of $missed lines that are not run those above have no reason in tests/coverage.txt"
    exit 1
fi
