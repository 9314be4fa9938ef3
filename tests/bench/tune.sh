#!/bin/sh
# Another value for a tunable of the convolution engines, timed against the one it has: sh tests/bench/tune.sh --help
set -u
root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
. "$root/tests/setup.sh"
needs python3 has python3
require_packages
PYTHONDONTWRITEBYTECODE=1 exec python3 "$root/tests/bench/tune.py" "$@"
