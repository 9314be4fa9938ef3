#!/bin/sh
# deconv translate, explain, vectors and disagree: known facts, ways there and back, and files that are whole and the same each time.
in_memory=yes
. "$(dirname "$0")/common.sh"

deconv=$build/examples/deconv
cd "$tmp" || exit 1

# says STATUS ARGUMENTS... -- LINES...: ends with the status, and prints each line (with fixed text, spaces squeezed).
says() {
    wanted=$1 arguments=
    shift
    while [ "$1" != -- ]; do
        arguments="$arguments $1"
        shift
    done
    shift
    "$deconv" $arguments >out.txt 2>err.txt
    status=$?
    [ $status = "$wanted" ] || fail "deconv$arguments: ended with $status, not $wanted: $(cat out.txt err.txt)"
    tr -s ' ' <out.txt >squeezed.txt
    for line; do
        grep -qF -- "$line" squeezed.txt || fail "deconv$arguments: does not say '$line': $(cat out.txt)"
    done
}

# refused STATUS TEXT ARGUMENTS...: one line on standard error, nothing on standard output
refused() {
    wanted=$1 text=$2
    shift 2
    "$deconv" "$@" >out.txt 2>err.txt
    status=$?
    [ $status = "$wanted" ] || fail "deconv $*: ended with $status, not $wanted: $(cat err.txt)"
    [ "$(wc -l <err.txt)" = 1 ] && [ ! -s out.txt ] || fail "deconv $*: not one line: $(cat out.txt err.txt)"
    grep -qF -- "$text" err.txt || fail "deconv $*: does not say '$text': $(cat err.txt)"
}

# ---- translate ----

popular="--kernel 3 --stride 2 --padding 1 --output-padding 1 --input-size 7"
says 0 translate --from torch $popular -- \
    "the natural 15x15 from pixel 1,1 on" \
    "tensorflow --strides 2,2 --padding 1,1,1,1 --output-shape 14,14" \
    "but not --strides 2,2 --padding SAME --output-shape 14,14" \
    "shifted by one pixel towards the end on H and W" \
    "or --strides 2,2 --auto-pad SAME_LOWER" \
    "keras not expressible" "nearest: --strides 2,2 --padding same" "196 of 196 output pixels differ"
says 1 translate $popular --to keras -- "keras not expressible"
says 0 translate $popular --to onnx -- "onnx --strides 2,2 --pads 1,1,0,0"
says 0 translate $popular --to torch -- "torch --stride 2,2 --padding 1,1 --output-padding 1,1"
says 0 translate --from tensorflow --kernel 4 --strides 2 --padding SAME --input-size 7 -- \
    "torch --stride 2,2 --padding 1,1" "or --strides 2,2 --auto-pad SAME_UPPER" "keras --strides 2,2 --padding same"
says 1 translate --from tensorflow --kernel 3 --strides 2 --padding SAME --input-size 7 --to torch -- "not expressible"
says 0 translate --kernel 3 --stride 2 --groups 2 --input-size 5 -- \
    "tensorflow not expressible: groups 2" "as 2 layers, one for each group" "which gives the same pixels"
says 0 translate --kernel 3 --stride 2 --dilation 2 --input-size 5 -- \
    "keras not expressible: stride 2,2 with dilation 2,2" "a 5x5 kernel, zeros between its taps" "which gives the same pixels"
says 0 translate --kernel 3,2 --stride 2,3 --padding 1,0 --output-padding 1,0 --input-size 5,4 -- \
    "shifted by one pixel towards the end on H" "80 of 110 output pixels differ" "##.##.##.##"
says 0 translate --from torch --op conv --kernel 3 --stride 2 --padding 1 --input-size 28 -- \
    "but not --op conv --strides 2,2 --padding SAME" "its windows begin one pixel of the input later"
refused 2 "--kernel H,W is missing" translate --input-size 4
refused 2 "--input-size H,W is missing" translate --kernel 4
refused 2 "--to mxnet: it must be torch, tensorflow, onnx, keras or all" translate $popular --to mxnet
refused 2 "output_padding 2 on axis H" translate --kernel 3 --stride 2 --output-padding 2 --input-size 4
refused 2 "too many to try" translate --kernel 3 --padding 1000 --input-size 9000

