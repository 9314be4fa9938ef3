#!/bin/sh
# The set-up of examples/run.sh on machines that are not at hand: a copy of the script runs with a PATH that holds a few
# basic tools and stubs, which note how they were called.
. "$(dirname "$0")/common.sh"
unset CC

mkdir -p "$tmp/project/examples" "$tmp/project/tests"
sed "s|/usr/share/datasets|$tmp/datasets|" "$root/examples/run.sh" >"$tmp/project/examples/run.sh" # none are there
cp "$root/tests/setup.sh" "$root/tests/run.sh" "$tmp/project/tests"

# stub NAME SCRIPT: a command that notes its call and then does as the script says
stub() {
    rm -f "$tmp/bin/$1"
    printf '#!/bin/sh\necho "%s $*" >>"%s/calls"\n%s\n' "$1" "$tmp" "$2" >"$tmp/bin/$1"
    chmod +x "$tmp/bin/$1"
}

# A machine with nothing but apt-get, used by UID.
bare_machine() {
    rm -rf "$tmp/bin" "$tmp/project/build"
    mkdir "$tmp/bin"
    for name in sh env cat mkdir rm sed dirname chmod; do ln -s "$(command -v $name)" "$tmp/bin/$name"; done
    stub id "echo $1"
    stub apt-get ''
}

# The same with all that is needed. Its meson makes an autoencoder that prints its options.
whole_machine() {
    bare_machine "$1"
    for name in cc gcc ninja; do stub $name ''; done
    stub pkg-config 'echo 1.0'
    stub meson '
        case $1 in
            setup) shift $(($# - 1)) && mkdir -p "$1/meson-private" "$1/examples" && : >"$1/build.ninja" ;;
            compile) printf "#!/bin/sh\necho $4 with \"\$*\"\n" >"$3/examples/$4" && chmod +x "$3/examples/$4" ;;
        esac'
}

# on_it STATUS COMMAND...: run a command there, which must end with this status
on_it() {
    expected=$1
    shift
    : >"$tmp/calls"
    (cd "$tmp/project" && PATH=$tmp/bin "$tmp/bin/sh" "$@") >"$tmp/output" 2>&1 </dev/null
    status=$?
    [ $status = "$expected" ] || wrong "status $status instead of $expected"
}

wrong() {
    echo "output:" && sed 's/^/    /' "$tmp/output"
    echo "calls:" && sed 's/^/    /' "$tmp/calls"
    fail "$case: $*"
}
prints() { grep -qF -e "$1" "$tmp/output" || wrong "did not print: $1"; }
calls() { grep -qE -e "$1" "$tmp/calls" || wrong "did not call: $1"; }
calls_not() { ! grep -qE -e "$1" "$tmp/calls" || wrong "called: $1"; }

needed='gcc libc6-dev meson ninja-build pkg-config libopenblas-dev zlib1g-dev libpng-dev libcjson-dev libzip-dev libprotobuf-c-dev protobuf-c-compiler'

case="a bare machine, as root"
bare_machine 0
on_it 1 examples/run.sh --data shapes # the stub installs nothing, so the build fails later
prints "installing: $needed"
calls '^apt-get update'
calls "^apt-get install -y .* $needed\$"

case="a bare machine, by sudo"
bare_machine 1000
stub sudo 'shift; exec "$@"' # away with -n
on_it 1 examples/run.sh --data shapes
calls '^sudo -n env .*apt-get install'
calls "^apt-get install -y .* $needed\$"

case="a bare machine without sudo"
bare_machine 1000
on_it 1 examples/run.sh --data shapes
prints "there is no sudo"
prints "apt-get install $needed"
calls_not apt-get

case="a machine without apt-get"
bare_machine 0
rm "$tmp/bin/apt-get"
on_it 1 examples/run.sh --data shapes
prints "there is no apt-get"
prints "apt-get install $needed"

case="apt-get fails"
bare_machine 0
stub apt-get 'echo no such package; exit 100'
on_it 1 examples/run.sh --data shapes
prints "no such package"
prints "apt-get install $needed"

case="no network"
bare_machine 0
stub apt-get '
    i=0
    while [ $i -lt 250 ]; do
        echo "Err:$i http://deb.debian.org/debian bookworm InRelease"
        echo "W: Failed to fetch http://deb.debian.org/$i  Temporary failure resolving deb.debian.org" >&2
        i=$((i + 1))
    done
    echo "E: Unable to locate package meson" >&2
    exit 100'
