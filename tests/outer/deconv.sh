#!/bin/sh
# deconv run and deconv compare at the command line: values, layouts, streams, four methods, and one clear line and no file for
# every mistake.
in_memory=yes
. "$(dirname "$0")/common.sh"

deconv=$build/examples/deconv
cd "$tmp" || exit 1

# ---- arrays of digits ----

# digits TYPE VALUES...: each as printf's escapes for little endian <f4 or <f8
digits() {
    type=$1
    shift
    for value in "$@"; do
        case $type$value in
            f40) printf '\\000\\000\\000\\000' ;;
            f41) printf '\\000\\000\\200\\077' ;;
            f42) printf '\\000\\000\\000\\100' ;;
            f43) printf '\\000\\000\\100\\100' ;;
            f44) printf '\\000\\000\\200\\100' ;;
            f45) printf '\\000\\000\\240\\100' ;;
            f46) printf '\\000\\000\\300\\100' ;;
            f49) printf '\\000\\000\\020\\101' ;;
            f4nan) printf '\\000\\000\\300\\177' ;;
            f80) printf '\\000\\000\\000\\000\\000\\000\\000\\000' ;;
            f81) printf '\\000\\000\\000\\000\\000\\000\\360\\077' ;;
            f82) printf '\\000\\000\\000\\000\\000\\000\\000\\100' ;;
            f83) printf '\\000\\000\\000\\000\\000\\000\\010\\100' ;;
            *) fail "no bytes for $type $value" ;;
        esac
    done
}

