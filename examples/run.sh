#!/bin/sh
# Train the autoencoder of examples/autoencoder.c. Options are the program's own: sh examples/run.sh --help
# Installs what is missing, configures build/ and compiles; does nothing of it twice.
set -u
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
. "$root/tests/setup.sh"

here=$(pwd)
cd "$root" || exit 1
needs_to_build
likes_to_build # the program cannot leave its picture and its parameters without
require_packages
case " $* " in
    *fashion-mnist*) data=yes ;;
    *" --data"* | *" --help "*) data= ;;
    *) data=yes ;;
esac
if [ $data ]; then
    needs dataset-fashion-mnist test -r /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz
    want_packages build
fi
configure build && compile build autoencoder || exit 1
cd "$here" || exit 1
exec "$root/build/examples/autoencoder" "$@"
