#!/bin/sh
# Parameters go to PyTorch and come from there: the same outputs to 1e-6, whoever wrote the file.
. "$(dirname "$0")/common.sh"

python=
for name in python3 /usr/bin/python3; do
    $name -c 'import numpy, torch' >/dev/null 2>&1 && python=$name && break
done
[ "$python" ] || {
    echo "skipped: no Python with torch and numpy here"
    exit 77
}

PKG_CONFIG_PATH=$build/meson-uninstalled:${PKG_CONFIG_PATH:-}
export PKG_CONFIG_PATH
cd "$tmp" || exit 1
must $cc -std=c17 -Wall -Wextra "$root/tests/outer/torch-files.c" -o files $(pkg-config --cflags --libs pleat) -Wl,-rpath,"$build"
must ./files save ours.safetensors output.npy
must $python "$root/tests/outer/torch_files.py" compare ours.safetensors output.npy
echo "ours in PyTorch: $output"
must $python "$root/tests/outer/torch_files.py" make theirs.safetensors
must ./files load theirs.safetensors output.npy
must $python "$root/tests/outer/torch_files.py" match output.npy
echo "PyTorch's in ours: $output"
must $python "$root/tests/outer/torch_files.py" half half.safetensors
must ./files part half.safetensors output.npy
[ "$output" = "the network has no model.position_ids" ] || fail "a part of a file: $output"
must $python "$root/tests/outer/torch_files.py" match output.npy
echo "half precision in ours: $output"
for file in new.pt old.pt; do
    must $python "$root/tests/outer/torch_files.py" save $file
    ./files load $file output.npy 2>err.txt && fail "$file was read"
    grep -q "one of torch.save.*safetensors.torch.save_file" err.txt || fail "$file: $(cat err.txt)"
done
