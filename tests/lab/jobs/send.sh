# lancam from the camera to the viewer: what is sent arrives, what is broken is counted, and the
# stream outlives its camera. One boot.
# shellcheck shell=dash source=tests/lab/guest/lib.sh disable=SC2016,SC2034,SC2086,SC2317
. /lab/lib.sh
modprobe vhci_hcd
modprobe uvcvideo
modprobe vivid node_types=0x1 num_inputs=1 input_types=0x0 vid_cap_nr=10
cam=/tmp/cam
group=239.1.2.3:10000

# sender ARG...: in the background, statistics to /tmp/send.json. Returns when it sends.
sender() {
    rm -f /tmp/send.json
    lancam send --group $group --interface lo --stats /tmp/send.json "$@" >/tmp/send.log 2>&1 &
    sender=$!
    sends 1
}

# sends COUNT: waits until so many frames were sent.
sends() {
    for i in $(seq 300); do
        [ -s /tmp/send.json ] && [ "$(counter frames_sent)" -ge "$1" ] && return
        usleep 100000
    done
    echo "FAIL  no $1 frames were sent"
    failures=$((failures + 1))
}

# watch FRAMES FOLDER: records and compares.
watch() {
    rm -f /tmp/out.mjpeg
    timeout 60 lancam view $group --interface lo --headless --frames "$1" --record /tmp/out.mjpeg --stats /tmp/view.json >/tmp/view.log 2>&1
    status=$?
    capture_probe compare /tmp/out.mjpeg "/lab/files/$2" >/tmp/probe.log 2>&1
    sum=$(grep '^sum ' /tmp/probe.log)
    cat /tmp/send.log /tmp/view.log >>/tmp/probe.log
    tail -n 1 /tmp/view.json >>/tmp/probe.log
    frames=0 scan=0 disorder=0 whole=0
    eval "${sum#sum }"
}

# stop: ends the sender as a supervisor does.
stop() {
    kill $sender
    wait $sender
    ended=$?
    cat /tmp/send.log >/tmp/probe.log
    tail -n 1 /tmp/send.json | tee -a /tmp/probe.log >"/lab/out/send-$((sent = sent + 1)).json"
}
sent=0

# counter NAME: from the sender's last statistics.
counter() { tail -n 1 /tmp/send.json | grep -o "\"$1\":[0-9]*" | head -n 1 | cut -d: -f2; }
lost() { tail -n 1 /tmp/view.json | grep -o '"packets_lost":[0-9]*' | cut -d: -f2; }

echo "== scans on the viewer are the camera's"
plugged vga
sender --source /dev/video0 --fps 10
watch 40 vga
check "640x480: 40 frames, their scans byte for byte" '[ $status = 0 ] && [ $frames -ge 39 ] && [ $scan = $frames ]'
check "no packet lost" '[ "$(lost)" = 0 ]'
stop
check "sender ends with 0" '[ $ended = 0 ]'

echo "== frames that a visitor of the page reads from the camera's own buffers"
sender --source /dev/video0 --fps 10 --status 127.0.0.1:8080
wget -q -O /tmp/page.mjpeg http://127.0.0.1:8080/stream.mjpg &
visitor=$!
watch 40 vga
check "the viewer's scans are the camera's" '[ $status = 0 ] && [ $scan = $frames ]'
# Unplugged while one may be lent.
(sleep 1; echo unplug >$cam; sleep 3; echo plug >$cam) &
watch 40 vga
check "and so they are when it was away" '[ $scan -ge 20 ]'
kill $visitor
wait $visitor
eval "$(capture_probe compare /tmp/page.mjpeg /lab/files/vga | sed -n 's/^sum //p')"
# The slates are none of the camera's, and the last picture may be cut.
check "the visitor's scans too ($scan of $frames)" '[ $scan -ge 20 ] && [ $whole -le 12 ]'
stop
check "sender ends with 0" '[ $ended = 0 ]'

echo "== the gate at work"
sender --source /dev/video0 --fps 10
echo nodht 5 >$cam; sleep 1
echo junk 5 >$cam; sleep 1
echo truncate 5 >$cam; sleep 1
echo noeoi 5 >$cam
watch 15 vga
check "what passes is whole" '[ $scan = $frames ]'
stop
check "without Huffman tables: completed ($(counter dht_completed))" '[ "$(counter dht_completed)" -ge 4 ]'
check "padded: trimmed ($(counter padding_trimmed))" '[ "$(counter padding_trimmed)" -ge 4 ]'
check "cut short: dropped ($(counter truncated))" '[ "$(counter truncated)" -ge 4 ]'
check "without EOI: completed ($(counter eoi_completed))" '[ "$(counter eoi_completed)" -ge 4 ]'
check "nothing encoded again" '[ "$(counter reencoded)" = 0 ]'

echo "== unplugged and plugged in: one stream"
sender --source /dev/video0 --fps 10
(sleep 3; echo unplug >$cam; sleep 4; echo plug >$cam) &
watch 60 vga
stop
cards=$whole
check "frames, cards ($cards), frames again" '[ $cards -ge 2 ] && [ $cards -le 8 ] && [ $scan -ge 40 ]'
check "no packet lost over it" '[ "$(lost)" = 0 ]'
check "the same SSRC and sequence all the time" '[ "$(grep -c "receiving from" /tmp/view.log)" = 1 ] && ! grep -qE "restarted|now at|switched" /tmp/view.log'
says "said" "was unplugged"
says "and that it works again" "the camera works again"

