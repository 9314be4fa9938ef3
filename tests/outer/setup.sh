#!/bin/sh
# The set-up of examples/run.sh on machines that are not at hand: a copy of the script runs with a PATH that holds a few
# basic tools and stubs, which note how they were called.
. "$(dirname "$0")/common.sh"
unset CC

mkdir -p "$tmp/project/examples" "$tmp/project/tests"
cp "$root/examples/run.sh" "$tmp/project/examples"
cp "$root/tests/setup.sh" "$tmp/project/tests"

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
            setup) mkdir -p "$2/meson-private" "$2/examples" && : >"$2/build.ninja" ;;
            compile) printf "#!/bin/sh\necho options: \"\$*\"\n" >"$3/examples/autoencoder"
                chmod +x "$3/examples/autoencoder" ;;
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

needed='gcc libc6-dev meson ninja-build pkg-config libopenblas-dev zlib1g-dev libpng-dev libcjson-dev libzip-dev'

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

case="a machine that has all"
whole_machine 1000
on_it 0 examples/run.sh --data shapes --epochs 1
prints "options: --data shapes --epochs 1"
calls '^meson setup build'
calls_not '^(apt-get|sudo)'

case="the second time"
on_it 0 examples/run.sh --data shapes
prints "options: --data shapes"
calls_not '^(apt-get|sudo|meson setup)'

case="a broken build folder"
rm "$tmp/project/build/build.ninja"
on_it 0 examples/run.sh --data shapes
calls '^meson setup build'

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
