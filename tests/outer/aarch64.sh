#!/bin/sh
# The loops that compute, in the assembly of aarch64 as the cross build compiles them: a tile of sums stays in its registers, so nothing
# within goes to the stack or comes from there; and how many of the instructions are fused multiply-adds. Skipped without the
# cross compiler.
. "$(dirname "$0")/common.sh"

command -v aarch64-linux-gnu-gcc >/dev/null || {
    echo "skipped: there is no aarch64-linux-gnu-gcc"
    exit 77
}
unset CC CFLAGS LDFLAGS # of this machine
must meson setup "$tmp/build" "$root" --cross-file "$root/tests/cross/aarch64.txt" -Dtests=disabled -Dexamples=false

# assembly ENGINE SOURCE TYPE
assembly() {
    command=$(ninja -C "$tmp/build" -t commands "ops/kernels/lib$1_baseline_$3.a.p/$2.c.o" | grep aarch64-linux-gnu-gcc) || fail "no command for $1 $3"
    (cd "$tmp/build" && eval "$(echo "$command" | sed "s| -o [^ ]* -c | -o $tmp/$1_$3.s -S |; s|^ccache ||")") || fail "$1 $3"
}
for type in f32 f64; do
    assembly implicit_gemm conv_implicit_gemm $type
    assembly simd_gemm gemm_simd_gemm $type
    assembly direct conv_direct $type
    assembly planes conv_planes $type
done

# Of each function's innermost loops with fmla the one that has most: file, function, fmla, instructions, uses of the stack.
awk '
    function jumps(s) { return s ~ /^\t(b|b\.?(eq|ne|cs|cc|mi|pl|hi|ls|ge|lt|gt|le)|cbn?z|tbn?z)\t/ }
    function target(s,  word, n) {
        n = split(s, word, /[\t, ]+/)
        return word[n] in at ? at[word[n]] : 0
    }
    function loops(  i, j, from, inner, fmla, stack, most, text) {
        for (i = 1; i <= lines; i++) {
            if (!jumps(line[i]) || !(from = target(line[i])) || from > i) continue
            inner = 1
            fmla = stack = 0
            for (j = from; j <= i; j++) {
                if (j < i && jumps(line[j]) && target(line[j]) >= from && target(line[j]) <= j) inner = 0
                fmla += line[j] ~ /^\tfmla\t/
                stack += line[j] ~ /\[sp/
            }
            if (inner && fmla > most) {
                most = fmla
                text = name " " fmla " " i - from + 1 " " stack
            }
        }
        if (most) print file, text
        lines = 0
        split("", at)
    }
    FNR == 1 { loops(); file = FILENAME; gsub(/.*\/|\.s$/, "", file) }
    /^[A-Za-z_][A-Za-z0-9_.]*:/ { loops(); name = $1; sub(/:.*/, "", name) }
    /^\.L[A-Za-z0-9]*:/ { label = $1; sub(/:.*/, "", label); at[label] = lines + 1 }
    /^\t[a-z]/ { line[++lines] = $0 }
    END { loops() }' "$tmp"/*.s >"$tmp/loops"

# a tile of so many rows and vectors: of implicit GEMM and of products
sed -nE 's/^(implicit_gemm_f..) ((micro|outer|dot)_([0-9]+)x([0-9]+)) /\1 \2 \4 \5 /p; s/^(simd_gemm_f..) (micro_kernel_([0-9]+)_([248])) /\1 \2 \3 \4 /p' \
    "$tmp/loops" >"$tmp/tiles"
awk '$3 * $4 >= 24 { printf "%-18s %-18s %2d of %2d instructions are fmla, %d%%\n", $1, $2, $5, $6, 100 * $5 / $6 }' "$tmp/tiles"
awk '$1 !~ /^(implicit|simd)_gemm/ && $5 > 0 { n++ } END { print n + 0, "loops of the others use the stack" }' "$tmp/loops"
[ "$(wc -l <"$tmp/tiles")" -ge 100 ] || fail "only $(wc -l <"$tmp/tiles") tiles were found"
wrong=$(awk '$7 > 0 { print $1, $2 ": " $7 " uses of the stack in " $6 " instructions" }' "$tmp/tiles")
[ -z "$wrong" ] || fail "sums leave the registers:
$wrong"
# half of the largest tiles' instructions at least, and two thirds where weights lie side by side
wrong=$(awk '$3 * $4 >= 24 && $5 / $6 < ($2 ~ /^micro_[0-9]+x/ ? 0.63 : 0.5) { print $1, $2 ": " $5 " of " $6 }' "$tmp/tiles")
[ -z "$wrong" ] || fail "too few are fused multiply-adds:
$wrong"
