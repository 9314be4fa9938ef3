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

# needs_to_build [OPTIONS...]: of the build, of which -Dblas=none asks for no BLAS
needs_to_build() {
    needs "${CC:-gcc} libc6-dev" can_compile
    needs meson has meson
    needs ninja-build has ninja
    needs pkg-config has pkg-config
    case " $* " in
        *" -Dblas="*) ;; # another one is the caller's to install
        *) needs libopenblas-dev pkg-config --exists openblas ;;
    esac
}

needs_to_test() {
    needs libcriterion-dev pkg-config --exists criterion
    needs locales test -f /usr/share/i18n/locales/de_DE # a locale with a decimal comma is made from it
}

# needs_to_cross NAME: to build for the machine of tests/cross/NAME.txt, and to run its programs
needs_to_cross() {
    # its headers alone; tests/support/unboxed.c runs the tests
    needs libcriterion-dev test -f /usr/include/criterion/criterion.h
    case $1 in
        wasm)
            needs emscripten has emcc
            needs nodejs has node
            ;;
        i386) needs "gcc-i686-linux-gnu libc6-dev-i386-cross" test -f /usr/i686-linux-gnu/lib/libc.so.6 ;;
        armhf) needs "gcc-arm-linux-gnueabihf libc6-dev-armhf-cross qemu-user" has arm-linux-gnueabihf-gcc ;;
        aarch64) needs "gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user" has aarch64-linux-gnu-gcc ;;
        *) needs "gcc-$1-linux-gnu libc6-dev-$1-cross qemu-user" has "$1-linux-gnu-gcc" ;;
    esac
    case $1 in
        wasm | i386) ;;
        *) needs qemu-user has qemu-s390x ;;
    esac
}

has_libfuzzer() { echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | clang -x c -fsanitize=fuzzer,address - -o /dev/null; }
needs_to_fuzz() { needs "clang libclang-rt-dev" has_libfuzzer; }

likes_to_build() {
    needs zlib1g-dev pkg-config --exists zlib
    needs libpng-dev pkg-config --exists libpng
    needs libcjson-dev pkg-config --exists libcjson
    needs libzip-dev pkg-config --exists libzip
    needs "libprotobuf-c-dev protobuf-c-compiler" pkg-config --exists libprotobuf-c
}

# show_progress STAGE PERCENT TEXT: a line that is rewritten on a terminal, elsewhere a line for each quarter.
shown=
show_progress() {
    case $2 in '' | *[!0-9]*) set -- "$1" 0 "$3" ;; esac
    if [ -t 1 ]; then
        printf '\r\033[K  %s %3d %%  %.40s' "$1" "$2" "$3"
    elif [ "$shown" != "$1 $(($2 / 25))" ]; then
        shown="$1 $(($2 / 25))"
        say "  $1 $(($2 / 25 * 25)) %"
    fi
}

# follow_apt WORD: of apt-get's output, show the progress of downloads, by that word, and of the installation; and the first
# error if it fails. Its last line is "ended:STATUS".
follow_apt() {
    why=
    last=
    while IFS= read -r line; do
        percent=${line#*:*:}
        text=${percent#*:}
        percent=${percent%%[.:]*}
        case $line in
            dlstatus:*) show_progress "$1" "$percent" "$text" ;;
            pmstatus:*) show_progress installing "$percent" "$text" ;;
            ended:*) break ;;
            "E: "* | "W: Failed "*) why=${why:-${line#?: }} ;;
            *[!\ ]*) last=$line ;;
        esac
    done
    [ -t 1 ] && printf '\r\033[K'
    [ "$line" = ended:0 ] && return
    say "apt-get failed: ${why:-$last}"
    return 1
}

# apt_get WORD ARGUMENTS...: as root, or by sudo.
apt_get() {
    word=$1
    shift
    {
        $by_sudo env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get "$@" 2>&1
        echo "ended:$?"
    } | follow_apt "$word"
}

# install_packages PACKAGES...: as root or by sudo. Where that cannot be done, say why and return 1.
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
        apt_get "lists of packages" update -q -o APT::Status-Fd=1 -o APT::Update::Error-Mode=any ||
            say "the lists of packages are not renewed; trying with those that are here"
        lists_are_new=yes
    fi
    apt_get downloading install -y -q -o APT::Status-Fd=1 -o DPkg::Lock::Timeout=120 --no-install-recommends "$@"
}

# require_packages [LATER...]: install what is missing, or end here. LATER are packages that will be wanted after these.
require_packages() {
    later=$*
    set -- $missing
    missing=
    [ $# = 0 ] && return
    [ -z "$later" ] || say "needed: $*; and then, if it can be had: $later"
    install_packages "$@" && return
    say "Packages are missing, and could not be installed. With a network and as root (or in another way), do this:"
    say "    apt-get install $*${later:+ $later}"
    say "Then run this command again; nothing else is fetched from a network."
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
# it is; one that is broken, or was made by this function for something else, is made anew. Other packages than before are
# looked for again in the same folder, so that what does not depend on them is not compiled twice.
configure() {
    dir=$1
    shift
    purpose="$root ${CC:-cc} $*"
    libraries=$(echo $(for name in openblas zlib libpng libcjson libzip libprotobuf-c criterion; do
        pkg-config --modversion $name 2>/dev/null || echo none
    done))
    if [ -f "$dir/build.ninja" ] && meson configure "$dir" >/dev/null 2>&1; then
        [ -f "$dir/setup-stamp" ] || return 0
        was=$(cat "$dir/setup-stamp")
        [ "$was" = "$purpose
$libraries" ] && return
        if [ "${was%
*}" = "$purpose" ]; then
            say "configuring $dir/ again: other packages are installed than the last time"
            meson configure --clearcache "$dir" >/dev/null 2>&1
            quietly meson setup --reconfigure "$dir" && printf '%s\n' "$purpose" "$libraries" >"$dir/setup-stamp" && return
        fi
    fi
    if [ -d "$dir/meson-private" ]; then
        say "$dir/ is broken, or was made for another folder, compiler or options: making it anew"
        rm -rf "$dir"
    fi
    say "configuring $dir/"
    quietly meson setup "$dir" "$@" || return 1
    printf '%s\n' "$purpose" "$libraries" >"$dir/setup-stamp"
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