on_it 1 examples/run.sh
prints "installing: $needed"
prints "$needed; and then, if it can be had: dataset-fashion-mnist"
prints "Failed to fetch http://deb.debian.org/0  Temporary failure resolving deb.debian.org"
prints "apt-get install $needed dataset-fashion-mnist"
[ "$(wc -l <"$tmp/output")" -le 10 ] || wrong "more than ten lines"
calls_not 'install .*dataset' # it would fail as well

case="apt-get's progress"
bare_machine 0
stub apt-get '
    for i in 0 1 2 3 4 5 6 7 8 9; do echo "dlstatus:1:${i}7.5000:Retrieving file $i of 10"; done
    echo "Preparing to unpack meson"
    for i in 0 1 2 3 4 5 6 7 8 9; do echo "pmstatus:meson:${i}1.2500:Unpacking meson"; done'
packages='. tests/setup.sh; needs meson false; require_packages; say went on'
on_it 0 -uc "$packages"
prints "  downloading 75 %"
prints "  installing 25 %"
prints "went on"
[ "$(wc -l <"$tmp/output")" -le 18 ] || wrong "more than a line for each quarter"
if script -qec true /dev/null >/dev/null 2>&1; then
    ln -s "$(command -v script)" "$tmp/bin/script"
    printf '%s\n' "$packages" >"$tmp/project/packages.sh"
    on_it 0 -c 'SHELL=$(command -v sh) script -qec "sh -u packages.sh" /dev/null'
    prints "$(printf '\r\033[K  installing  91 %%  Unpacking meson')"
    [ "$(wc -l <"$tmp/output")" = 2 ] || wrong "on a terminal, the progress is not one line"
fi

case="help on a bare machine"
bare_machine 0
on_it 0 examples/run.sh --data shapes --help
prints "usage: sh examples/run.sh [options]"
calls_not .
on_it 0 tests/run.sh --help
prints "    sh tests/run.sh [--sanitize]"
calls_not .

case="a machine that has all"
whole_machine 1000
on_it 0 examples/run.sh --data shapes --epochs 1
prints "autoencoder with --data shapes --epochs 1"
calls '^meson setup build'
calls_not '^(apt-get|sudo)'

case="the second time"
on_it 0 examples/run.sh --data shapes
prints "autoencoder with --data shapes"
calls_not '^(apt-get|sudo|meson setup)'

case="another program"
on_it 0 examples/run.sh vae --data shapes
prints "vae with --data shapes"
on_it 0 examples/run.sh deconv explain --kernel 3
prints "deconv with explain --kernel 3"

(cd "$tmp/project" && PATH=$tmp/bin "$tmp/bin/sh" examples/run.sh deconv 2>/dev/null) >"$tmp/output"
[ "$(cat "$tmp/output")" = "deconv with " ] || wrong "the build is on the program's standard output"

case="a program that is not there"
on_it 2 examples/run.sh vea --data shapes
prints "there is no program 'vea'"
calls_not .

case="a broken build folder"
rm "$tmp/project/build/build.ninja"
on_it 0 examples/run.sh --data shapes
calls '^meson setup build'

case="more packages than before"
whole_machine 1000
stub pkg-config 'case $* in *criterion*) exit 1 ;; *) echo 1.0 ;; esac'
again='. tests/setup.sh; root=/somewhere; configure build && compile build autoencoder'
on_it 0 -uc "$again"
calls '^meson setup build'
: >"$tmp/project/build/an-object"
stub pkg-config 'echo 1.0'
on_it 0 -uc "$again"
[ -e "$tmp/project/build/an-object" ] || wrong "everything is compiled again"
calls '^meson configure --clearcache build'
calls '^meson setup --reconfigure build'
! grep -q 'broken\|anew' "$tmp/output" || wrong "calls it broken"
on_it 0 -uc "$again"
calls_not '^meson setup'

case="another compiler than before"
on_it 0 -uc "CC=clang; $again"
prints "making it anew"
[ ! -e "$tmp/project/build/an-object" ] || wrong "objects of another compiler are kept"

case="another library"
whole_machine 0
stub pkg-config 'case $* in *png*) exit 1 ;; *) echo 1.0 ;; esac'
on_it 0 examples/run.sh --data shapes
prints "installing: libpng-dev"
calls '^apt-get install .* libpng-dev$'

case="an optional package that cannot be had"
bare_machine 0
stub apt-get 'exit 100'
optional='. tests/setup.sh; needs a-data-set false; want_packages build; say went on'
on_it 0 -uc "$optional"
calls '^apt-get install .* a-data-set$'
prints "going on without optional packages:  apt-get install a-data-set"
prints "went on"

case="an optional package that could not be had the last time"
on_it 0 -uc "$optional"
calls_not '^apt-get'
prints "going on without optional packages"
