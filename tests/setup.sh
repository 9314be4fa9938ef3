# setup.sh: what examples/run.sh, tests/run.sh and .ci/run share: packages, and a build folder that is configured.
# It is sourced with $root naming the project's folder, and works there.

say() { printf '%s\n' "$*"; }
has() { command -v "$1" >/dev/null 2>&1; }

# Run a command; show what it printed, but for ninja's progress, only if it fails, or if a compiler warns.
quietly() {
    output=$("$@" 2>&1)
    status=$?
    case $status:$output in
        0:*warning:* | [1-9]*) printf '%s\n' "$output" | sed '/^\[[0-9]*\/[0-9]*\] /d' >&2 ;;
    esac
    return $status
}

# ---- packages ----

missing=

# needs PACKAGES CHECK...: the packages are missing unless the check succeeds. A check asks for the thing that is used
# and not for a package's name, so another OpenBLAS, pip's meson or a compiler of one's own do as well.
needs() {
    packages=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $packages"
}

can_compile() { echo '#include <stdio.h>' | ${CC:-cc} -E -; }

needs_to_build() {
    needs "${CC:-gcc} libc6-dev" can_compile
    needs meson has meson
    needs ninja-build has ninja
    needs pkg-config has pkg-config
    needs libopenblas-dev pkg-config --exists openblas
}

needs_to_test() {
    needs libcriterion-dev pkg-config --exists criterion
    needs locales test -f /usr/share/i18n/locales/de_DE # a locale with a decimal comma is made from it
}

has_libfuzzer() { echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | clang -x c -fsanitize=fuzzer,address - -o /dev/null; }
needs_to_fuzz() { needs "clang libclang-rt-dev" has_libfuzzer; }

likes_to_build() {
    needs zlib1g-dev pkg-config --exists zlib
    needs libpng-dev pkg-config --exists libpng
    needs libcjson-dev pkg-config --exists libcjson
    needs libzip-dev pkg-config --exists libzip
}

# Install packages as root or by sudo. Where that cannot be done, say why and return 1.
lists_are_new=
install_packages() {
    if ! has apt-get; then
        say "cannot install packages: there is no apt-get here"
        return 1
    fi
    by_sudo=
    if [ "$(id -u)" != 0 ]; then
        if ! has sudo; then
            say "cannot install packages: you are not root, and there is no sudo"
            return 1
        fi
        by_sudo=sudo
        [ -t 0 ] || by_sudo="sudo -n" # nobody is there to type a password
    fi
    say "installing: $*"
    if [ -z "$lists_are_new" ]; then
        $by_sudo apt-get update >/dev/null 2>&1 || say "apt-get update failed; trying with the lists that are here"
        lists_are_new=yes
    fi
    quietly $by_sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q -o DPkg::Lock::Timeout=120 \
        --no-install-recommends "$@"
}

# Install what is missing, or end here.
require_packages() {
    set -- $missing
    missing=
    [ $# = 0 ] && return
    install_packages "$@" && return
    say "missing packages (names of Debian and Ubuntu): $*"
    say "install them, then run this again:  apt-get install $*"
    exit 1
}

# want_packages DIR: install what is missing, or go on without. A failure is remembered in DIR, so that the next run does
# not ask for a password, or wait for a network, in vain.
want_packages() {
    dir=$1
    set -- $missing
    missing=
    [ $# = 0 ] && return
    if [ "$(cat "$dir/not-installed" 2>/dev/null)" != "$*" ]; then
        install_packages "$@" && return
        mkdir -p "$dir" && echo "$*" >"$dir/not-installed"
    fi
    say "going on without optional packages:  apt-get install $*"
}

# ---- the build folder ----

# configure DIR OPTIONS...: make DIR a build folder of this tree with these options. One that was made by hand is used as
# it is; one that is broken, or was made by this function for something else, is made anew.
configure() {
    dir=$1
    shift
    libraries=$(for name in openblas zlib libpng libcjson libzip criterion; do pkg-config --modversion $name 2>/dev/null; done)
    stamp=$(echo "$root ${CC:-cc} $*" $libraries)
    if [ -f "$dir/build.ninja" ] && meson configure "$dir" >/dev/null 2>&1; then
        [ "$(cat "$dir/setup-stamp" 2>/dev/null || echo "$stamp")" = "$stamp" ] && return
    fi
    if [ -d "$dir/meson-private" ]; then
        say "$dir/ is broken, or was made for something else: making it anew"
        rm -rf "$dir"
    fi
    say "configuring $dir/"
    quietly meson setup "$dir" "$@" || return 1
    echo "$stamp" >"$dir/setup-stamp"
}

# compile DIR TARGETS...
compile() {
    dir=$1
    shift
    say "compiling in $dir/"
    if [ -t 1 ]; then
        meson compile -C "$dir" "$@"
    else
        quietly meson compile -C "$dir" "$@"
    fi
}
