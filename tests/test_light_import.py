"""Reading a stream is light: streamfuse loads numpy, pyzmq and msgspec, nothing heavier, and offers few names."""

from __future__ import annotations

import subprocess
import sys

import pytest

import streamfuse

HEAVY = ("torch", "cv2", "pydantic", "av", "yaml", "typer", "rich", "safetensors", "matplotlib", "openvino", "gi")


def loaded_by(statement: str) -> set[str]:
    listing = "import sys; print(*{name.split('.')[0] for name in sys.modules})"
    run = [sys.executable, "-c", f"{statement}; {listing}"]
    return set(subprocess.run(run, capture_output=True, text=True, check=True).stdout.split())


def test_importing_loads_three_libraries_and_nothing_heavy():
    loaded = loaded_by("from streamfuse import Subscriber")
    assert {"streamfuse", "numpy", "zmq", "msgspec"} <= loaded
    assert not loaded & set(HEAVY)


def test_a_raw_frame_is_read_without_opencv():
    statement = "import tests.test_light_import as here; here.read_one_frame()"
    assert "cv2" not in loaded_by(statement)


def read_one_frame() -> None:
    """Publish and read one frame in this process."""
    import numpy as np

    frame = streamfuse.FusedFrame(
        pixels=np.zeros((2, 3, 3), np.uint8),
        stream="fused",
        sequence=0,
        capture_ns=0,
        clock=streamfuse.Clock.ARRIVAL,
        state=streamfuse.State.FUSED,
        thermal=None,
        rgb=None,
        skew_ns=None,
    )
    publisher = streamfuse.Publisher("inproc://light", rig="gate")
    with publisher, streamfuse.Subscriber(publisher.endpoint) as subscriber:
        assert publisher.wait_for_subscriber(5)
        publisher.send(frame)
        assert subscriber.latest() is not None


def test_the_public_names_are_few_and_exist():
    assert len(streamfuse.__all__) <= 12
    assert all(hasattr(streamfuse, name) for name in streamfuse.__all__)
    assert set(streamfuse.__all__) <= set(dir(streamfuse))
    with pytest.raises(AttributeError, match="no attribute 'Printer'"):
        streamfuse.Printer  # noqa: B018
    assert streamfuse.__doc__
    assert "Subscriber(" in streamfuse.__doc__
