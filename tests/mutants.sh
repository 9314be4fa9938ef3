#!/bin/sh
# A mutation test: sh tests/mutants.sh --help, and tests/mutants/README.md.
set -u
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
. "$root/tests/setup.sh"
cd "$root" || exit 1
has python3 || {
    say "mutants.sh: python3 is missing: apt-get install python3"
    exit 1
}
case " $* " in
    *" --help "* | *" -h "* | *" --list "*) ;;
    *)
        needs_to_build
        needs_to_test
        require_packages
        ;;
esac
PYTHONDONTWRITEBYTECODE=1 exec python3 "$root/tests/mutants/run.py" "$@"
