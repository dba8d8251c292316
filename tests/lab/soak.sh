# Ten minutes of a 640x480 camera at 30 frames a second, from uvcvideo to a viewer: is anything growing? Once a
# minute: memory and descriptors of both, and the delay that a fresh viewer sees over ten seconds. Not one of the
# jobs that tests run; `tests/bench soak` does.
# shellcheck shell=dash source=tests/lab/guest/lib.sh disable=SC2016,SC2034,SC2086,SC2317
. /lab/lib.sh
modprobe vhci_hcd
modprobe uvcvideo
group=239.1.2.3:10000
minutes=${1:-10}

# field NAME FILE: a number from the last statistics.
field() { tail -n 1 "$2" | grep -o "\"$1\":[0-9.]*" | head -n 1 | cut -d: -f2; }
rss() { awk '/^VmRSS/ {print $2}' "/proc/$1/status"; }
fds() { set -- "/proc/$1/fd"/*; echo $#; }

plugged vga
lancam send --source /dev/video0 --fps 30 --group $group --interface lo --stats /tmp/send.json >/tmp/send.log 2>&1 &
sender=$!
lancam view $group --interface lo --headless --stats /tmp/view.json >/tmp/view.log 2>&1 &
viewer=$!
for i in $(seq 300); do
    [ -s /tmp/view.json ] && [ "$(field frames_whole /tmp/view.json)" -gt 30 ] && break
    usleep 100000
done
echo "| minute | frames sent | lost by the viewer | sender RSS KB, fds | viewer RSS KB, fds | delay p50 ms | p99 ms |"
echo "|---|---|---|---|---|---|---|"
for minute in $(seq 0 "$minutes"); do
    timeout 60 lancam view $group --interface lo --headless --frames 300 --stats /tmp/fresh.json >/tmp/fresh.log 2>&1
    p50=$(field p50 /tmp/fresh.json)
    p99=$(field p99 /tmp/fresh.json)
    echo "| $minute | $(field frames_sent /tmp/send.json) | $(field frames_lost /tmp/view.json) | $(rss $sender), $(fds $sender) | $(rss $viewer), $(fds $viewer) | $p50 | $p99 |"
    if [ "$minute" = 0 ]; then
        first_rss=$(rss $sender) first_viewer=$(rss $viewer) first_fds=$(fds $sender) first_view_fds=$(fds $viewer) first_p50=$p50
        started=$(cut -d. -f1 /proc/uptime) first_frames=$(field frames_sent /tmp/send.json)
    fi
    [ "$minute" = "$minutes" ] || sleep 50
done
sum='' frames=$(field frames_sent /tmp/send.json)
seconds=$(($(cut -d. -f1 /proc/uptime) - started))
echo "$(((frames - first_frames) / seconds)) frames a second over $seconds s"
cat /tmp/send.log /tmp/view.log >/tmp/probe.log
check "the sender's memory is flat (256 KB)" '[ $(rss $sender) -le $((first_rss + 256)) ]'
check "the viewer's memory is flat (256 KB)" '[ $(rss $viewer) -le $((first_viewer + 256)) ]'
check "no descriptor more" '[ $(fds $sender) = $first_fds ] && [ $(fds $viewer) = $first_view_fds ]'
# In an emulated machine it goes up and down with the host's load; a drift would be frames long.
check "the delay has not drifted (a third of a frame)" '[ ${p50%.*} -le $((${first_p50%.*} + 11)) ]'
check "no frame lost" '[ $(field frames_lost /tmp/view.json) = 0 ]'
kill $sender $viewer
wait $sender
check "the sender ends with 0" '[ $? = 0 ]'
unplugged
done_with_job
