# vivid: raw formats, multi-planar buffers, and the faults that its buttons inject; then two cameras
# at once. One boot.
# shellcheck shell=dash source=tests/lab/guest/lib.sh disable=SC2016,SC2034,SC2086,SC2317
. /lab/lib.sh
modprobe vivid n_devs=2 node_types=0x1,0x1 num_inputs=1,1 input_types=0x0,0x0 multiplanar=1,2 vid_cap_nr=10,11
appears /dev/video11
d=/dev/video10
press="v4l2-ctl -d $d -c"

echo "== raw formats, encoded"
for format in yuyv nv12 yu12 rgb3; do
    probe $d format=$format size=320x180 fps=15 frames=20
    check "$format" '[ $whole = 20 ] && [ $broken = 0 ] && [ $allocations = 0 ]'
done
probe $d sampling=422 size=640x360 fps=10 frames=15
check "4:2:2" '[ $whole = 15 ]'
says "the first raw format where there is no MJPEG" "YUYV 640x360 at 10 fps, encoded here"
probe $d format=mjpeg
says "MJPEG where there is none" "has no MJPEG: it offers"

echo "== multi-planar"
for format in yuyv nv12 rgb3; do
    probe /dev/video11 format=$format size=320x180 fps=15 frames=20
    check "$format" '[ $whole = 20 ] && [ $broken = 0 ]'
done

echo "== faults"
raw="$d format=yuyv size=320x180 fps=15"
# On a slow host the flagged buffer may be one that is skipped for a newer one: pressed again then.
for i in 1 2 3 4 5; do
    probe $raw frames=40 "at:10=$press inject_v4l2_buf_flag_error=1"
    if [ "$flagged" -gt 0 ] || [ "$missed" = 0 ]; then break; fi
done
check "a flagged frame is lent as such" '[ $flagged = 1 ] && [ $whole = 39 ]'
probe $raw frames=40 "at:10=$press inject_fatal_streaming_error=1"
# By DQBUF or by QBUF, whichever comes first.
says "a fatal error is said" ": Input/output error"
check "and the camera opened again" '[ $whole = 40 ] && [ $gap -ge 250 ]'
for call in reqbufs qbuf streamon; do
    $press inject_vidioc_${call}_error=1
    probe $raw frames=20
    check "$call fails once: opened again" '[ $whole = 20 ]'
    says "and said" "failed to start streaming: "
done
probe $raw frames=20 "at:10=$press inject_vidioc_qbuf_error=1"
says "a buffer that is not taken back" "failed to take a buffer back: "
check "opened again" '[ $whole = 20 ]'
$press percentage_of_dropped_buffers=40
probe $raw frames=40
check "dropped buffers are counted as missed" '[ $missed -ge 8 ] && [ $whole = 40 ]'
$press percentage_of_dropped_buffers=0
$press wrap_sequence_number=1
probe $raw frames=30
check "sequence numbers wrap" '[ $whole = 30 ] && [ $missed -lt 100 ]'
$press wrap_sequence_number=0

echo "== controls"
probe $raw frames=5 set:menu=1 set:integer_32_bits=-5 set:integer_64_bits=-5000000000 set:boolean=off set:string=abc
check "of every kind" '[ $whole = 5 ]'
v4l2-ctl -d $d -C menu,integer_32_bits,integer_64_bits,boolean,string >/tmp/probe.log
says "menu by number" "menu: 1"
says "64 bits" "integer_64_bits: -5000000000"
says "off" "boolean: 0"
says "text" "string: 'abc'"
probe $raw frames=5 "set:menu=Menu Item 4"
v4l2-ctl -d $d -C menu >/tmp/probe.log
says "menu by label" "menu: 4"
probe $raw set:menu=2
says "a hole in a menu, answered with its items" '`menu` cannot be 2: it takes 1 (Menu Item 1), 3 (Menu Item 3), 4 (Menu Item 4)'

echo "== gone and back"
probe $raw frames=60 "at:10=echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind; (sleep 2; echo vivid.0 >/sys/bus/platform/drivers/vivid/bind) &"
says "unbound" "was unplugged"
# Bound again, it gets its number and its format again.
check "bound again: cards, then frames" '[ $whole = 60 ] && [ $gap -ge 500 ]'
probe auto frames=1
says "several cameras, and none was named" "there are several cameras, name one of them as the device: /dev/video10, /dev/video11"

echo "== two at once, one of them failing"
modprobe vhci_hcd
modprobe uvcvideo
plugged vga
capture_probe /dev/video0 expect=/lab/files/vga fps=10 frames=80 >/lab/out/steady.log 2>&1 &
steady=$!
probe /dev/video11 format=yuyv size=320x180 fps=15 frames=60 \
    "at:10=v4l2-ctl -d /dev/video11 -c inject_fatal_streaming_error=1" \
    "at:30=v4l2-ctl -d /dev/video11 -c inject_fatal_streaming_error=1"
wait $steady
check "the failing one goes on" '[ $whole = 60 ] && [ $gap -ge 250 ]'
sum=$(grep '^sum ' /lab/out/steady.log)
eval "${sum#sum }"
cp /lab/out/steady.log /tmp/probe.log
check "the other does not notice" '[ $same = 80 ] && [ $disorder = 0 ] && [ $gap -lt 1000 ]'
unplugged

echo "== disconnected for good"
probe $raw frames=16 seconds=8 "at:10=$press disconnect=1"
says "said" "was unplugged"
check "the process stays up" '[ $status = 0 ]'
capture_probe list >/lab/out/list.txt 2>&1
done_with_job
