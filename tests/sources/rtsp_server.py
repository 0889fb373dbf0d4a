"""An RTSP server on loopback, run as a process of its own so that a test can kill it:

    python rtsp_server.py PORT [USER PASSWORD]

serves /thermal (grey ball, 320x256) and /rgb (colour ball, 640x480) at 30 Hz in H.264, and /clip, the thermal video
that ships, as it is; says "ready" on stdout.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

ENCODE = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph264pay name=pay0 pt=96 config-interval=1"
STREAMS = {
    "/thermal": "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=320,height=256,framerate=30/1",
    "/rgb": "videotestsrc is-live=true pattern=ball background-color=0xff204060"
    " ! video/x-raw,format=I420,width=640,height=480,framerate=30/1",
}
SAMPLE = Path(__file__).resolve().parents[2] / "streamfuse/samples/heli041/thermal.mp4"
CLIP = f"filesrc location={SAMPLE} ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1"


def serve(port: str, login: list[str]) -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(port)
    if login:
        server.set_auth(_password(*login))
    streams = {path: f"{launch} ! {ENCODE}" for path, launch in STREAMS.items()}
    for path, launch in {**streams, "/clip": CLIP}.items():
        factory = GstRtspServer.RTSPMediaFactory.new()
        factory.set_launch(f"( {launch} )")
        factory.set_shared(True)
        if login:
            factory.get_permissions() or factory.set_permissions(_permissions())
        server.get_mount_points().add_factory(path, factory)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


def _password(user: str, password: str) -> GstRtspServer.RTSPAuth:
    auth = GstRtspServer.RTSPAuth.new()
    token = GstRtspServer.RTSPToken.new()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    return auth


def _permissions() -> GstRtspServer.RTSPPermissions:
    permissions = GstRtspServer.RTSPPermissions.new()
    for right in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role("viewer", right, True)
    return permissions


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
