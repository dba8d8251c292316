#!/usr/bin/python3
"""GStreamer's RTSP server as a relay: serves the RTSP stream of its argument at rtsp://HOST:8554/test, packets made
again from the same JPEGs. What gst-rtsp-server's example test-launch does."""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
server = GstRtspServer.RTSPServer()
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(f"( rtspsrc location={sys.argv[1]} protocols=tcp latency=0 ! rtpjpegdepay ! rtpjpegpay name=pay0 pt=26 )")
factory.set_shared(True)
server.get_mount_points().add_factory("/test", factory)
server.attach(None)
print("ready", file=sys.stderr, flush=True)
GLib.MainLoop().run()
