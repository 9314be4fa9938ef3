#!/bin/sh
# The tests where size_t has 32 bits: build-i386/ is made with Debian's cross compiler (gcc-i686-linux-gnu), on libraries for i386
# that are unpacked beside it and installed nowhere, and its programs run here. For Debian on x86-64.
#     sh tests/i386.sh [options of meson test]
set -u
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
. "$root/tests/setup.sh"
cd "$root" || exit 1
build=$root/build-i386
apt=$build/apt
there=$build/root

needs_to_build
needs gcc-i686-linux-gnu has i686-linux-gnu-gcc
require_packages

# An apt of its own, which knows i386 alone and takes nothing for installed.
unpack_libraries() {
    mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$apt/etc/apt.conf.d" "$apt/etc/preferences.d" "$there" || return 1
    : >"$apt/state/status"
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $release main" >"$apt/etc/sources.list"
    cat >"$apt/conf" <<END
APT::Architecture "i386";
APT::Architectures { "i386"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Dir::State "$apt/state";
Dir::State::status "$apt/state/status";
Dir::Cache "$apt/cache";
Dir::Etc "$apt/etc";
END
    export APT_CONFIG="$apt/conf"
    quietly apt-get -q update || return 1
    quietly apt-get -q -y --download-only install libc6-dev \
        "libgcc-$(i686-linux-gnu-gcc -dumpversion | cut -d. -f1)-dev" libcriterion-dev libopenblas-dev zlib1g-dev libpng-dev libcjson-dev libzip-dev || return 1
    for package in "$apt"/cache/archives/*.deb; do dpkg -x "$package" "$there" || return 1; done
    # links that name a place from the top on, and those that Debian's alternatives would make
    find "$there" -type l | while read -r link; do
        to=$(readlink "$link")
        [ "${to#/}" != "$to" ] && [ -e "$there$to" ] && ln -sfn "$there$to" "$link"
    done
    for name in libopenblas.so libopenblas.so.0; do
        ln -sfn openblas-pthread/$name "$there/usr/lib/i386-linux-gnu/$name"
    done
    touch "$there/complete"
}

lib=$there/usr/lib/i386-linux-gnu
cross=$build/cross.txt
write_cross_file() {
    cat >"$cross" <<END
[binaries]
c = 'i686-linux-gnu-gcc'
ar = 'i686-linux-gnu-ar'
strip = 'i686-linux-gnu-strip'
pkgconfig = 'pkg-config'
[properties]
sys_root = '$there'
pkg_config_libdir = ['$lib/pkgconfig', '$lib/openblas-pthread/pkgconfig']
needs_exe_wrapper = false
[built-in options]
# sums in the registers of the 8087 have other bits
c_args = ['--sysroot=$there', '-msse2', '-mfpmath=sse', '-I$there/usr/include/i386-linux-gnu/openblas-pthread']
c_link_args = ['--sysroot=$there', '-Wl,--dynamic-linker=$there/lib/ld-linux.so.2']
[host_machine]
system = 'linux'
cpu_family = 'x86'
cpu = 'i686'
endian = 'little'
END
}

[ -f "$there/complete" ] || unpack_libraries || exit 1
write_cross_file
configure build-i386/build --cross-file "$cross" -Dexamples=false && compile build-i386/build || exit 1
export LD_LIBRARY_PATH="$there/lib/i386-linux-gnu:$lib"
log=build-i386/build/meson-logs/testlog.txt
rm -f "$log"
meson test -C build-i386/build --no-rebuild --print-errorlogs --suite library "$@"
status=$?
awk -v status=$status -f tests/totals.awk "$log"
