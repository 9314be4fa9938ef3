#!/bin/sh
# Networks that PyTorch exports compute here what they do there, and have the same gradients.
. "$(dirname "$0")/common.sh"

python=
for name in python3 /usr/bin/python3; do
    $name -c 'import numpy, torch' >/dev/null 2>&1 && python=$name && break
done
[ "$python" ] || {
    echo "skipped: no Python with torch and numpy here"
    exit 77
}
must $python "$root/tests/oracle/torch_onnx.py" "$tmp/nets"
"$2" "$tmp/nets" || fail "see above"
