# common.sh: what the shell tests share. Each is called with the build folder as its argument, and is sourced with that.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
build=$(cd "${1:-$root/build}" && pwd) || exit 1
cc=${CC:-cc}
# A test that writes many small files sets in_memory before: each file is forced to the disk, and waits for it. Nothing can
# be executed there on some machines.
shm=/dev/shm
[ "${in_memory:-}" ] && [ -z "${TMPDIR:-}" ] && [ -w $shm ] && [ "$(df -Pk $shm | awk 'NR == 2 { print $4 }')" -gt 50000 ] &&
    export TMPDIR=$shm
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM

fail() {
    printf 'FAILED: %s\n' "$*"
    exit 1
}

# Run a command; if it fails, show what it printed and end the test.
must() {
    output=$("$@" 2>&1) || {
        printf '%s\n' "$output"
        fail "$*"
    }
}

# The project's files, by their paths from $root: those that git knows or would take, or all outside of build folders.
project_files() (
    cd "$root" || exit 1
    if git rev-parse --show-prefix >/dev/null 2>&1 && [ -z "$(git rev-parse --show-prefix)" ]; then
        git ls-files --cached --others --exclude-standard
    else
        find . -name .git -prune -o -path './build*' -prune -o -path ./out -prune -o -type f -print | sed 's|^\./||'
    fi | while read -r file; do
        [ -f "$file" ] && printf '%s\n' "$file"
    done
)
