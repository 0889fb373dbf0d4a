"""Short ways to take items from a GstSource, and to have files and servers for it."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np

from streamfuse.frames import DroppedFrame, Frame, Modality
from streamfuse.sources.gstreamer import GstSource
from streamfuse.sources.gstreamer_spec import CameraSpec

LIVE = "videotestsrc is-live=true"


def take(source: GstSource, count: int | None = None) -> list[Frame | DroppedFrame]:
    """Open `source`, its first `count` items (all of them), close it."""
    with source as opened:
        return list(itertools.islice(opened, count))


def frames(modality: Modality, count: int | None = None, **asked: object) -> list[Frame]:
    return [item for item in take(GstSource(modality, CameraSpec(**asked)), count) if isinstance(item, Frame)]


def write_video(
    path: Path, pictures: Sequence[np.ndarray], *, codec: str, stored: str, given: str, **options: str
) -> Path:
    """`pictures` as a 30 Hz video; `stored` and `given` are FFmpeg's names of pixel formats."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options=options)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = stored
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format=given)))
        container.mux(stream.encode(None))
    return path


@contextmanager
def rtsp_server(*login: str, port: int | None = None) -> Generator[tuple[subprocess.Popen[str], int]]:
    """A serving process and its port; killed at the end."""
    port = port or free_port()
    script = Path(__file__).with_name("rtsp_server.py")
    server = subprocess.Popen([sys.executable, script, str(port), *login], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout
        assert server.stdout.readline() == "ready\n"
        yield server, port
    finally:
        server.kill()
        server.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
