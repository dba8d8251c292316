# only_while_watched with a real camera: closed while nobody watches, open within a second of a viewer's report,
# closed again after the last one has left. One boot.
# shellcheck shell=dash source=tests/lab/guest/lib.sh disable=SC2010,SC2016,SC2034,SC2086,SC2317
. /lab/lib.sh
modprobe vhci_hcd
modprobe uvcvideo
group=239.1.2.3:10000

# is_open: whether the sender has the camera open.
is_open() { ls -l /proc/$sender/fd 2>/dev/null | grep -q '/dev/video'; }
# becomes open|closed TENTHS: waits so long for it.
becomes() {
    for i in $(seq "$2"); do
        if is_open; then state=open; else state=closed; fi
        [ $state = "$1" ] && return
        usleep 100000
    done
    return 1
}
# log_has WORDS: waits until the sender says so.
log_has() {
    for i in $(seq 100); do grep -qF -- "$1" /tmp/probe.log && return; usleep 50000; done
    return 1
}
# watch: a viewer in the background.
watch() {
    rm -f /tmp/view.json
    lancam view $group --interface lo --headless --stats /tmp/view.json >/tmp/view.log 2>&1 &
    viewer=$!
}
# leave: the viewer says goodbye.
leave() {
    kill $viewer
    wait $viewer
}
seen() { tail -n 1 /tmp/view.json | grep -o '"frames_whole":[0-9]*' | cut -d: -f2; }
sees() {
    for i in $(seq 100); do [ -s /tmp/view.json ] && [ "$(seen)" -ge 5 ] && return; usleep 100000; done
    return 1
}

echo "== a camera that is open only while somebody watches"
plugged vga
echo "(streams: [(source: Camera(device: \"/dev/video0\", fps: 10), group: \"$group\", interface: \"lo\", only_while_watched: true)])" >/tmp/watched.ron
lancam send --config /tmp/watched.ron --stats /tmp/send.json >/tmp/probe.log 2>&1 &
sender=$!
check "it starts without a viewer" 'log_has "stays closed until somebody watches"'
sleep 3
check "the camera is closed" '! is_open'
watch
check "a viewer reports" 'log_has "1 viewer reports"'
check "the camera is open within a second" 'becomes open 10'
check "the viewer sees frames" 'sees'
leave
check "the viewer left" 'log_has "0 viewers report"'
check "the camera stays open for one that comes again" 'is_open'
check "then it is closed" 'becomes closed 150'
check "and that is said" 'log_has "camera closed: nobody watches"'
watch
check "for the next viewer it is opened again" 'becomes open 40'
check "who sees frames" 'sees'
kill $sender
wait $sender
check "the sender ends with 0" '[ $? = 0 ]'
leave
unplugged
done_with_job