echo "== system calls"
rm -f /tmp/send.json
strace -f -c -o /lab/out/strace.txt sh -c "echo \$\$ >/tmp/pid; exec lancam send --group $group --interface lo --pacing off --source /dev/video0 --fps 10 --stats /tmp/send.json" >/tmp/probe.log 2>&1 &
tracer=$!
sends 80
kill "$(cat /tmp/pid)"
wait $tracer
calls() { awk -v name="$1" '$NF == name {print $4; found = 1} END {if (!found) print 0}' /lab/out/strace.txt; }
lent=$(counter frames_sent)
echo "      $lent frames: $(calls poll) poll, $(calls ioctl) ioctl, $(calls sendmmsg) sendmmsg"
# poll: the thread that waits for signals has some, too. ioctl: some 60 to open, map and close. Under strace
# the sender may come too late for a frame, and give it back unsent.
# Besides the frames: announcements and reports, a dozen in this time, from threads of their own.
check "sendmmsg once a frame" '[ $lent -ge 80 ] && [ $(calls sendmmsg) -le $((lent + 20)) ]'
check "DQBUF and QBUF once a frame" '[ $(calls ioctl) -le $((2 * (lent + $(counter frames_dropped)) + 110)) ]'

echo "== what only a person can mend is said in words"
# A user who is not in the group video; the guest knows none.
echo "nobody:x:65534:65534::/tmp:/bin/sh" >/etc/passwd
chmod 600 /dev/video0
cp "$(command -v lancam)" /tmp/theirs
chmod 755 /tmp/theirs
timeout 3 su nobody -c "exec /tmp/theirs send --source /dev/video0 --group $group --interface lo" >/tmp/probe.log 2>&1
says "no permission: the video group is named" "add the user to the video group"
# No simulated bus runs out of bandwidth: the kernel's answer to the start of the stream is replaced by
# what it says then, on the stream thread's own count of ioctl calls.
trace="strace -f -o /tmp/calls -e trace=ioctl"
timeout -s INT 10 $trace lancam send --source /dev/video0 --group $group --interface lo >/dev/null 2>&1
nth=$(awk '/ioctl/ {n[$1]++} /VIDIOC_STREAMON/ {print n[$1]; exit}' /tmp/calls)
timeout -s INT 10 $trace -e "inject=ioctl:error=ENOSPC:when=$nth" lancam send --source /dev/video0 --group $group --interface lo >/tmp/probe.log 2>&1
says "no space left on the bus: USB bandwidth is named" "the USB bus has no bandwidth left for /dev/video0"
unplugged

echo "== 1280x720, DRI"
plugged hd
sender --source /dev/video0 --fps 10
watch 30 hd
check "1280x720: scans byte for byte" '[ $frames -ge 29 ] && [ $scan = $frames ] && [ "$(lost)" = 0 ]'
stop
unplugged
plugged dri
sender --source /dev/video0 --fps 10
watch 30 dri
check "restart markers: scans byte for byte" '[ $frames -ge 29 ] && [ $scan = $frames ] && [ "$(lost)" = 0 ]'
stop

echo "== two cameras, one process, one of them failing"
cat >/tmp/two.ron <<'RON'
(streams: [
    (name: "usb", source: Camera(device: "/dev/video0", fps: 10), group: "239.1.2.3:10000", interface: "lo", pin: Some(0)),
    (name: "raw", source: Camera(device: "/dev/video10", size: (320, 180), fps: 10), group: "239.1.2.4:10000", interface: "lo", pin: Some(1)),
])
RON
lancam send --config /tmp/two.ron --stats /tmp/send.json >/tmp/send.log 2>&1 &
sender=$!
# What is injected before the stream has begun is lost.
(
    until grep -q "raw: camera /dev/video10" /tmp/send.log; do usleep 100000; done
    sleep 1
    v4l2-ctl -d /dev/video10 -c inject_v4l2_buf_flag_error=1
    sleep 1
    v4l2-ctl -d /dev/video10 -c inject_fatal_streaming_error=1
) &
watch 60 dri
check "the other does not notice" '[ $frames -ge 59 ] && [ $scan = $frames ] && [ "$(lost)" = 0 ]'
stop
says "the failing one is said" "Input/output error"
check "and its flagged frame counted" 'grep -q "\"flagged\":1" /tmp/send.json'

echo "== controls, changed by SIGHUP while the stream runs"
# brightness VALUE: writes a config with it.
brightness() {
    echo "(streams: [(source: Camera(device: \"/dev/video0\", fps: 10, controls: {\"brightness\": $1}), group: \"$group\", interface: \"lo\")])" >/tmp/hup.ron
}
# becomes VALUE: waits until the camera has it.
becomes() {
    for i in $(seq 100); do
        [ "$(v4l2-ctl -d /dev/video0 -C brightness)" = "brightness: $1" ] && return
        usleep 50000
    done
    return 1
}
# log_has WORDS: waits until the sender says so.
log_has() {
    for i in $(seq 100); do grep -qF -- "$1" /tmp/send.log && return; usleep 50000; done
    return 1
}
brightness 5
rm -f /tmp/send.json
lancam send --config /tmp/hup.ron --stats /tmp/send.json >/tmp/send.log 2>&1 &
sender=$!
sends 5
check "the config's value is set" 'becomes 5'
brightness 7
kill -HUP $sender
check "another after SIGHUP" 'becomes 7'
brightness 70000
kill -HUP $sender
check "a value out of range is refused, and what is allowed is said" 'log_has "70000"'
check "and the old one stays" 'becomes 7'
sends $(($(counter frames_sent) + 20))
stop
check "on one source, opened once" '[ "$(grep -c " to $group on " /tmp/send.log)" = 1 ]'
unplugged
done_with_job
