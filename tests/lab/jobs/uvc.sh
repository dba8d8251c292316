# A USB camera over uvcvideo: frames, faults, unplugging. One boot.
# shellcheck shell=dash source=tests/lab/guest/lib.sh disable=SC2016,SC2034,SC2086,SC2317
. /lab/lib.sh
modprobe vhci_hcd
modprobe uvcvideo
vga=/lab/files/vga
cam=/tmp/cam

plugged vga -y
# Ten frames a second where frames are counted, and no exact count of the missed ones, nor a limit
# for one frame's age: the machine under the emulation may stand still for some frames. Order tells
# whether the missed ones were counted: see the probe.
echo "== what is sent is what is lent"
probe /dev/video0 expect=$vga frames=60 fps=10
check "every frame byte for byte, in order, none missed for two seconds and more" '[ $same = 60 ] && [ $disorder = 0 ] && [ $unbroken -ge 20 ]'
probe /dev/video0 expect=$vga frames=100
check "30 a second: byte for byte, what is missed is counted" '[ $same = 100 ] && [ $disorder = 0 ]'
check "no allocation per frame" '[ $allocations = 0 ]'
says "says what was agreed on" "MJPG 640x480 at 30 fps, sent as it is"

echo "== headers and tails that real cameras have"
probe /dev/video0 expect=$vga frames=30 fps=10 "at:10=echo nodht 10 >$cam"
check "without Huffman tables" '[ $scan -ge 8 ] && [ $((same + scan)) = 30 ] && [ $disorder = 0 ]'
probe /dev/video0 expect=$vga frames=30 fps=10 "at:10=echo junk 10 >$cam"
check "with padding" '[ $padded -ge 8 ] && [ $((same + padded)) = 30 ] && [ $disorder = 0 ]'
probe /dev/video0 expect=$vga frames=30 fps=10 "at:10=echo noeoi 5 >$cam"
check "without EOI" '[ $cut -ge 3 ] && [ $((same + cut)) = 30 ] && [ $disorder = 0 ]'

echo "== faults"
probe /dev/video0 expect=$vga frames=100 fps=15 "at:5=echo every 20 truncate >$cam"
check "5 % truncated: lent as they are, the others whole" '[ $cut -ge 3 ] && [ $cut -le 7 ] && [ $((same + cut)) = 100 ] && [ $disorder = 0 ]'
echo every 0 >$cam
for fault in error empty huge; do
    probe /dev/video0 expect=$vga frames=25 fps=10 "at:10=echo $fault 3 >$cam"
    check "$fault: what the driver drops is counted as missed" '[ $missed -ge 3 ] && [ $same = 25 ] && [ $disorder = 0 ]'
done
probe /dev/video0 expect=$vga frames=25 fps=10 "at:10=echo corrupt 3 >$cam"
check "noise inside a frame is the gate's business" '[ $same -ge 22 ] && [ $same -lt 25 ] && [ $((same + broken + whole)) = 25 ]'
probe /dev/video0 expect=$vga frames=25 fps=10 "at:10=echo noeof 3 >$cam"
check "frames whose end is not marked" '[ $same -ge 22 ]'

echo "== silence"
probe /dev/video0 expect=$vga frames=40 "at:10=echo stall 1000 >$cam"
check "1 s without a frame is no reason to reopen" '[ $same = 40 ] && [ $gap -ge 900 ]'
probe /dev/video0 expect=$vga frames=60 "at:10=echo silent 4500 >$cam"
says "2 s without a frame: reopened, and said" "has sent no frame for 2 s"
check "cards meanwhile, then frames again" '[ $whole -ge 1 ] && [ $whole -le 5 ] && [ $((same + whole)) = 60 ]'

echo "== slow sender"
probe /dev/video0 expect=$vga frames=20 hold=150
check "takes the newest: frames are not old" '[ $age -lt 300 ] && [ $missed -gt 20 ] && [ $disorder = 0 ]'

echo "== controls and sizes"
probe /dev/video0 expect=$vga frames=10 set:Brightness=-7 set:contrast=50
grep -q "brightness=-7" /tmp/uvcsim.log; brightness=$?
check "set at the start" '[ $brightness = 0 ] && [ $same = 10 ]'
probe /dev/video0 set:brightness=65
says "a value out of range is refused with the range" '`brightness` cannot be 65: it takes -64 to 64'
check "and that is final" '[ $status = 1 ]'
probe /dev/video0 set:brightnes=1
says "an unknown control is refused with the known ones" 'no control `brightnes` (did you mean `brightness`?); it has '
probe /dev/video0 expect=$vga frames=10 size=1000x700
says "a size that it lacks: the nearest, and said" "has no 1000x700 in MJPG and gives 640x480; the nearest that it has: 640x480"
probe /dev/video0 expect=$vga frames=10 fps=12
says "a rate that it lacks" "cannot do 12 frames a second at this size and gives 10; it has 30, 15, 10"
probe /dev/video0 format=nv12
says "a format that it lacks" "/dev/video0 has no NV12: it offers MJPG, YUYV"
probe /dev/video0 format=yuyv frames=20
check "YUYV, encoded here" '[ $whole = 20 ] && [ $broken = 0 ] && [ $allocations = 0 ]'
says "and said" "YUYV 320x240 at 30 fps, encoded here"

