#!/bin/sh
# pleat at the command line: a model is shown, run, and written as C; one clear line and no file for every mistake.
. "$(dirname "$0")/common.sh"

pleat=$build/examples/pleat
model=$root/tests/oracle/onnx_small.onnx # [N,1,8,8] to [N,3]
cd "$tmp" || exit 1

# expect STATUS WORDS COMMAND...: the status, and the words in what is printed
expect() {
    wanted=$1 words=$2
    shift 2
    printed=$("$@" 2>&1)
    [ $? = "$wanted" ] || fail "$*: another status than $wanted: $printed"
    case $printed in *"$words"*) ;; *) fail "$*: no '$words' in: $printed" ;; esac
}

expect 0 "0.weight                                 [4,1,3,3]" "$pleat" show "$model"
expect 0 "Conv" "$pleat" show "$model" --shape 2x1x8x8
expect 1 "[1,2,8,8]" "$pleat" show "$model" --shape 1x2x8x8
expect 2 "a shape is written as 1x3x32x32" "$pleat" show "$model" --shape 1x
expect 2 "did you mean show?" "$pleat" shw "$model"
expect 2 "the model is missing" "$pleat" show
expect 1 "nothing.onnx" "$pleat" show nothing.onnx
expect 0 "usage: pleat run MODEL.onnx" "$pleat" run --help

# 64 zeros of float
{
    printf '\223NUMPY\001\000\106\000%-69s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 8, 8), }"
    head -c 256 /dev/zero
} >x.npy
expect 0 "" "$pleat" run "$model" --input x.npy --output y.npy
expect 0 "(1, 3)" head -c 90 y.npy
expect 2 "--output: it is missing" "$pleat" run "$model" --input x.npy
expect 1 "no.npy" "$pleat" run "$model" --input no.npy --output z.npy
[ -e z.npy ] && fail "a file of a run that failed"

expect 0 "" "$pleat" export-c "$model" --shape 1x1x8x8 --output net.c --test 10
${CC:-cc} -std=c11 -O1 net.c net_test.c -o net || fail "the C file does not compile"
expect 0 "net: 0 of 10 inputs give other bits" ./net
expect 1 "RAM: " "$pleat" export-c "$model" --shape 1x1x8x8 --output small.c --ram 64
expect 2 "a size is written as 8192, 8K or 1M" "$pleat" export-c "$model" --shape 1x1x8x8 --output small.c --ram 8KB
[ -e small.c ] && fail "a file of an export that failed"
exit 0