# npy FILE HEADER [TYPE VALUES...]: a version 1.0 file with that text as its header
npy() {
    file=$1 header=$2
    shift 2
    {
        printf '\223NUMPY\001\000'
        printf "\\$(printf '%03o' $((${#header} + 1)))\\000%s\\n" "$header"
        [ $# = 0 ] || printf "$(digits "$@")"
    } >"$file"
}

# array FILE TYPE SHAPE VALUES...: as NumPy would have written it
array() {
    name=$1 dtype=$2 shape=$3
    shift 3
    npy "$name" "{'descr': '<$dtype', 'fortran_order': False, 'shape': ($shape), }" "$dtype" "$@"
}

same() {
    must "$deconv" compare "$1" "$2"
}

# ---- mistakes ----

# refused STATUS TEXT ARGUMENTS...: deconv ends with the status, says TEXT in one line on standard error, and writes nothing.
refused() {
    wanted=$1 text=$2
    shift 2
    mkdir made
    "$deconv" "$@" >out.txt 2>err.txt </dev/null
    status=$?
    [ $status = "$wanted" ] || fail "$*: ended with $status, not $wanted: $(cat err.txt)"
    [ "$(wc -l <err.txt)" = 1 ] || fail "$*: not one line: $(cat err.txt)"
    grep -qF -- "$text" err.txt || fail "$*: does not say '$text': $(cat err.txt)"
    [ ! -s out.txt ] || fail "$*: printed $(cat out.txt)"
    [ -z "$(ls -A made)" ] || fail "$*: left behind: $(ls -A made)"
    rmdir made
}

# ---- the program ----

must "$deconv" --help
for command in run translate vectors compare disagree; do
    "$deconv" --help | grep -q "^  $command " || fail "--help does not name $command"
    "$deconv" $command --help | grep -q "^usage: deconv $command" || fail "$command --help"
done
[ "$("$deconv" --version)" = "deconv $(sed -n 's/^#define PLEAT_VERSION "\(.*\)"/\1/p' "$root/ops/pleat.h")" ] ||
    fail "--version"
for option in op framework input weight bias output grad-output grad-input grad-weight grad-bias method stride strides padding \
    output-padding dilation dilations dilation-rate groups group output-size output-shape pads auto-pad data-format dtype int8 int16 input-scale weight-scale output-scale input-zero-point output-zero-point activation sum; do
    "$deconv" run --help | grep -q -- "--$option" || fail "run --help does not name --$option"
done
refused 2 "a command is missing"
refused 2 "unknown command 'rum'; did you mean run?" rum
refused 2 "did you mean translate?" tranlsate
refused 2 "did you mean --help?" hlep
refused 2 "did you mean run?" help rnu
for words in "help run" "--help run" "run --help"; do
    "$deconv" $words | grep -q "^usage: deconv run" || fail "deconv $words"
done
refused 2 "unknown argument '3'; a pair is one word, 3,3 or 3x3" explain --kernel 3 3 --input-size 4
refused 2 "did you mean --version?" version
refused 2 "unknown command 'xyzzy'; 'deconv --help' lists them" xyzzy
refused 2 "unknown command 'x?'" "$(printf 'x\001')"

# ---- values: x = 1 2 3, w = 1 2 3, stride 2 along W ----

array x.npy f4 "1, 1, 1, 3" 1 2 3
array w.npy f4 "1, 1, 1, 3" 1 2 3
array wk.npy f4 "1, 3, 1, 1" 1 2 3
array xl.npy f4 "1, 1, 3, 1" 1 2 3
array full.npy f4 "1, 1, 1, 7" 1 2 5 4 9 6 9
array six.npy f4 "1, 1, 6, 1" 1 2 5 4 9 6
array five.npy f4 "1, 1, 5, 1" 2 5 4 9 6
array torch.npy f4 "1, 1, 1, 6" 2 5 4 9 6 9
array firsts.npy f4 "1, 1, 1, 6" 1 2 5 4 9 6
files="--input x.npy --weight w.npy"
must "$deconv" run $files --output y.npy --stride 1,2
same y.npy full.npy
must "$deconv" run $files --output y.npy --stride 1x2 --padding 0x1 --output-padding=0x1
same y.npy torch.npy
must "$deconv" run $files --output y.npy --stride=1,2 --padding=0,1 --output-padding 0,1
same y.npy torch.npy
must "$deconv" run $files --output y.npy --stride 1,2 --padding 0,1 --output-size 1,6
same y.npy torch.npy
tf="--framework tensorflow --input xl.npy --weight wk.npy --strides 1,2"
must "$deconv" run $tf --output y.npy --output-shape 1,6
same y.npy six.npy
must "$deconv" run $tf --output y.npy --padding SAME --output-shape 1,5
same y.npy five.npy
must "$deconv" run --framework tensorflow --data-format NCHW --input x.npy --weight wk.npy --strides 1,2 --output y.npy
same y.npy firsts.npy
must "$deconv" run --framework keras --input xl.npy --weight wk.npy --strides 1,2 --padding same --output y.npy
same y.npy six.npy
must "$deconv" run --framework onnx $files --strides 1,2 --auto-pad SAME_UPPER --output y.npy
same y.npy firsts.npy
must "$deconv" run --framework onnx $files --strides 1,2 --auto-pad SAME_LOWER --output y.npy
same y.npy torch.npy
must "$deconv" run --framework onnx $files --strides 1,2 --pads 0,1,0,0 --output y.npy
same y.npy torch.npy
array one.npy f4 "1, 1, 1, 1" 6
array two.npy f4 "1, 1, 1, 2" 4 6
must "$deconv" run --op conv --input full.npy --weight two.npy --stride 3 --dilation 1,6 --output y.npy
[ -s y.npy ] || fail "conv wrote nothing"
printf '%s\n' "y.npy: float32 [1,1,1,1]" >wanted
"$deconv" run --op conv --input full.npy --weight two.npy --stride 3 --dilation 1,6 --output y.npy | cmp - wanted ||
    fail "the summary of run"

# gradients by hand: grad_input of the natural layer for ones is w summed, grad_weight x summed, grad_bias a count
array ones.npy f4 "1, 1, 1, 7" 1 1 1 1 1 1 1
array sixes.npy f4 "1, 1, 1, 3" 6 6 6
array zero.npy f4 "1," 0
must "$deconv" run $files --bias zero.npy --output y.npy --stride 1,2 --grad-output ones.npy --grad-input gx.npy \
    --grad-weight gw.npy --grad-bias gb.npy
same gx.npy sixes.npy
same gw.npy sixes.npy
same y.npy full.npy
[ "$(wc -c <gb.npy)" = 132 ] || fail "grad-bias: $(wc -c <gb.npy) bytes"

# f64, Fortran order, big endian, keys in another order
array x8.npy f8 "1, 1, 1, 3" 1 2 3
must "$deconv" run --input x8.npy --weight x8.npy --stride 1,2 --output y8.npy
"$deconv" run --input x8.npy --weight x8.npy --stride 1,2 --output y8.npy | grep -q 'float64 \[1,1,1,7\]' || fail "f64"
npy xf.npy "{'shape':(1,1,1,3,),\"fortran_order\":True,'descr':'<f4'}" f4 1 2 3
must "$deconv" run --input xf.npy --weight w.npy --stride 1,2 --output y.npy
same y.npy full.npy

# ---- streams ----

"$deconv" run --input - --weight w.npy --stride 1,2 --output - <x.npy >y.npy || fail "streams"
same y.npy full.npy
"$deconv" run $files --stride 1,2 --output - | "$deconv" compare - full.npy >/dev/null || fail "a stream into compare"
"$deconv" run $files --stride 1,2 --output made.npy --grad-output ones.npy --grad-input - >gx.npy || fail "two outputs"
same gx.npy sixes.npy
same made.npy full.npy
rm made.npy
if [ -w /dev/full ]; then
    "$deconv" disagree 2>err.txt >/dev/full
    [ $? = 1 ] && grep -q "cannot write standard output" err.txt || fail "a full disk: $(cat err.txt)"
    "$deconv" run $files --stride 1,2 --grad-output ones.npy --output made.npy --grad-input - 2>err.txt >/dev/full
    [ $? = 1 ] && [ "$(wc -l <err.txt)" = 1 ] || fail "a full disk behind the stream: $(cat err.txt)"
    [ ! -e made.npy ] && [ -z "$(ls -A | grep '^\.')" ] || fail "a full disk left something behind: $(ls -A)"
fi
# nothing is half-written: one of three files cannot be written
cp five.npy old.npy
"$deconv" run $files --stride 1,2 --grad-output ones.npy --output old.npy --grad-input new.npy \
    --grad-weight nowhere/gw.npy 2>err.txt >out.txt
[ $? = 1 ] || fail "a folder that is not there"
grep -qF "cannot write nowhere/gw.npy: No such file" err.txt || fail "a folder that is not there: $(cat err.txt)"
[ ! -e new.npy ] && cmp old.npy five.npy && [ -z "$(ls -A | grep '^\.')" ] || fail "half of the files were written"
ln -s five.npy link.npy
must "$deconv" run $files --stride 1,2 --output link.npy
[ -L link.npy ] || fail "a symbolic link was replaced"
chmod 640 five.npy
must "$deconv" run $files --stride 1,2 --output link.npy
[ "$(ls -l five.npy | cut -c1-10)" = -rw-r----- ] || fail "a file lost its permissions: $(ls -l five.npy)"
same five.npy full.npy
must "$deconv" run $files --stride 1,2 --output /dev/null
[ -c /dev/null ] || fail "/dev/null was replaced"

# ---- refusals of run ----

refused 2 "--input FILE is missing" run --output made/y.npy
refused 2 "--weight FILE is missing" run --input x.npy --output made/y.npy
refused 2 "--output FILE is missing" run $files
out="--output made/y.npy"
# before any file is read: these files are not there
gone="--input gone.npy --weight gone.npy $out"
refused 2 "unknown option '--strid'; did you mean --stride? 'deconv run --help' lists" run $gone --strid 2
refused 2 "did you mean --strides?" run $gone --framework keras --strid 2
refused 2 "did you mean --output-padding?" run $gone --output_padding 1
refused 2 "did you mean --padding?" run $gone -pad 1
refused 2 "did you mean --channels-last?" compare full.npy full.npy --channel-last
refused 2 "did you mean --kernel?" explain --kernel_size 3 --input-size 4
refused 2 "did you mean --input-size?" explain --kernel 3 --input-shape 4
refused 2 "unknown option '--quiet'; 'deconv run --help' lists what there is" run $gone --quiet 2
refused 2 "did you mean conv_transpose?" run $gone --op ConvTranspose2d
refused 2 "did you mean conv?" run $gone --op conv2d
refused 2 "did you mean torch?" run $gone --framework pytorch
refused 2 "did you mean tensorflow?" run $gone --framework TensorFlow
refused 2 "did you mean keras?" translate --kernel 3 --input-size 4 --to kears
refused 2 "did you mean same?" run $gone --framework keras --padding SAME
refused 2 "did you mean VALID?" run $gone --framework tensorflow --padding vaild
refused 2 "did you mean SAME_UPPER?" run $gone --framework onnx --auto-pad same-upper
refused 2 "did you mean NHWC?" run $gone --framework tensorflow --data-format NWHC
refused 2 "did you mean zero-insertion?" run $gone --method zero_insert
refused 2 "did you mean float64?" vectors --output made/v --dtype float46
refused 2 "unknown option '-s'" run $gone -s 2
refused 2 "unknown argument '2'; a pair is one word" run $gone --stride 2 2
refused 2 "--stride stands alone" run $gone --stride
refused 2 "--stride stands alone" run --stride $gone
refused 2 "unknown option '--kernel'" run $gone --kernel 3
refused 2 "unknown option '--input-size'" run $gone --input-size 3
refused 2 "unknown option '--channels'" run $gone --channels 3
refused 2 "--op deconv: it must be conv_transpose or conv; did you mean conv_transpose?" run $gone --op deconv
refused 2 "--framework caffe: it must be torch, tensorflow, onnx or keras" run $gone --framework caffe
refused 2 "--method fast: it must be gemm" run $gone --method fast
for text in 2x x2 2x2x2 2,x2 2*2 2, ,2 2,2,2 "2, 2" " 2" +2 -2 0 0x2 2.0 1e1 "" 99999999999999999999 2,0; do
    refused 2 "--stride $text: it must be" run $gone "--stride=$text"
done
refused 2 "--padding -1: it must be" run $gone --padding -1
refused 2 "--stride 2.5: it must be H,W or HxW, or one number for both, 1 or more" run $gone --stride 2.5
refused 2 "--padding same: it must be" run $gone --padding same
refused 2 "--groups 0: it must be" run $gone --groups 0
refused 2 "--stride is given twice" run $gone --stride 2 --stride 2
refused 2 "--op is given twice" run $gone --op conv --op conv
refused 2 "--framework is given twice" run $gone --framework onnx --framework onnx
refused 2 "--input is given twice" run $gone --input x.npy
refused 2 "--output-padding beside --output-size" run $gone --output-padding 1 --output-size 6
refused 2 "--pads beside --auto-pad" run --framework onnx $gone --pads 0,0,0,0 --auto-pad VALID
refused 2 "--pads beside --auto-pad" run $gone --auto-pad SAME_UPPER --pads 1,1,1,1 --framework onnx
refused 2 "it goes with --op conv_transpose" run $gone --op conv --output-padding 1
refused 2 "it goes with --op conv_transpose" run $gone --output-size 3 --op conv
refused 2 "it goes with --op conv" run $gone --framework keras --groups 2
refused 2 "--grad-input needs --grad-output" run $gone --grad-input made/gx.npy
refused 2 "--grad-weight needs --grad-output" run $gone --grad-weight made/gw.npy
refused 2 "--grad-bias needs --grad-output" run $gone --grad-bias made/gb.npy
refused 2 "--input and --weight are both -" run --input - --weight - $out
refused 2 "--output and --grad-input are both made/y.npy" run $gone --grad-output x.npy --grad-input made/y.npy
refused 2 "the path is empty" run --input "" --weight w.npy $out

# another framework's words
refused 2 "its word is --stride" run $gone --strides 2
refused 2 "its word is --dilation" run $gone --dilations 2
refused 2 "its word is --dilation" run $gone --dilation-rate 2
refused 2 "its word is --groups" run $gone --group 2
refused 2 "its word is --padding" run $gone --pads 0,0,0,0
refused 2 "its word is --padding" run $gone --auto-pad VALID
refused 2 "its word is --output-size" run $gone --output-shape 3
refused 2 "torch has no option --data-format" run $gone --data-format NHWC
for framework in tensorflow onnx keras; do
    refused 2 "its word is --strides" run $gone --framework $framework --stride 2
    refused 2 "$framework has no option --output-size" run $gone --framework $framework --output-size 2
    refused 2 "$framework has no option --dilation;" run $gone --framework $framework --dilation 2
done
refused 2 "its word is --pads" run $gone --framework onnx --padding 1
refused 2 "its word is --group" run $gone --framework onnx --groups 1
refused 2 "its word is --output-shape" run $gone --framework tensorflow --output-padding 1
refused 2 "tensorflow has no option --groups" run $gone --framework tensorflow --groups 1
refused 2 "its word is --output-padding" run $gone --framework keras --output-shape 4
refused 2 "--padding VALID: it must be same or valid" run $gone --framework keras --padding VALID
refused 2 "--padding valid: it must be SAME, VALID or T,B,L,R" run $gone --framework tensorflow --padding valid
refused 2 "--padding 1,1: it must be SAME, VALID or T,B,L,R" run $gone --framework tensorflow --padding 1,1
refused 2 "--data-format channels_last: it must be NHWC or NCHW" run $gone --framework tensorflow --data-format channels_last
refused 2 "--data-format NHWC: it must be" run $gone --framework keras --data-format NHWC
refused 2 "--auto-pad SAME: it must be NOTSET" run $gone --framework onnx --auto-pad SAME
refused 2 "--pads 1,1: it must be T,L,B,R" run $gone --framework onnx --pads 1,1

# geometry: the line names what would be legal
for method in gemm phase zero-insertion scatter; do
    refused 2 "takes 0..1 here" run $files $out --stride 2 --output-padding 0,2 --method $method
done
refused 2 "takes 7..8 here" run $files $out --stride 1,2 --output-size 1,9
refused 2 "takes 5..6 here" run $tf $out --output-shape 1,7
refused 2 "takes 7..8 here" run $tf $out --output-shape 1,6 --padding VALID
refused 2 "takes 0..1 here" run --framework onnx $files $out --strides 1,2 --output-padding 0,2
refused 2 "leaves nothing" run $files $out --padding 0,4
refused 2 "takes one of them" run --framework keras --input xl.npy --weight wk.npy $out --strides 2 --dilation-rate 2
refused 2 "exceeds the input" run --op conv $files $out --dilation 1,2
refused 2 "too large" run $files $out --stride 9223372036854775807
refused 2 "must be addressable" run $files $out --stride 1000000000000000000,1 --output-padding 900000000000000000,0

# arrays that do not fit
array zero8.npy f8 "1," 0
array w2.npy f4 "2, 1, 1, 1" 1 2
array x2.npy f4 "1, 2, 1, 3" 1 2 3 1 2 3
array flat.npy f4 "3," 1 2 3
array empty.npy f4 "1, 0, 1, 3"
array none.npy f4 "0, 1, 1, 3"
refused 2 "input [3]: it must be of 4 axes" run --input flat.npy --weight w.npy $out
refused 2 "weight [3]: it must be of 4 axes" run --input x.npy --weight flat.npy $out
refused 2 "bias [1,1,1,3]: it must be of 1 axis" run $files --bias x.npy $out
refused 2 "bias [3]: it must be [1]" run $files --bias flat.npy $out
refused 2 "weight [2,1,1,1]: it must be [Cin,Cout/groups,kh,kw]" run --input x.npy --weight w2.npy $out
refused 2 "2 groups: they must divide the 1 channels in" run $files $out --groups 2
refused 2 "2 groups: they must divide the 1 channels out" run --op conv --input x2.npy --weight w.npy $out --groups 2
refused 2 "[Cout,Cin/groups,kh,kw] for 1 channels in and 2 groups" run --op conv $files $out --groups 2
refused 2 "weight [1,1,1,3]: it must be [kh,kw,Cout,Cin]" run --framework keras --input xl.npy --weight w.npy $out
refused 2 "channels must be at least 1" run --input empty.npy --weight empty.npy --op conv $out
refused 2 "all must be of one type" run --input x8.npy --weight w.npy $out
refused 2 "bias is float64 and the input is float32" run $files --bias zero8.npy $out
refused 2 "grad-output [1,1,1,3]: it must be [1,1,1,7]" run $files $out --stride 1,2 --grad-output x.npy
refused 2 "all must be of one type" run $files $out --grad-output x8.npy --grad-input made/gx.npy
must "$deconv" run --input none.npy --weight w.npy --output y.npy

# ---- whole numbers and quantised layers ----

# wholes FILE TYPE SHAPE OCTAL...: elements as printf's escapes, without their backslashes
wholes() {
    name=$1 dtype=$2 shape=$3
    shift 3
    npy "$name" "{'descr': '$dtype', 'fortran_order': False, 'shape': ($shape), }"
    for byte; do printf "\\$byte"; done >>"$name"
}
wholes xi.npy '|i1' "1, 1, 1, 3" 001 002 003
wholes b4.npy '<i4' "1," 012 000 000 000
must "$deconv" run --input xi.npy --weight xi.npy --stride 1,2 --output y.npy
same y.npy full.npy
refused 2 "bias is float64 and the input is float32" run --input xi.npy --weight xi.npy --bias b4.npy $out
must "$deconv" run --input xi.npy --weight xi.npy --stride 1,2 --dtype float64 --output y8.npy
must "$deconv" compare y8.npy full.npy --values
refused 2 "--dtype int8: it must be float32 or float64" run $gone --dtype int8

# x = 1 2 3 with the zero point 1 is 0 1 2, w = 1 2 3 and a bias of 10: sums 10 11 12; with M = 1/4, halves away from 0, plus 3
wholes big.npy '<i2' "1, 1, 1, 1" 350 003
wholes one1.npy '|i1' "1, 1, 1, 1" 001
array s.npy f4 "1," 1
wholes sums.npy '<i4' "1, 1, 1, 3" 012 000 000 000 013 000 000 000 014 000 000 000
wholes outputs.npy '|i1' "1, 1, 1, 3" 006 006 006
int8="run --int8 --input xi.npy --weight one1.npy --weight-scale s.npy --input-scale 0.5 --output-scale 2"
must "$deconv" $int8 --bias b4.npy --input-zero-point 1 --output-zero-point 3 --output y.npy --sum sum.npy
same sum.npy sums.npy
same y.npy outputs.npy
grep -q "'<i4'" sum.npy && grep -q "'|i1'" y.npy || fail "the types of a quantised layer"
"$deconv" $int8 --output - | cmp -s - y.npy && fail "a bias and zero points change nothing"
"$deconv" $int8 --bias b4.npy --input-zero-point 1 --output-zero-point 3 --output - | cmp - y.npy || fail "a stream of int8"
must "$deconv" $int8 --bias b4.npy --output-zero-point -128 --activation relu6 --output y.npy
[ "$("$deconv" $int8 --output y.npy --sum sum.npy)" = "y.npy: int8 [1,1,1,3]
sum.npy: int32 [1,1,1,3]" ] || fail "the summary of a quantised layer"
refused 2 "--weight-scale FILE is missing" run --int8 $gone --input-scale 1 --output-scale 1
refused 2 "--input-scale S is missing" run --int8 $gone --weight-scale s.npy --output-scale 1
refused 2 "--input-scale 0: it must be a positive number" run --int8 $gone --weight-scale s.npy --input-scale 0 --output-scale 1
refused 2 "--input-zero-point 128: it must be a whole number from -128 to 127" $int8 $out --input-zero-point 128
refused 2 "--output-zero-point -129: it must be" $int8 $out --output-zero-point -129
refused 2 "--output-zero-point 1: it must be 0 with --int16" run --int16 $gone --weight-scale s.npy --input-scale 1 --output-scale 1 \
    --output-zero-point 1
refused 2 "did you mean relu6?" $int8 $out --activation ReLU6
refused 2 "--int8 beside --int16" $int8 $out --int16
refused 2 "--dtype beside --int8" $int8 $out --dtype float64
refused 2 "--activation goes with --int8 or --int16" run $gone --activation relu
refused 2 "--weight-scale goes with --int8 or --int16" run $gone --weight-scale s.npy
refused 2 "--sum goes with --int8 or --int16" run $gone --sum made/s.npy
refused 2 "--grad-output: a quantised layer has no gradients" $int8 $out --grad-output x.npy
refused 2 "weight-scale [3]: it must be [1] or [1]" run --int8 --input xi.npy --weight one1.npy --weight-scale flat.npy --input-scale 1 \
    --output-scale 1 $out
refused 2 "input has the element 1000; it must be a whole number from -128 to 127" run --int8 --input big.npy --weight one1.npy \
    --weight-scale s.npy --input-scale 1 --output-scale 1 $out
refused 2 "TensorFlow Lite is not defined there" run --int8 --input xi.npy --weight one1.npy --weight-scale s.npy --input-scale 1e9 \
    --output-scale 0.1 $out

# a reader that stops early, as head does, is no mistake
deaf() {
    { sleep 0.1; "$deconv" "$@" 2>err.txt; } | true
    [ ! -s err.txt ] || fail "$* | true: $(cat err.txt)"
}
deaf disagree
deaf run $files --output -

# hostile files
hostile() {
    refused 2 "$1" run --input bad.npy --weight w.npy $out
    "$deconv" run --input - --weight w.npy --output made.npy <bad.npy >/dev/null 2>err.txt
    [ $? = 2 ] && [ "$(wc -l <err.txt)" = 1 ] && [ ! -e made.npy ] || fail "as a stream: $1: $(cat err.txt)"
}
form="'fortran_order': False, 'shape': (1, 1, 1, 3)"
: >bad.npy && hostile "not a .npy file"
printf 'no array at all, but some text' >bad.npy && hostile "not a .npy file"
printf 'PK\003\004an archive' >bad.npy && hostile "it is a zip archive"
printf '\223NUMPY\011\000\001\000\n' >bad.npy && hostile "version 9.0"
head -c 40 x.npy >bad.npy && hostile "truncated"
head -c 90 x.npy | head -c 20 >bad.npy && hostile "truncated"
{ cat x.npy && printf x; } >bad.npy && hostile "header"
npy bad.npy "{'descr': '<f4', $form}" f4 1 2 && hostile "header says"
npy bad.npy "{'descr': '|O', $form}" f4 1 2 3 && hostile "type of its elements"
npy bad.npy "{'descr': '<c8', $form}" f4 1 2 3 && hostile "type of its elements"
npy bad.npy "{'descr': '<f2', $form}" f4 1 2 3 && hostile "type of its elements"
npy bad.npy "{'descr': [('a', '<f4')], $form}" f4 1 2 3 && hostile "type of its elements"
npy bad.npy "{'descr': '<f4', 'fortran_order': 0, 'shape': (1, 1, 1, 3)}" f4 1 2 3 && hostile "True or False"
npy bad.npy "{'descr': '<f4', $form" f4 1 2 3 && hostile "header"
npy bad.npy "{'descr': '<f4'}" f4 1 2 3 && hostile "must have the keys"
npy bad.npy "{'descr': '<f4', 'shape': (), $form}" f4 1 2 3 && hostile "twice"
npy bad.npy "{'descr': '<f4', 'size': 3, $form}" f4 1 2 3 && hostile "has the key size"
sizes="4294967296, 4294967296"
npy bad.npy "{'descr': '<f4', 'fortran_order': False, 'shape': ($sizes, 1, 1)}" f4 1 && hostile "more than any file"
npy bad.npy "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 99999999999999)}" f4 1 && hostile "header says"
npy bad.npy "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, -3)}" f4 1 2 3 && hostile "a size"
refused 2 "bad.npy" run --input x.npy --weight bad.npy $out
refused 2 "bad.npy" run $files --bias bad.npy $out
refused 2 "bad.npy" run $files --grad-output bad.npy $out
refused 1 "cannot read gone.npy" run --input gone.npy --weight w.npy $out
refused 1 "a folder" run --input . --weight w.npy $out
refused 1 "cannot write nowhere/y.npy" run $files --output nowhere/y.npy
refused 1 "cannot write .: it is a folder" run $files --output .

# ---- compare ----

# says STATUS TEXT ARGUMENTS...
says() {
    wanted=$1 text=$2
    shift 2
    "$deconv" compare "$@" >out.txt 2>err.txt
    status=$?
    [ $status = "$wanted" ] || fail "compare $*: ended with $status, not $wanted: $(cat out.txt err.txt)"
    grep -qF -- "$text" out.txt || fail "compare $*: does not say '$text': $(cat out.txt)"
}
array a.npy f4 "1, 1, 3, 3" 1 2 3 4 5 6 9 1 0
array down.npy f4 "1, 1, 3, 3" 0 0 0 1 2 3 4 5 6
array left.npy f4 "1, 1, 3, 3" 2 3 0 5 6 0 1 0 0
array turned.npy f4 "1, 1, 3, 3" 0 1 9 6 5 4 3 2 1
array other.npy f4 "1, 1, 3, 3" 1 2 3 4 5 6 9 1 1
array nan.npy f4 "1, 1, 3, 3" 1 2 3 4 nan 6 9 1 0
array al.npy f4 "1, 3, 3, 1" 1 2 3 4 5 6 9 1 0
array leftl.npy f4 "1, 3, 3, 1" 2 3 0 5 6 0 1 0 0
says 0 "equal: all 9 elements have the same value" a.npy a.npy
says 0 "equal: all 9" nan.npy nan.npy
says 1 "B is A shifted by 1 row down, 0 columns" a.npy down.npy
says 1 "B is A shifted by 0 rows, 1 column left" a.npy left.npy
says 1 "B is A shifted by 0 rows, 1 column left" --channels-last al.npy leftl.npy
array wide.npy f4 "1, 1, 3, 2" 1 2 3 4 5 6
array wideb.npy f4 "1, 1, 3, 2" 1 2 3 4 5 9
says 1 "at [0,0,2,1]: A 6, B 9" --channels-last wide.npy wideb.npy
array thin.npy f4 "3," 1 2 3
refused 2 "--channels-last: thin.npy is [3]; it must have four axes, N,H,W,C" compare --channels-last thin.npy thin.npy
says 1 "B is A rotated by 180 degrees" a.npy turned.npy
says 1 "1 of 9 elements differ, 1 beyond the tolerance" a.npy other.npy
says 1 "largest absolute error 1            at [0,0,2,2]: A 0, B 1" a.npy other.npy
says 1 "  ..#" a.npy other.npy
says 1 "  .!." a.npy nan.npy
says 1 "NaN or infinite" nan.npy a.npy
says 0 "equal within the tolerance" a.npy other.npy --atol 1
says 1 "different" a.npy other.npy --rtol 0.5
says 0 "equal within the tolerance" other.npy a.npy --rtol 1
says 0 "equal within the tolerance" a.npy other.npy --ulp 1065353216
says 1 "different" a.npy other.npy --ulp 1065353215
says 1 "different in type or shape" a.npy x.npy
says 1 "different in type or shape" x.npy x8.npy
says 0 "equal: all 3 elements" x.npy x8.npy --values
says 1 "different in type or shape" a.npy x.npy --values
refused 2 "two files must be given" compare a.npy
refused 2 "unknown argument 'b.npy'" compare a.npy a.npy b.npy
refused 2 "both files are -" compare - -
refused 2 "cannot read gone.npy" compare gone.npy a.npy
refused 2 "--rtol 1x: it must be a number" compare a.npy a.npy --rtol 1x
refused 2 "--atol -1: it must be a number" compare a.npy a.npy --atol -1
refused 2 "--atol nan: it must be a number" compare a.npy a.npy --atol nan
refused 2 "--ulp 1.5: it must be a whole number" compare a.npy a.npy --ulp 1.5
refused 2 "--channels-last takes no argument" compare a.npy a.npy --channels-last=yes
refused 2 "unknown option '--framework'" compare a.npy a.npy --framework torch

# ---- the four methods in every framework's words; vectors computes with all of them, so one after the other will do ----

for op in conv_transpose conv; do
    for framework in torch tensorflow onnx keras; do
        vectors=vectors-$op-$framework
        must "$deconv" vectors --framework $framework --op $op --count 24 --integers --output $vectors
        sed 's/.*"name": "\([^"]*\)".*"options": "\([^"]*\)".*/\1 \2/' $vectors/manifest.jsonl >cases
        [ "$(wc -l <cases)" = 24 ] || fail "$vectors/manifest.jsonl does not have 24 lines"
        methods="gemm phase zero-insertion scatter"
        while read -r name options; do
            v=$vectors/$name method=${methods%% *}
            methods="${methods#* } $method"
            must "$deconv" run --framework $framework $options --method $method --input ${v}_input.npy \
                --weight ${v}_weight.npy --bias ${v}_bias.npy --output y.npy --grad-output ${v}_grad_output.npy \
                --grad-input gx.npy --grad-weight gw.npy --grad-bias gb.npy
            cmp y.npy ${v}_output.npy && cmp gx.npy ${v}_grad_input.npy && cmp gw.npy ${v}_grad_weight.npy &&
                cmp gb.npy ${v}_grad_bias.npy || fail "$method, $framework $options ($v)"
        done <cases
    done
done
