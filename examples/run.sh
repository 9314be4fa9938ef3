#!/bin/sh
# Train the autoencoder of examples/autoencoder.c, or run another of the programs. Options are the program's own.
# Installs what is missing, configures build/ and compiles; does nothing of it twice.
set -u
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
. "$root/tests/setup.sh"

help() {
    cat <<'END'
usage: sh examples/run.sh [options]
       sh examples/run.sh PROGRAM [options]

Installs the packages that are missing, builds in build/, and trains a convolutional autoencoder. Writes curves, pictures
and parameters into a folder. PROGRAM is article, autoencoder, classifier, deconv, gradcheck, superresolution, vae or
wgan_gp. Options:

  --data WHAT       fashion-mnist (the default, a package), shapes (generated), or a folder with MNIST's four files
  --epochs N        passes over the training images
  --out FOLDER      where the results go
  --latent N        numbers that an image is reduced to; 2 draws a map
  --denoise         give the network noisy images, ask for clean ones
  --noise SIGMA     standard deviation of the noise of --denoise
  --limit N, --batch N, --lr RATE, --seed N, --micro N, --timeout SECONDS, --threads N, --load FILE, --export FILE, --resume
                    build/examples/autoencoder --help explains all, once it is built
END
}

program=autoencoder
data=fashion-mnist
case ${1:-} in
    autoencoder | classifier | superresolution | vae | wgan_gp) program=$1 ;;
    article | deconv | gradcheck) program=$1 data= ;;
    -* | '') set -- "$program" "$@" ;;
    *)
        say "there is no program '$1'; sh examples/run.sh --help names them" >&2
        exit 2
        ;;
esac
shift
before=
out=out
plain=$program # what trains with the options of all, to bits that are written down
for arg in "$@"; do
    case $before:$arg in
        --data:* | --out:* | --threads:* | *:--data | *:--out | *:--threads | *:--data=* | *:--out=* | *:--threads=*) ;;
        *) plain= ;;
    esac
    case $before:$arg in
        --data:*) data=$arg ;;
        --out:*) out=$arg ;;
        *:--out=*) out=${arg#--out=} ;;
        *:--data=*) data=${arg#--data=} ;;
        *:--help | *:-h)
            [ "$program" = autoencoder ] || continue # its own, once it is built
            help
            exit
            ;;
    esac
    before=$arg
done

here=$(pwd)
cd "$root" || exit 1
[ "$data" != fashion-mnist ] ||
    needs dataset-fashion-mnist test -r /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz
data_set=$missing
missing=
needs_to_build
likes_to_build # the program cannot leave its picture and its parameters without
{ # what the program prints stays alone on standard output
    require_packages $data_set
    missing=$data_set
    want_packages build
    configure build && compile build "$program" || exit 1
} >&2
cd "$here" || exit 1
[ "$plain:$data" = autoencoder:shapes ] || exec "$root/build/examples/$program" "$@"
"$root/build/examples/$program" "$@" || exit
file=$out/autoencoder.safetensors
hash=$(sha256sum "$file" 2>/dev/null | cut -d' ' -f1)
known=$(cut -d' ' -f1 "$root/examples/bits.txt")
if [ "$hash" = "$known" ]; then
    say "
$file has the bits that it has on every machine: SHA-256 $hash"
elif [ -n "$hash" ]; then
    say "
$file is not what it is on other machines: its SHA-256 is $hash, and should be $known" >&2
fi