# There and back: every translation, translated back, is the layer that it began with.
sizes() {
    sed -n 's/.*\(output [0-9x]*: .*\)/\1/p' "$1" | head -n 1
}
round_trip() {
    from=$1 shape=$2
    shift 2
    "$deconv" translate --from $from $shape "$@" >there.txt || fail "translate --from $from $shape $*"
    wanted=$(sizes there.txt)
    [ -n "$wanted" ] || fail "translate --from $from $shape $*: no sizes in $(cat there.txt)"
    sed -n '4,$s/^\(torch\|tensorflow\|onnx\|keras\|         or\) *\(--.*\)/\1 \2/p' there.txt >words.txt
    while read -r name words; do
        [ "$name" = or ] || to=$name
        "$deconv" translate --from $to $shape $words --to $from >back.txt ||
            fail "$from $shape $* became $to $words, which cannot come back: $(cat back.txt)"
        [ "$(sizes back.txt)" = "$wanted" ] ||
            fail "$from $shape $* became $to $words: $(sizes back.txt), not $wanted"
        trips=$((trips + 1))
    done <words.txt
}
trips=0 kernels="1 2 3 4" enough=400
[ "${PLEAT_TEST_EVERY:-1}" = 1 ] || kernels=3 enough=100 # a slow build
for kernel in $kernels; do
    for stride in 1 2 3; do
        shape="--kernel $kernel,3 --input-size 4,5"
        round_trip torch "$shape" --stride $stride --padding 0,1
        round_trip torch "$shape" --stride $stride,2 --output-padding 0,1
        round_trip torch "$shape" --stride $stride,1 --dilation 1,2 --groups 2
        round_trip tensorflow "$shape" --strides $stride --padding SAME
        round_trip tensorflow "$shape" --strides $stride --padding VALID
        round_trip tensorflow "$shape" --strides $stride --padding 0,1,1,0
        round_trip onnx "$shape" --strides $stride --auto-pad SAME_UPPER
        round_trip onnx "$shape" --strides $stride --auto-pad SAME_LOWER
        round_trip onnx "$shape" --strides $stride --pads 0,1,1,2
        round_trip keras "$shape" --strides $stride --padding same
        round_trip keras "$shape" --strides $stride --padding valid --output-padding 0
        round_trip torch "$shape" --op conv --stride $stride --padding 1
        round_trip tensorflow "$shape" --op conv --strides $stride --padding SAME
        round_trip onnx "$shape" --op conv --strides $stride --auto-pad SAME_LOWER
        round_trip keras "$shape" --op conv --strides $stride --padding same
    done
done
[ $trips -gt $enough ] || fail "only $trips ways there and back: the sweep proves little"

# ---- explain ----