echo "== what is no camera"
probe /dev/video1
says "the metadata node" "/dev/video1 is a metadata node, not a camera"
probe /dev/null
says "not a video device" "/dev/null is not a video device"
v4l2-ctl -d /dev/video0 --set-fmt-video=width=640,height=480,pixelformat=MJPG --stream-mmap=4 --stream-count=60 >/dev/null 2>&1 &
other=$!
usleep 500000
probe /dev/video0 expect=$vga frames=20
wait $other
says "a busy camera, by name" "another program has the camera (fuser -v /dev/video0 names it)"
check "is waited for" '[ $same -ge 10 ] && [ $((same + whole)) = 20 ]'

echo "== listed"
capture_probe list >/tmp/probe.log 2>&1
cp /tmp/probe.log /lab/out/list.txt
says "by name" "/dev/video0: LAB UVC camera"
says "with what needs no encoding" "MJPG, sent as it is, without encoding"
says "with rates" "640x480 at 30, 15, 10 fps"
says "with controls" "brightness: -64 to 64; now -7"
capture_probe list json >/lab/out/list.json 2>&1

echo "== system calls"
strace -f -c -o /lab/out/strace.txt capture_probe /dev/video0 expect=$vga frames=100 fps=10 quiet >/tmp/probe.log 2>&1
sum=$(grep '^sum ' /tmp/probe.log)
eval "${sum#sum }"
# Columns: share, seconds, microseconds a call, calls, errors (left empty where there are none), name.
calls() { awk -v name="$1" '$NF == name {print $4; found = 1} END {if (!found) print 0}' /lab/out/strace.txt; }
failed_calls() { awk -v name="$1" '$NF == name {print NF == 6 ? $5 : 0}' /lab/out/strace.txt; }
polls=$(calls poll) vain=$(failed_calls ioctl) ioctls=$(($(calls ioctl) - $(failed_calls ioctl)))
echo "      $frames frames, $missed missed: $polls poll, $ioctls ioctl, $vain more in vain"
# Some 25 calls open, query, map and close. After a late frame lancam looks for another, in vain or
# not: a frame found and given back counts as missed.
check "poll, DQBUF and QBUF a frame" '[ $frames = 100 ] && [ $polls -le 110 ] && [ $ioctls -le $((2 * (frames + missed) + 30)) ] && [ $vain -le 70 ]'

echo "== 20 times unplugged and plugged in"
probe /dev/video0 expect=$vga frames=100000 seconds=200 replug=20 fifo=$cam quiet
recovered=$(grep -o 'recovered=[0-9]*' /tmp/probe.log | cut -d= -f2 | sort -n)
worst=$(echo "$recovered" | tail -n 1) times=$(echo "$recovered" | wc -l)
field() { grep "^replug $1 " /tmp/probe.log | grep -o "$2=[0-9]*" | cut -d= -f2; }
echo "      worst recovery $worst ms; rss $(field 2 rss) -> $(field 20 rss) KiB, fds $(field 2 fds) -> $(field 20 fds)"
check "recovered 20 times, each within 1 s of the node's return" '[ $times = 20 ] && [ $worst -le 1000 ]'
check "no growth" '[ $(field 20 fds) = $(field 2 fds) ] && [ $(field 20 rss) -le $(($(field 2 rss) + 512)) ]'
unplugged

echo "== there later than the service, other node, other format"
(sleep 4; exec uvcsim -f /lab/files/vga -c /tmp/cam >>/tmp/uvcsim.log 2>&1) &
camera=$!
probe auto expect=$vga frames=40
says "the only camera there is, not there yet" "there is no camera: plug one in"
check "is waited for" '[ $whole -ge 1 ] && [ $((same + whole)) = 40 ]'
link=/dev/v4l/by-id/usb-lab_LAB_UVC_camera_LAB0001-video-index0
# An open file keeps the old node's number, so that the camera comes back under another one.
by_id &
udev=$!
appears $link
(exec sleep 6) </dev/video0 &
holder=$!
probe ${link##*/} expect=$vga frames=60 "at:10=readlink $link; echo unplug >$cam; (sleep 1; echo plug >$cam) &" "at:50=readlink $link"
check "replugged under another number, found by its by-id name" '[ $whole -ge 1 ] && [ $((same + whole)) = 60 ]'
check "which was another one" '[ "$(grep -c "^/dev/video" /tmp/probe.log)" = 2 ] && [ "$(grep "^/dev/video" /tmp/probe.log | sort -u | wc -l)" = 2 ]'
kill $udev $holder
rm -r /dev/v4l
echo quit >$cam
wait $camera
vanishes /dev/video0
rm -f $cam
plugged vga
probe /dev/video0 expect=/lab/files/hd frames=60 "at:10=echo unplug >$cam; echo dir /lab/files/hd >$cam; (sleep 1; echo plug >$cam) &"
says "back with another size: negotiated anew" "MJPG 1280x720"
check "and its frames are whole" '[ $same -ge 40 ]'
unplugged

echo "== 1280x720, DRI, isochronous"
plugged hd
probe /dev/video0 expect=/lab/files/hd frames=60
check "1280x720 byte for byte" '[ $same = 60 ] && [ $disorder = 0 ]'
unplugged
plugged dri
probe /dev/video0 expect=/lab/files/dri frames=40
check "with restart markers" '[ $same = 40 ] && [ $disorder = 0 ]'
unplugged
plugged vga -i
probe /dev/video0 expect=$vga frames=30
check "isochronous transfer" '[ $same = 30 ] && [ $disorder = 0 ]'
unplugged
done_with_job
