#!/bin/sh
# The example programs as a person at the command line meets them: results, help, and one clear line for every mistake.
in_memory=yes
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
# Images to train on: MNIST's four files, a few KiB each. What is in the images is text.
# tiny NAME COUNT: COUNT is a multiple of 10, and at most 270
tiny() {
    high=$(printf '\\%03o\\%03o' $(($2 / 256)) $(($2 % 256)))
    printf '\000\000\010\003\000\000'"$high"'\000\000\000\034\000\000\000\034' >"tiny/$1-images-idx3-ubyte"
    cat "$root"/nn/*.c "$root"/ops/*.c | head -c $(($2 * 784)) >>"tiny/$1-images-idx3-ubyte"
    printf '\000\000\010\001\000\000'"$high" >"tiny/$1-labels-idx1-ubyte"
    for i in $(seq $(($2 / 10))); do printf '\003\001\004\000\005\011\002\006\010\007'; done >>"tiny/$1-labels-idx1-ubyte"
}
mkdir tiny
tiny train 250
tiny t10k 100
train="$bin/autoencoder --data tiny --epochs 1 --batch 50 --out made"

# one idea each: short, in the table, and a test
for file in "$root"/examples/small/*.c; do
    name=$(basename "$file" .c)
    [ "$(wc -l <"$file")" -le 120 ] || fail "examples/small/$name.c has more than 120 lines"
    grep -qF "[$name.c]($name.c)" "$root/examples/small/README.md" || fail "examples/small/README.md does not name $name.c"
    grep -q "'$name'" "$root/examples/meson.build" || fail "no test runs examples/small/$name.c"
done

must "$bin/article"
must "$bin/gradcheck"
must "$bin/autoencoder" --help
for program in autoencoder vae classifier superresolution wgan_gp; do
    for option in data limit load epochs batch lr seed threads out export resume help; do
        "$bin/$program" --help | grep -q -- "--$option" || fail "$program --help does not name --$option"
    done
done

# the script that builds it names the same options, before anything is built
sh "$root/examples/run.sh" --help >script.txt || fail "run.sh --help"
for option in $("$bin/autoencoder" --help | sed -n 's/^  --\([a-z]*\).*/\1/p'); do
    [ "$option" = help ] || grep -q -- "--$option" script.txt || fail "run.sh --help does not name --$option"
done

refused 2 "unknown option '--speed'" "$bin/autoencoder" --speed 3
refused 2 "unknown option 'data'" "$bin/autoencoder" data
refused 2 "--epochs stands alone; it takes an argument" "$bin/autoencoder" --epochs
refused 2 "whole number from 1 to" "$bin/autoencoder" --epochs 0
refused 2 "whole number" "$bin/autoencoder" --batch 12x
refused 2 "number above 0" "$bin/autoencoder" --lr -1
refused 2 "number above 0" "$bin/autoencoder" --lr nan
refused 2 "whole number" "$bin/autoencoder" --seed 99999999999999999999
refused 2 "--resume takes no argument" "$bin/autoencoder" --resume=yes
refused 2 "unknown option 'x'" "$bin/autoencoder" x
refused 2 "unknown option 'x?y'" "$bin/autoencoder" "x
y"
refused 1 "no?where: there is no such folder" $train --data "no
where"
refused 1 "251 is more than the 250 training images" $train --batch 251
refused 1 "data: nowhere: there is no such folder" $train --data nowhere
refused 1 "did you mean fashion-mnist?" $train --data fashon_mnist
mkdir lying made.d
refused 1 "cannot read made.d/train-images-idx3-ubyte" $train --data made.d
refused 2 "did you mean --epochs?" "$bin/autoencoder" --num-epochs 3
refused 2 "did you mean --batch?" "$bin/autoencoder" --batch-size=3
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
    for name in metrics.csv report.html reconstructions.png autoencoder.safetensors best.safetensors checkpoint.safetensors; do
        [ -s "made/$name" ] || fail "the autoencoder did not write $name"
    done
    for text in "autoencoder --data tiny --epochs 1 --batch 50 --out made --seed 5 --threads 1<" \
        "<td>$(date -u +%Y-%m-%d) [0-9:]* UTC<" "<td>$(uname -n)<" "<td>pleat [0-9.]*<"; do
        grep -q -- "$text" made/report.html || fail "the report does not say $text"
    done
    [ "$(wc -l <made/metrics.csv)" = 2 ] || fail "metrics.csv: $(cat made/metrics.csv)"
    mv made first
    must $train --seed 5 --threads 2
    cmp first/autoencoder.safetensors made/autoencoder.safetensors || fail "two threads gave other parameters than one"

    # Ctrl-C: status 130, and --resume ends with the same bits
    epochs=25
    [ "${PLEAT_TEST_EVERY:-1}" = 1 ] || epochs=8 # a slow build
    short="$bin/autoencoder --data tiny --epochs $epochs --batch 10 --denoise"
    must $short --out whole
    for pause in 0.2 0.5; do
        $short --out parts >out.txt 2>&1 &
        program=$!
        sleep $pause
        kill -TERM $program
        wait $program
        status=$?
        [ $status = 130 ] || [ $status = 0 ] || [ $status = 143 ] || fail "a signal: status $status: $(cat out.txt)"
        must $short --out parts --resume
        cmp whole/autoencoder.safetensors parts/autoencoder.safetensors || fail "a resumed run has other parameters"
        rm -r parts
    done
    $short --out whole --resume --lr 0.5 >out.txt 2>err.txt && fail "a resume with other options was accepted"
    grep -q "and this run has" err.txt || fail "a resume with other options: $(cat err.txt)"

    # more epochs are another cosine
    must "$bin/autoencoder" --data tiny --epochs 2 --batch 50 --seed 5 --out made --resume
    echo "$output" | grep -q "the schedule of the learning rate is not the checkpoint's" || fail "another schedule is not named: $output"

    # a full disk: no file may grow beyond 8 KiB, so the parameters do not fit
    cp made/autoencoder.safetensors before
    (trap '' XFSZ; ulimit -f 16; $train --seed 6 >out.txt 2>err.txt)
    [ $? = 1 ] || fail "a full disk was not noticed: $(cat err.txt)"
    grep -q "cannot write" err.txt || fail "a full disk is not named: $(cat err.txt)"
    cmp before made/autoencoder.safetensors || fail "a full disk has damaged the old file"
    [ -z "$(ls -A made | grep '^\.pleat')" ] || fail "a full disk left something behind: $(ls -A made)"

    # the others, a little
    for program in vae classifier superresolution wgan_gp "autoencoder --latent 2"; do
        must "$bin/"$program --data tiny --limit 256 --epochs 1 --batch 64 --out little
        [ -s little/report.html ] || fail "$program wrote no report"
        rm -r little
    done
elif ! ldd "$bin/autoencoder" | grep -q libcjson; then
    must $train
    echo "$output" | grep -q "not written  made/autoencoder.safetensors" || fail "parameters that are not saved are not named: $output"
    [ -s made/report.html ] || fail "without libraries the autoencoder wrote no report"
    [ -s made/metrics.csv ] || echo "$output" | grep -q "not written  made/metrics.csv" || fail "metrics.csv is not named: $output"
fi
