# What the lab's jobs share. dash, inside the guest.
# shellcheck shell=dash disable=SC2034 # what the expressions of check, which are evaluated, may name

failures=0

# check WHAT CONDITION: one line; the condition is a test expression over the last summary.
check() {
    if eval "$2"; then
        echo "ok    $1"
    else
        failures=$((failures + 1))
        echo "FAIL  $1: $2 [${sum#sum }]"
        tail -n 40 /tmp/probe.log | sed 's/^/      /'
    fi
}

# says WHAT WORDS: whether the last probe said so.
says() {
    if grep -qF -- "$2" /tmp/probe.log; then
        echo "ok    $1"
    else
        failures=$((failures + 1))
        echo "FAIL  $1: nobody said '$2'"
        tail -n 40 /tmp/probe.log | sed 's/^/      /'
    fi
}

# probe ARG...: runs it and reads its summary into variables (frames, same, missed …) and $status.
probe() {
    frames=0 same=0 scan=0 padded=0 cut=0 flagged=0 whole=0 broken=0 missed=0
    disorder=0 allocations=0 unbroken=0 age=0 gap=0 took=0 fds=0 rss=0
    capture_probe "$@" >/tmp/probe.log 2>&1
    status=$?
    cp /tmp/probe.log "/lab/out/probe-$((runs = runs + 1)).log"
    sum=$(grep '^sum ' /tmp/probe.log)
    eval "${sum#sum }"
}
runs=0

# plugged FOLDER [uvcsim options]: starts a simulated camera, commands to /tmp/cam.
plugged() {
    folder=$1
    shift
    uvcsim -f "/lab/files/$folder" -c /tmp/cam "$@" >>/tmp/uvcsim.log 2>&1 &
    camera=$!
    appears /dev/video0
}

# unplugged: ends the simulated camera.
unplugged() {
    echo quit >/tmp/cam
    wait "$camera"
    vanishes /dev/video0
    rm -f /tmp/cam
}

appears() {
    for i in $(seq 500); do [ -e "$1" ] && return; usleep 10000; done
    echo "FAIL  $1 did not appear"
    failures=$((failures + 1))
}

vanishes() {
    for i in $(seq 500); do [ -c "$1" ] || return 0; usleep 10000; done
    echo "FAIL  $1 did not vanish"
    failures=$((failures + 1))
}

# by_id: what udev does for the simulated camera, until killed. The guest has no udev.
by_id() {
    name=usb-lab_LAB_UVC_camera_LAB0001-video-index0
    mkdir -p /dev/v4l/by-id
    while usleep 50000; do
        node=
        for entry in /sys/class/video4linux/video*; do
            [ "$(cat "$entry/index" 2>/dev/null)" = 0 ] && grep -q UVC "$entry/name" && node=/dev/${entry##*/}
        done
        if [ -z "$node" ]; then
            rm -f "/dev/v4l/by-id/$name"
        elif [ "$(readlink "/dev/v4l/by-id/$name")" != "$node" ]; then
            ln -sfn "$node" "/dev/v4l/by-id/$name"
        fi
    done
}

# done_with_job: the job's status.
done_with_job() {
    [ "$failures" -eq 0 ]
    exit $?
}
