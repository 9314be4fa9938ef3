#!/bin/sh
# Every command in the README of deconv runs, in the order of the page, and ends as the page says: with 0, or as "# exit N" behind
# it. The tables that it shows are what the commands print.
. "$(dirname "$0")/common.sh"

page=$root/examples/deconv/README.md
PATH=$build/examples:$PATH
export PATH
mkdir "$tmp/there"
cd "$tmp/there" || exit 1

# the sh blocks as 01.sh, 02.sh, ...
awk -v dir="$tmp" '
    /^```sh$/ { inside = 1; file = sprintf("%s/%02d.sh", dir, ++n); print "set -e" >file; next }
    /^```$/ { inside = 0 }
    inside && match($0, /# exit [0-9]+$/) {
        wanted = substr($0, RSTART + 7)
        print "status=0; " substr($0, 1, RSTART - 1) "|| status=$?; [ $status = " wanted " ]" >file
        next
    }
    inside { print >file }' "$page"
[ -f "$tmp/05.sh" ] || fail "README.md holds fewer than five blocks of commands"
for block in "$tmp"/*.sh; do
    sh "$block" >out.txt 2>&1 || fail "a command of README.md failed: $(cat "$block" out.txt)"
done

# the first example, as it is shown
deconv translate --from torch --kernel 3 --stride 2 --padding 1 --output-padding 1 --input-size 7 >printed
awk '/^prints$/ { shown = 1; next } shown && /^[^ ]/ { exit } shown { sub(/^    /, ""); print }' "$page" | sed '1d;$d' >shown
cmp printed shown || fail "README.md shows another translation than deconv prints: $(diff printed shown)"

deconv disagree >printed
awk '/^<!-- deconv disagree -->$/ { here = 1; next } here && /^```$/ { if (++fences == 2) exit; next } here' "$page" >shown
sed '$d' printed >trimmed
cmp trimmed shown || fail "README.md shows another table than deconv disagree prints: $(diff trimmed shown)"

# the manual names every option that the help texts name
for command in run translate explain vectors compare disagree; do
    for option in $(deconv $command --help | grep -o -- '--[a-z][-a-z]*[a-z]' | grep -v -- '--help' | sort -u); do
        [ "$option" = --output- ] || grep -q -- "-${option#--}" "$root/examples/deconv/deconv.1" ||
            fail "deconv.1 does not name $option"
    done
done
