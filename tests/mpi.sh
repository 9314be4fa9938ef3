#!/bin/sh
# Data-parallel training by MPI: the same hash of the trained parameters for every number of ranks and threads, with OpenMPI and
# MPICH, across network namespaces, and after ranks were killed; and what is said when a rank is lost or differs.
#     sh tests/mpi.sh [--quick] [--kills N] [--only PART] [--build DIR] [--install]
# PART: table, resume, lost, differ, hosts, kills. --quick: a few cells of the table, five kills (2 to 3 minutes).
# --install: first apt-get install both MPIs, and ip for the namespaces. Namespaces need root, and are skipped and counted without.
set -u
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
build=$root/build quick= kills= only=
while [ $# -gt 0 ]; do
    case $1 in
        --quick) quick=yes ;;
        --install) apt-get install -y --no-install-recommends libopenmpi-dev openmpi-bin libmpich-dev mpich iproute2 openssh-client || exit 1 ;;
        --kills | --only | --build)
            [ $# -ge 2 ] || exit 2
            case $1 in
                --kills) kills=$2 ;;
                --only) only=$2 ;;
                --build) build=$(cd "$2" && pwd) || exit 1 ;;
            esac
            shift
            ;;
        *) sed -n '/^[^#]/q; s/^# \{0,1\}//; 2,$p' "$0" >&2 && exit 2 ;;
    esac
    shift
done
[ -n "$kills" ] || kills=${quick:+5}
[ -n "$kills" ] || kills=100
tmp=$(mktemp -d) || exit 1
passed=0 failed=0 skipped=0
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # the containers of CI
export OMPI_MCA_btl_vader_single_copy_mechanism=none              # which containers forbid
export OMPI_MCA_mpi_yield_when_idle=1                             # more ranks than cores
export LC_ALL=C

pass() { passed=$((passed + 1)); }
fails() { failed=$((failed + 1)) && echo "FAILED: $1"; }
skips() { skipped=$((skipped + 1)) && echo "skipped: $1"; }

# ---- programs ----

nets="autoencoder classifier wgan_gp"
options() {
    case $1 in
        autoencoder) echo --data shapes --limit 640 --epochs 2 --micro 16 ;;
        classifier) echo --data shapes --limit 520 --epochs 2 --micro 16 ;;
        synchronised) echo --data shapes --limit 520 --epochs 2 --micro 16 --sync-norms ;;
        wgan_gp) echo --data shapes --limit 320 --epochs 2 --micro 16 ;;
        longer) echo --data shapes --limit 640 --epochs 40 --micro 16 ;; # as long as it takes to be interrupted
    esac
}
program_of() { echo "$1" | sed 's/synchronised/classifier/; s/longer/autoencoder/'; }

# One file includes mpi.h. So a program for another MPI is that file, compiled for it, and the library with all else.
link_for_mpich() {
    mkdir -p "$tmp/mpich"
    mpicc.mpich -std=c17 -O2 -I"$root/ops" -I"$root/nn" -I"$build" -I"$root" -c "$root/nn/mpi/mpi.c" -o "$tmp/mpich/mpi.o" || return 1
    others=$(PKG_CONFIG_PATH=$build/meson-uninstalled pkg-config --static --libs pleat-uninstalled |
        tr ' ' '\n' | grep -v "mpi\|-lpleat\|^-L\|-Wl\|hwloc\|event\|open-" | tr '\n' ' ')
    # and one that says of itself that it was built otherwise
    mkdir -p "$tmp/other"
    sed 's/defined bits/other bits/' "$build/pleat_config.h" >"$tmp/other/pleat_config.h"
    cc -std=c17 -I"$tmp/other" -I"$root/ops" -I"$root/ops/kernels" -I"$root" -c "$root/ops/core/build_info.c" -o "$tmp/other/build_info.o" || return 1
    for name in $nets other; do
        more= source=$name
        [ $name != other ] || more=$tmp/other/build_info.o source=autoencoder
        cc -std=c17 -O2 -I"$root/ops" -I"$root/nn" -I"$root/ops/autograd" -I"$root/ops/kernels" "$root/examples/$source.c" $more "$root/examples/example.c" \
            "$root/examples/guess.c" "$root/examples/options.c" "$tmp/mpich/mpi.o" "$build/libpleat.a" $others -lm -pthread \
            $(mpicc.mpich -link_info | tr ' ' '\n' | grep "^-L\|^-l" | tr '\n' ' ') -o "$tmp/mpich/$name" || return 1
    done
}

