#!/bin/sh
# The node tests of ONNX: none gives a wrong value, and the table of nn/onnx/README.md is the one that they give.
. "$(dirname "$0")/common.sh"

program=$2
cases=/usr/share/libonnx-testdata/data/node
[ -d "$cases" ] || {
    echo "skipped: no $cases here: apt-get install libonnx-testdata"
    exit 77
}

"$program" "$cases" >"$tmp/table" 2>"$tmp/errors" || fail "$(cat "$tmp/errors")"
sed -n '/^| operator |/,/^| all |/p' "$root/nn/onnx/README.md" >"$tmp/expected"
diff -u "$tmp/expected" "$tmp/table" || fail "nn/onnx/README.md has another table than onnx_nodes prints"
grep '^| all |' "$tmp/table"