# picture FILE: SVG is well-formed, as far as this machine can tell; PNG has its signature and its end
check_svg() {
    if command -v xmllint >/dev/null; then
        must xmllint --noout "$1"
    elif command -v python3 >/dev/null; then
        must python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' "$1"
    fi
    grep -q '^</svg>$' "$1" || fail "$1 has no end"
    grep -q 'prefers-color-scheme: dark' "$1" || fail "$1 has no dark colours"
}
check_png() {
    [ "$(head -c 8 "$1" | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ] || fail "$1 is not a PNG"
    [ "$(tail -c 8 "$1" | head -c 4)" = IEND ] || fail "$1 has no end"
}
png=
ldd "$deconv" | grep -q libpng && png="--png layer.png"
ldd "$build"/libpleat.so 2>/dev/null | grep -q libpng && png="--png layer.png"
for words in "torch --stride 2 --padding 1 --output-padding 1" "torch --stride 2 --output-size 9,10" \
    "torch --op conv --stride 2 --padding 1" "torch --padding 2" "tensorflow --strides 3 --padding SAME" \
    "tensorflow --strides 2 --padding VALID --output-shape 10,11" "tensorflow --padding 1,0,0,1" \
    "tensorflow --op conv --strides 2 --padding SAME" "onnx --strides 2 --pads 1,0,0,1 --output-padding 1" \
    "onnx --strides 2 --auto-pad SAME_UPPER" "onnx --strides 2 --auto-pad SAME_LOWER --dilations 2" \
    "onnx --strides 2 --output-shape 8,8" "onnx --op conv --strides 4 --auto-pad SAME_UPPER" \
    "keras --strides 2 --padding same" "keras --strides 2 --padding same --output-padding 1" \
    "keras --strides 5 --padding valid" "keras --op conv --padding same --dilation-rate 2"; do
    rm -f layer.svg layer.png
    says 0 explain --framework $words --kernel 3,2 --input-size 4,5 --svg layer.svg $png -- "Sizes along" "Inside, the count"
    # the last "=" of each line that names the output is the output's size
    size=$(sed -n '1s/.*-> output \([0-9]*\)x\([0-9]*\)$/\1 \2/p' out.txt)
    shown=$(sed -n 's/^   output .* = \([0-9]*\)$/\1/p' out.txt | tr '\n' ' ')
    [ "$shown" = "$size " ] || fail "explain $words: sizes $size, but the formulas say $shown: $(cat out.txt)"
    check_svg layer.svg
    [ -z "$png" ] || check_png layer.png
done
says 0 explain $popular --channels 2,3 -- "natural length L = (in-1)*stride + ke = (7-1)*2 + 3 = 15" \
    "output out = L - 2*padding + output_padding = 15 - 2*1 + 1 = 14" "between 1 and 4 and repeats every 2x2" \
    "i h g" "gemm 2646" "zero-insertion 10584"
says 0 explain --kernel 4 --stride 2 --padding 1 --input-size 5 -- "Inside, the count is 4 everywhere: no checkerboard"
says 0 explain --kernel 1 --stride 2 --input-size 3 -- "1 0 1 0 1" "nothing but the bias"
says 0 explain --op conv --kernel 3x3 --input-size 7x7 --stride 2 -- "Inside, the count varies between 1 and 4" \
    "as it does wherever a window moves by more than one pixel"
! grep -q "checkerboard" out.txt || fail "explain warns of the checkerboards of a convolution: $(cat out.txt)"
says 0 explain --kernel 2 --input-size 2 --svg - -- "</svg>"
refused 2 "a picture of" explain --kernel 3 --stride 9 --input-size 9 --svg layer2.svg
refused 1 "nowhere/layer.svg" explain --kernel 3 --input-size 4 --svg nowhere/layer.svg
refused 2 "both must be multiples of the 2 groups" explain --kernel 3 --input-size 4 --groups 2 --channels 3,4
says 0 explain --kernel 3 --input-size 4 --groups 2 -- "2 to 2 channels"
refused 2 "too large" explain --kernel 3 --stride 100000 --input-size 100
[ ! -e layer2.svg ] || fail "explain left a picture that it refused"

# ---- vectors ----

for framework in torch tensorflow onnx keras; do
    for op in conv_transpose conv; do
        says 0 vectors --framework $framework --op $op --count 60 --seed 3 --integers --output first -- "60 layers"
        says 0 vectors --framework $framework --op $op --count 60 --seed 3 --integers --output second -- "60 layers"
        says 0 vectors --framework $framework --op $op --count 61 --seed 3 --integers --output third/ -- "61 layers"
        diff -r first second >differences || fail "vectors $framework $op: not the same twice: $(cat differences)"
        head -n 60 third/manifest.jsonl | cmp - first/manifest.jsonl || fail "vectors $framework: a larger count changes cases"
        cmp first/0059_grad_weight.npy third/0059_grad_weight.npy || fail "vectors $framework: a larger count changes values"
        [ "$(ls first | wc -l)" = 481 ] || fail "vectors $framework: $(ls first | wc -l) files, not 60*8 + 1"
        [ "$(wc -l <first/manifest.jsonl)" = 60 ] || fail "vectors $framework: the manifest has not 60 lines"
        if command -v python3 >/dev/null; then
            must python3 - <<'PYTHON'
import json, os, re
for line in open("first/manifest.jsonl"):
    case = json.loads(line)
    for array, name in case["files"].items():
        data = open(os.path.join("first", name), "rb").read()
        header = data[10:10 + data[8] + 256 * data[9]].decode()
        shape = [int(n) for n in re.search(r"'shape': \(([^)]*)\)", header).group(1).replace(",", " ").split()]
        assert shape == case["shapes"][array] and "<f4" in header, (name, header, case["shapes"][array])
PYTHON
        fi
        rm -rf first second third
    done
done
says 0 vectors --count 70 --seed 1 --output one -- "70 layers, 5"
says 0 vectors --count 70 --seed 2 --output two -- "70 layers, 5"
cmp -s one/0000_input.npy two/0000_input.npy && fail "vectors: two seeds gave the same values"
notes=$(sed 's/.*"note": "\([^"]*\)".*/\1/' one/manifest.jsonl | sort -u)
for note in "kernel smaller than the stride" "1x1 kernel with a stride" "one pixel" "two groups" "dilation" \
    "every legal output size" random; do
    printf '%s\n' "$notes" | grep -qx "$note" || fail "vectors: no case '$note' in $notes"
done
says 0 vectors --framework onnx --count 20 --dtype float64 --output wide -- "20 layers"
grep -q '"asymmetric pads"' wide/manifest.jsonl || fail "vectors: no asymmetric pads"
grep -q "<f8" wide/0000_input.npy || fail "vectors: --dtype float64 wrote another type"

# wider whole numbers are as exact, or refused
says 0 vectors --integers --range 100 --count 70 --output hundred -- "70 layers"
says 0 vectors --integers --range 100000 --dtype float64 --count 70 --output thousands -- "70 layers"
says 0 vectors --integers --count 70 --seed 1 --output four -- "70 layers"
says 0 vectors --integers --range 4 --count 70 --seed 1 --output also-four -- "70 layers"
diff -r four also-four >differences || fail "vectors: --range 4 is not the default: $(cat differences)"
refused 2 "sums of layer 0000 reach" vectors --integers --range 5000 --output new
refused 2 "--range 0: it must be a whole number from 1 to 1000000" vectors --integers --range 0 --output new
refused 2 "--range 5 goes with --integers" vectors --range 5 --output new

# quantised layers: the same bytes everywhere, which tests/oracle/deconv_int.py computes from TensorFlow Lite's sources, too
numpy=
python3 -c 'import numpy' 2>/dev/null && numpy=python3
/usr/bin/python3 -c 'import numpy' 2>/dev/null && numpy=/usr/bin/python3
onnx=
/usr/bin/python3 -c 'import numpy, onnx' 2>/dev/null && onnx=/usr/bin/python3
for framework in torch tensorflow onnx; do
    for op in conv_transpose conv; do
        for bits in 8 16; do
            rm -rf quantised
            says 0 vectors --framework $framework --op $op --int$bits --count 64 --seed 5 --output quantised -- "64 layers"
            [ -z "$numpy" ] || must $numpy "$root/tests/oracle/deconv_int.py" check quantised
            sum=$(cd quantised && LC_ALL=C && cat * | cksum)
            grep -qxF "$framework $op $bits: $sum" "$root/tests/oracle/deconv_int.sums" || fail "vectors $framework $op --int$bits: $sum"
        done
    done
done
sed 's/.*"name": "\([^"]*\)".*"options": "\([^"]*\)".*/\1 \2/' quantised/manifest.jsonl | sed -n '1~5p' >cases
while read -r name options; do
    v=quantised/$name
    must "$deconv" run --framework onnx $options --method scatter --input ${v}_input.npy --weight ${v}_weight.npy \
        --bias ${v}_bias.npy --weight-scale ${v}_weight_scale.npy --output y.npy --sum sum.npy
    cmp y.npy ${v}_output.npy && cmp sum.npy ${v}_sum.npy || fail "run $options: another result than that of vectors"
done <cases
printf '#include "quantised/0003.h"\n#include "quantised/0004.h"\n#include <stdio.h>\nint main(void) { printf("%%04x\\n", (unsigned)(uint16_t)v0003_output[1]); }\n' >header.c
must $cc -std=c99 -Wall -Wextra -Werror -I. header.c -o header
must ./header
[ "$output" = "$(sed -n 2p quantised/0003_output.hex)" ] || fail "vectors: 0003.h has $output, 0003_output.hex $(sed -n 2p quantised/0003_output.hex)"
refused 2 "--int8 beside --int16" vectors --int8 --int16 --output new
refused 2 "--int8 beside --integers" vectors --int8 --integers --output new
refused 2 "--int16 beside --dtype" vectors --int16 --dtype float64 --output new

# nodes for ONNX's runtimes; the onnx package reads them where it is
for words in "" "--op conv --dtype float64 --integers"; do
    rm -rf nodes plain
    says 0 vectors --framework onnx --onnx --count 330 --seed 6 $words --output nodes -- "330 layers"
    says 0 vectors --framework onnx --count 330 --seed 6 $words --output plain -- "330 layers"
    [ "$(find nodes -type f | wc -l)" = 1651 ] || fail "vectors --onnx $words: $(find nodes -type f | wc -l) files, not 330*5 + 1"
    [ -z "$onnx" ] || must $onnx "$root/tests/oracle/onnx_nodes.py" nodes plain
    rm -rf again
    says 0 vectors --framework onnx --onnx --count 330 --seed 6 $words --output again -- "330 layers"
    diff -r nodes again >differences || fail "vectors --onnx: not the same twice: $(cat differences)"
done
# kernel_shape [3,3], by hand: a field 5 of 21 bytes: 1, the name; 8 and 8, the numbers; 20, the type 7
kernel=2a150a0c6b65726e656c5f736861706540034003a00107
od -An -v -tx1 nodes/test_conv_0000_doubling_odd_kernel/model.onnx | tr -d ' \n' | grep -q $kernel ||
    fail "vectors --onnx: no kernel_shape in the model"
refused 2 "--onnx goes with --framework onnx, not torch" vectors --onnx --output new
refused 2 "--int8 beside --onnx" vectors --framework onnx --int8 --onnx --output new
(trap '' XFSZ; ulimit -f 1; "$deconv" vectors --framework onnx --onnx --output new --count 20 >out.txt 2>err.txt)
[ $? = 1 ] && [ "$(wc -l <err.txt)" = 1 ] && [ ! -e new ] && [ -z "$(ls | grep tmp)" ] ||
    fail "vectors --onnx: a full disk: $(ls) $(cat err.txt)"

# the values come back from `run`, by another method, within the tolerance of their type
sed 's/.*"name": "\([^"]*\)".*"options": "\([^"]*\)".*/\1 \2/' one/manifest.jsonl | sed -n '1~7p' >cases
while read -r name options; do
    v=one/$name
    must "$deconv" run $options --method zero-insertion --input ${v}_input.npy --weight ${v}_weight.npy \
        --bias ${v}_bias.npy --output y.npy
    must "$deconv" compare ${v}_output.npy y.npy --rtol 1e-5 --atol 1e-5
done <cases

# the disk is waited for once, and not for each file
cat >count.c <<'END'
#define _GNU_SOURCE
#include <fcntl.h>
#include <unistd.h>
static int note(const char *text) {
    int fd = open("syncs", O_WRONLY | O_CREAT | O_APPEND, 0666);
    return write(fd, text, 6) == 6 ? close(fd) : -1;
}
int fsync(int fd) { return (void)fd, note("fsync\n"); }
int syncfs(int fd) { return (void)fd, note("syncs\n"); }
END
must $cc -shared -fPIC count.c -o count.so
must env LD_PRELOAD="$tmp/count.so" "$deconv" vectors --count 5 --output synced
[ -s syncs ] && [ "$(wc -l <syncs)" -le 2 ] || fail "vectors: the disk was waited for $(wc -l <syncs) times"
# an empty folder keeps its permissions
mkdir -m 750 kept
ln -s kept to-kept
must "$deconv" vectors --count 2 --output to-kept
[ -s kept/manifest.jsonl ] && [ "$(ls -ld kept | cut -c1-10)" = drwxr-x--- ] || fail "vectors: $(ls -ld kept to-kept)"

refused 2 "--output DIR is missing" vectors
refused 2 "the folder is not empty" vectors --output one
refused 2 "it must be a new or an empty folder" vectors --output cases
refused 2 "--count 0: it must be a whole number from 1" vectors --output new --count 0
refused 2 "--seed -1" vectors --output new --seed -1
refused 2 "--dtype int8: it must be float32 or float64" vectors --output new --dtype int8
refused 2 "unknown option '--stride'" vectors --output new --stride 2
refused 1 "cannot make the folder" vectors --output nowhere/new
(trap '' XFSZ; ulimit -f 1; "$deconv" vectors --output new --count 20 >out.txt 2>err.txt)
[ $? = 1 ] && [ "$(wc -l <err.txt)" = 1 ] || fail "vectors: a full disk was not noticed: $(cat err.txt)"
[ ! -e new ] && [ -z "$(ls | grep tmp)" ] || fail "vectors left something half-written: $(ls)"
mkdir new
says 0 vectors --count 3 --output new -- "3 layers, 3"

# ---- disagree ----

says 0 disagree -- \
    "tensorflow --strides 1,2 --padding SAME --output-shape 1,6" "gives 1 2 5 4 9 6" "gives 2 5 4 9 6 9" "gives 2 5 4 9 6" \
    "refused: output_padding 1 on axis W: onnx takes 0 alone here" \
    "refused: stride 1,2 with dilation 1,2: keras takes one of them" \
    "refused: groups 2: tensorflow takes 1" "gives 1 2 2 4 3 6 0"
[ "$(grep -c 'differs at' out.txt)" = 17 ] || fail "disagree has another number of causes: $(cat out.txt)"
grep -q 'differs at 0 of' out.txt && fail "disagree lists a cause without a case: $(cat out.txt)"
refused 2 "unknown argument 'more'" disagree more