flavours=
for flavour in openmpi mpich; do
    if ! command -v "mpirun.$flavour" >/dev/null; then
        skips "there is no mpirun.$flavour here: sh tests/mpi.sh --install"
    elif [ $flavour = mpich ] && ! link_for_mpich; then
        fails "no programs for MPICH"
    else
        flavours="$flavours $flavour"
    fi
done
[ -n "$flavours" ] || exit 77
mkdir -p "$tmp/openmpi"
for name in $nets; do ln -s "$build/examples/$name" "$tmp/openmpi/$name"; done

# launch FLAVOUR RANKS: the words in front of the program
launch() { [ "$1" = openmpi ] && echo mpirun.openmpi --oversubscribe -n "$2" || echo mpirun.mpich -n "$2"; }
hash_of() { sha256sum "$1" 2>/dev/null | cut -d' ' -f1; }

# reference NET: the hash of one process without mpirun
reference() {
    file=$tmp/$1.hash
    if ! [ -f "$file" ]; then
        "$tmp/${flavours##* }/$(program_of "$1")" $(options "$1") --threads 1 --out "$tmp/one" >"$tmp/log" 2>&1 || cat "$tmp/log" >&2
        hash_of "$tmp/one/$(program_of "$1").safetensors" >"$file"
    fi
    cat "$file"
}

# same NET FOLDER WHERE
same() {
    [ -n "$(reference "$1")" ] && [ "$(hash_of "$2/$(program_of "$1").safetensors")" = "$(reference "$1")" ] && pass && return
    fails "$1, $3: other parameters than one process has: $(tail -3 "$tmp/log")"
}

# ---- the table ----

