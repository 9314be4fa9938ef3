#!/bin/sh
# The example programs as a person at the command line meets them: results, help, and one clear line for every mistake.
. "$(dirname "$0")/common.sh"

bin=$build/examples
cd "$tmp" || exit 1

# refused STATUS TEXT PROGRAM ARGUMENTS...: ends with the status, says TEXT in one line on standard error, and writes nothing.
refused() {
    wanted=$1 text=$2
    shift 2
    "$@" >out.txt 2>err.txt
    status=$?
    [ $status = "$wanted" ] || fail "$*: ended with $status, not $wanted: $(cat err.txt)"
    [ "$(wc -l <err.txt)" = 1 ] || fail "$*: not one line: $(cat err.txt)"
    grep -qF -- "$text" err.txt || fail "$*: does not say '$text': $(cat err.txt)"
    [ ! -d made ] || [ -z "$(ls -A made)" ] || fail "$*: left behind: $(ls -A made)"
    rm -rf made
}
train="$bin/autoencoder --data shapes --epochs 1 --batch 500 --out made"

must "$bin/article"
must "$bin/gradcheck"
must "$bin/autoencoder" --help
for option in data epochs batch lr seed threads out help; do
    "$bin/autoencoder" --help | grep -q -- "--$option" || fail "--help does not name --$option"
done

refused 2 "unknown option '--speed'" "$bin/autoencoder" --speed 3
refused 2 "unknown option 'data'" "$bin/autoencoder" data
refused 2 "--epochs stands alone; it takes an argument" "$bin/autoencoder" --epochs
refused 2 "whole number from 1 to" "$bin/autoencoder" --epochs 0
refused 2 "whole number" "$bin/autoencoder" --batch 12x
refused 2 "number above 0" "$bin/autoencoder" --lr -1
refused 2 "number above 0" "$bin/autoencoder" --lr nan
refused 2 "whole number" "$bin/autoencoder" --seed 99999999999999999999
refused 1 "20001 is more than the 20000 training images" $train --batch 20001
refused 1 "cannot read nowhere/train-images-idx3-ubyte" $train --data nowhere
mkdir lying made.d
printf '\000\000\010\003\000\000\377\377\000\000\000\034\000\000\000\034abc' >lying/train-images-idx3-ubyte
refused 1 "its header says" $train --data lying
printf 'no gzip' >lying/train-images-idx3-ubyte.gz
refused 1 "lying/train-images-idx3-ubyte.gz" $train --data lying
refused 1 "cannot make the folder" $train --out nowhere/made
touch file
refused 1 "file: is a file" $train --out file
if [ "$(id -u)" != 0 ]; then
    chmod 500 made.d
    refused 1 "cannot write there" $train --out made.d
fi

if ldd "$bin/autoencoder" | grep -q libpng && ldd "$bin/autoencoder" | grep -q libcjson; then
    must $train --seed 5 --threads 1
    for name in history.csv reconstructions.png autoencoder.safetensors; do
        [ -s "made/$name" ] || fail "the autoencoder did not write $name"
    done
    [ "$(wc -l <made/history.csv)" = 2 ] || fail "history.csv: $(cat made/history.csv)"
    mv made first
    must $train --seed 5 --threads 2
    cmp first/autoencoder.safetensors made/autoencoder.safetensors || fail "two threads gave other parameters than one"
    # a full disk: no file may grow beyond 8 KiB, so the parameters do not fit
    cp made/autoencoder.safetensors before
    (trap '' XFSZ; ulimit -f 16; $train --seed 6 >out.txt 2>err.txt)
    [ $? = 1 ] || fail "a full disk was not noticed: $(cat err.txt)"
    grep -q "cannot write" err.txt || fail "a full disk is not named: $(cat err.txt)"
    cmp before made/autoencoder.safetensors || fail "a full disk has damaged the old file"
    [ "$(ls -A made | wc -l)" = 3 ] || fail "a full disk left something behind: $(ls -A made)"
fi
