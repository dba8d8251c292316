//! Another network, by a relay that has both: docs/BEYOND-THE-LAN.md, run as it says.

use super::*;

/// The relay's address in the second network.
const RELAY: &str = "10.78.0.1";

/// A third host, on a second wire from the player's host, which becomes the relay.
fn far(scene: &Scene, test: &str) -> Option<Net> {
    let far = Net::unconnected(test)?;
    let relay = &scene.net.viewer;
    relay.run(&format!(
        "ip link add wire1 type veth peer name {INTERFACE} netns {}
         ip address add {RELAY}/24 dev wire1
         ip link set wire1 up",
        far.viewer.pid()
    ));
    far.viewer.run(&format!(
        "ip address add 10.78.0.2/24 dev {INTERFACE}
         ip link set {INTERFACE} up
         ip route add 224.0.0.0/4 dev {INTERFACE}"
    ));
    far.viewer.wait_for_link();
    Some(far)
}

#[test]
fn ffmpeg_relays_to_another_network() {
    let test = "ffmpeg_relays_to_another_network";
    let Some(scene) = Scene::usual(test, &[]) else {
        return;
    };
    if !common::net::can_enter(test) {
        return;
    }
    let Some(far) = far(&scene, test) else { return };
    let mut relay = scene.net.viewer.command("ffmpeg");
    relay.args(["-v", "error", "-nostdin", "-rtsp_transport", "tcp"]);
    relay.args(["-i", &format!("rtsp://{SERVER}/porch"), "-c", "copy"]);
    let group = format!("rtp://239.255.2.9:5000?ttl=1&localaddr={RELAY}");
    relay.args(["-f", "rtp", &group]);
    let _relay = Process::spawn("ffmpeg, the relay", relay);
    let out = scene.path("far.mjpeg");
    let view = format!(
        "view 239.255.2.9:5000 --interface {INTERFACE} --headless --frames {FRAMES} --record {}",
        out.display()
    );
    Process::spawn("lancam view", far.viewer.lancam(&view)).succeed();
    scene.assert_round("by ffmpeg", &split(&fs::read(&out).unwrap()));
}

#[test]
fn gstreamers_server_relays_to_another_network() {
    let test = "gstreamers_server_relays_to_another_network";
    let Some(scene) = Scene::usual(test, &[]) else {
        return;
    };
    if !common::net::can_enter(test) || !have_gst_server(test) {
        return;
    }
    let Some(far) = far(&scene, test) else { return };
    let mut relay = scene.net.viewer.command("/usr/bin/python3");
    relay.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rtsp/relay.py"));
    relay.arg(format!("rtsp://{SERVER}/porch"));
    let relay = Process::spawn("gst-rtsp-server", relay);
    relay.wait_for_message("ready");
    let url = format!("rtsp://{RELAY}:8554/test");
    for transport in ["tcp", "udp"] {
        let received = ffmpeg(&far.viewer, &url, transport, &scene.path("far.mjpeg"));
        scene.assert_round(&format!("by gst-rtsp-server, {transport}"), &received);
    }
}

fn have_gst_server(test: &str) -> bool {
    let script = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer";
    let mut python = std::process::Command::new("/usr/bin/python3");
    let is_there = python.args(["-c", script]).output();
    is_there.is_ok_and(|output| output.status.success())
        || common::skip(test, "GStreamer's RTSP server is not installed")
}