table() {
    cells="1x1 2x1 3x1 5x1 8x1 1x2 2x2 3x2 5x2 8x2 1x4 2x4 3x4 5x4 8x4" which="$nets synchronised"
    [ -z "$quick" ] || cells="2x2 3x1 8x1"
    for flavour in $flavours; do
        for net in $which; do
            line=
            for cell in $cells; do
                ranks=${cell%x*} threads=${cell#*x}
                rm -rf "$tmp/out"
                timeout 300 $(launch "$flavour" "$ranks") "$tmp/$flavour/$(program_of "$net")" $(options "$net") --threads "$threads" \
                    --out "$tmp/out" >"$tmp/log" 2>&1
                same "$net" "$tmp/out" "$flavour, $ranks ranks, $threads threads"
                line="$line $cell $(hash_of "$tmp/out/$(program_of "$net").safetensors" | cut -c1-12)"
            done
            echo "$flavour $net:$line"
        done
    done
}

# ---- a rank that dies, hangs, or is another ----

# ranks_of NAME: the processes of this run's program, in the order of their ranks
ranks_of() {
    for pid in $(pgrep -x "$1"); do
        { tr '\0' '\n' <"/proc/$pid/environ"; } 2>/dev/null | sed -n "s/^\(OMPI_COMM_WORLD_RANK\|PMI_RANK\)=\([0-9]*\)$/\2 $pid/p"
    done | sort -n | cut -d' ' -f2
}

random() { od -An -N4 -tu4 /dev/urandom | awk -v n="$1" '{print $1 % n}'; }
wait_for() { # FILE WORDS SECONDS
    for _ in $(seq $(($3 * 20))); do
        grep -aq "$2" "$1" 2>/dev/null && return 0
        sleep 0.05
    done
    return 1
}

# kill_one NET FLAVOUR RANKS RESUMED: kill a random rank at a random moment; resume with another number
kill_one() {
    net=$1 name=$(program_of "$1")
    rm -rf "$tmp/out" "$tmp/log" "$tmp/killed"
    (timeout 300 $(launch "$2" "$3") "$tmp/$2/$name" $(options "$net") --threads 1 --out "$tmp/out" >"$tmp/killed" 2>&1) &
    [ "$(random 8)" = 0 ] || wait_for "$tmp/killed" "training and" 30 # one in eight before it trains
    sleep "$(random 2).$(printf %03d "$(random 1000)")"
    victim=$(ranks_of "$name" | sed -n "$(($(random "$3") + 1))p")
    training=$(grep -as "training and" "$tmp/killed" | wc -l)
    [ -n "$victim" ] && kill -KILL "$victim" 2>/dev/null || training=0
    wait $!
    lines=$(grep -ac "^rank [0-9]* (.*) has died; the run has ended on all $3 ranks" "$tmp/killed")
    [ "$training" = 0 ] || [ "$lines" = 1 ] || grep -aq "^written" "$tmp/killed" || echo "no line: $(tail -3 "$tmp/killed")"
    timeout 300 $(launch "$2" "$4") "$tmp/$2/$name" $(options "$net") --threads 1 --resume --out "$tmp/out" >"$tmp/log" 2>&1
    same "$net" "$tmp/out" "$2, a rank of $3 killed, resumed on $4"
    left=$(ranks_of "$name" | wc -l)
    [ "$left" = 0 ] || fails "$left processes are left"
    echo "$training $lines" >>"$tmp/kills"
}

kill_many() {
    : >"$tmp/kills"
    for i in $(seq "$kills"); do
        set -- $flavours
        shift $((i % $#))
        flavour=$1
        set -- autoencoder classifier wgan_gp
        shift $((i % 3))
        kill_one "$1" "$flavour" $((2 + $(random 4))) $((1 + $(random 5)))
    done
    awk -v n="$kills" '{while_training += $1 > 0; said += $2} END {print n " kills, " while_training " of them while it trained; " said " runs ended with the line about the rank that died"}' "$tmp/kills"
}

# lose FLAVOUR SIGNAL RANK WORDS SECONDS: the signal ends the run of three ranks so soon, with one line about that rank
lose() {
    rm -rf "$tmp/out" "$tmp/log"
    (timeout 60 $(launch "$1" 3) "$tmp/$1/autoencoder" --data shapes --limit 640 --epochs 5000 --micro 16 --timeout 2 --threads 1 \
        --out "$tmp/out" >"$tmp/log" 2>&1) &
    wait_for "$tmp/log" "epoch 1/5000: " 30
    victim=$(ranks_of autoencoder | sed -n "$(($3 + 1))p")
    start=$(date +%s)
    kill -"$2" "$victim"
    wait $!
    took=$(($(date +%s) - start))
    if [ "$1 $2" = "mpich KILL" ] && grep -aq "BAD TERMINATION" "$tmp/log" && ! grep -aq "^rank " "$tmp/log"; then
        skips "mpich has killed the others before one could say why"
        return
    fi
    [ "$(grep -ac "^rank " "$tmp/log")" = 1 ] && grep -aq "^rank $3 (process $victim on .*) $4.*; the run has ended on all 3 ranks" "$tmp/log" &&
        [ $took -le "$5" ] && pass || fails "$1: a rank that $4, after $took s: $(tail -5 "$tmp/log")"
    grep -a "^rank " "$tmp/log" | head -1
    kill -KILL "$victim" 2>/dev/null
}

lost() {
    for flavour in $flavours; do
        lose "$flavour" STOP 1 "has been silent for 2 s" 12
        lose "$flavour" KILL 2 "has died" 8
    done
}

# differs FLAVOUR WORDS OPTIONS...: rank 1 has these options
differs() {
    flavour=$1 words=$2
    shift 2
    rm -rf "$tmp/out"
    common="--data shapes --limit 64 --epochs 1 --micro 16 --threads 1 --out $tmp/out"
    timeout 60 $(launch "$flavour" 1) "$tmp/$flavour/autoencoder" $common : -n 1 "$tmp/$flavour/autoencoder" $common "$@" >"$tmp/log" 2>&1 &&
        fails "$flavour: ranks that differ train"
    grep -aq "$words" "$tmp/log" && [ "$(grep -ac "autoencoder: " "$tmp/log")" = 1 ] && pass || fails "$flavour: $(tail -3 "$tmp/log")"
    grep -a "autoencoder: " "$tmp/log"
}

# write_data FOLDER END: MNIST's four files, of 64 images each, from one end of some bytes
write_data() {
    mkdir -p "$1"
    for set in train t10k; do
        (printf '\000\000\010\003\000\000\000\100\000\000\000\034\000\000\000\034' && "$2" -c 50176 "$build/libpleat.a") >"$1/$set-images-idx3-ubyte"
        (printf '\000\000\010\001\000\000\000\100' && head -c 64 /dev/zero) >"$1/$set-labels-idx1-ubyte"
    done
}

differ() {
    for flavour in $flavours; do
        differs "$flavour" "rank 1 has other options than rank 0" --lr 0.1
        differs "$flavour" "rank 1 has other options than rank 0" --micro 8
        # the same words on both ranks, and other files behind them
        write_data "$tmp/here/data" head && write_data "$tmp/there/data" tail
        rm -rf "$tmp/out"
        common="--data data --epochs 1 --batch 16 --micro 8 --threads 1 --out $tmp/out"
        timeout 60 $(launch "$flavour" 1) -wdir "$tmp/here" "$tmp/$flavour/autoencoder" $common : -n 1 -wdir "$tmp/there" \
            "$tmp/$flavour/autoencoder" $common >"$tmp/log" 2>&1 && fails "$flavour: ranks with other data train"
        grep -aq "rank 1 has other training data" "$tmp/log" && pass || fails "$flavour: $(tail -3 "$tmp/log")"
        grep -a "autoencoder: " "$tmp/log"
    done
    [ -x "$tmp/mpich/other" ] || return
    common="--data shapes --limit 64 --epochs 1 --micro 16 --threads 1 --out $tmp/out"
    timeout 60 mpirun.mpich -n 1 "$tmp/mpich/autoencoder" $common : -n 1 "$tmp/mpich/other" $common >"$tmp/log" 2>&1 && fails "ranks of other builds train"
    grep -aq "rank 1 has another build" "$tmp/log" && pass || fails "another build: $(tail -3 "$tmp/log")"
    grep -a "autoencoder: " "$tmp/log"
}

# ---- a run that is interrupted ----

resume() {
    for flavour in $flavours; do
        rm -rf "$tmp/out" "$tmp/log"
        (timeout 60 $(launch "$flavour" 3) "$tmp/$flavour/autoencoder" $(options longer) --threads 1 --out "$tmp/out" >"$tmp/log" 2>&1) &
        wait_for "$tmp/log" "epoch 2/40: " 30
        pid=$(ranks_of autoencoder | sed -n 2p)
        kill -TERM "$pid" # one rank alone: all stop behind the same step
        wait $!
        grep -a "interrupted" "$tmp/log" || fails "$flavour: not interrupted: $(tail -3 "$tmp/log")"
        timeout 60 $(launch "$flavour" 2) "$tmp/$flavour/autoencoder" $(options longer) --threads 2 --resume --out "$tmp/out" >"$tmp/log" 2>&1
        same longer "$tmp/out" "$flavour, 3 ranks interrupted, resumed on 2"
    done
}

# ---- hosts: network namespaces, with a wire between any two ----

clean_hosts() {
    for i in 1 2 3; do ip netns del pleat$i 2>/dev/null; done
    ip link del pleatbr 2>/dev/null
}

make_hosts() {
    clean_hosts
    ip link add pleatbr type bridge && ip addr add 10.199.7.254/24 dev pleatbr && ip link set pleatbr up || return 1
    for i in 1 2 3; do
        ip netns add pleat$i && ip link add pleatv$i type veth peer name eth0 netns pleat$i && ip link set pleatv$i master pleatbr up &&
            ip -n pleat$i addr add 10.199.7.$i/24 dev eth0 && ip -n pleat$i link set eth0 up && ip -n pleat$i link set lo up || return 1
    done
    # in place of ssh: HOST COMMAND... A host has a name of its own: OpenMPI's daemons write into folders named after it.
    cat >"$tmp/enter" <<'END'
#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
host=pleat${1##*.} && shift
exec ip netns exec "$host" unshare --uts sh -c "echo $host >/proc/sys/kernel/hostname && $*"
END
    chmod +x "$tmp/enter"
}

hosts() {
    if [ "$(id -u)" != 0 ] || ! make_hosts 2>"$tmp/log"; then
        skips "network namespaces: $(head -1 "$tmp/log" 2>/dev/null)"
        clean_hosts
        return
    fi
    case $flavours in *openmpi*) ;; *) return ;; esac
    run="mpirun.openmpi --oversubscribe --mca plm_rsh_agent $tmp/enter --mca btl tcp,self --mca btl_tcp_if_include 10.199.7.0/24
        --mca oob_tcp_if_include 10.199.7.0/24 -H 10.199.7.1:2,10.199.7.2:2,10.199.7.3:2"
    for net in autoencoder classifier; do
        rm -rf "$tmp/out"
        timeout 120 $run -n 3 --map-by node "$tmp/openmpi/$net" $(options "$net") --threads 1 --out "$tmp/out" >"$tmp/log" 2>&1
        same "$net" "$tmp/out" "three hosts"
    done
    # a wire that is down for some seconds
    rm -rf "$tmp/out" "$tmp/log" "$tmp/killed"
    (timeout 120 $run -n 3 --map-by node "$tmp/openmpi/autoencoder" $(options autoencoder) --threads 1 --out "$tmp/out" >"$tmp/log" 2>&1) &
    for _ in $(seq 200); do [ "$(ranks_of autoencoder | wc -l)" -ge 3 ] && break || sleep 0.05; done
    sleep 0.7
    ip link set pleatv2 down
    sleep 4
    during=$(ranks_of autoencoder | wc -l)
    ip link set pleatv2 up
    wait $!
    same autoencoder "$tmp/out" "three hosts, a wire down for 4 s"
    echo "hosts: $during ranks were there while the wire was down"
    # a host that is cut off for good
    rm -rf "$tmp/out" "$tmp/log" "$tmp/killed"
    (timeout 120 $run -n 3 --map-by node "$tmp/openmpi/autoencoder" --data shapes --limit 640 --epochs 5000 --micro 16 --timeout 5 --threads 1 --out "$tmp/out" \
        >"$tmp/log" 2>&1) &
    wait_for "$tmp/log" "epoch 1/5000: " 60
    ip link set pleatv3 down
    wait_for "$tmp/log" "^rank " 30
    grep -aq "^rank 2 (.*) has been silent for 5 s" "$tmp/log" && pass || fails "a host that is cut off: $(tail -5 "$tmp/log")"
    grep -a "^rank " "$tmp/log"
    ip link set pleatv3 up
    sleep 2
    for pid in $(ranks_of autoencoder); do kill -KILL "$pid"; done
    wait $!
    clean_hosts
}

trap 'clean_hosts 2>/dev/null; rm -rf "$tmp"' EXIT
for part in table resume lost differ hosts kills; do
    [ -z "$only" ] || [ "$only" = $part ] || continue
    started=$(date +%s)
    case $part in
        kills) kill_many ;;
        *) $part ;;
    esac
    echo "== $part: $(($(date +%s) - started)) s"
done
echo "mpi.sh: $passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
