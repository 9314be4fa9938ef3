#!/bin/sh
# A mutation test: sh tests/mutants.sh --help, and tests/README.md.
set -u
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
. "$root/tests/setup.sh"
cd "$root" || exit 1
needs python3 has python3
case " $* " in
    *" --help "* | *" -h "* | *" --list "*) ;;
    *)
        needs_to_build
        needs_to_test
        likes_to_build # what is built without a library, no test of it can kill
        ;;
esac
require_packages
PYTHONDONTWRITEBYTECODE=1 exec python3 "$root/tests/mutants/run.py" "$@"
