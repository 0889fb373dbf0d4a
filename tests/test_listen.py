"""`streamfuse subscribe`: what it says, when nothing comes, and where it cannot write."""

from __future__ import annotations

import io
import threading

import pytest
from fakes import fused
from rich.console import Console

from streamfuse import Publisher
from streamfuse.errors import UserError
from streamfuse.listen import listen


def heard(endpoint, **changes):
    """What `listen` tells machines, and what it tells people."""
    said = Console(file=io.StringIO(), width=300)
    asked = {"stream": "fused", "frames": None, "seconds": None, "save": None, "mode": "sub"}
    told = listen(endpoint, **{**asked, **changes}, stop=threading.Event(), console=said)
    return told, said.file.getvalue()


def publishing(publisher, count):
    def send():
        publisher.wait_for_subscriber(5.0)
        for sequence in range(count):
            publisher.send(fused(sequence))
        publisher.close()

    threading.Thread(target=send, daemon=True).start()


@pytest.mark.parametrize("quiet", [False, True])
def test_it_ends_with_a_summary(tmp_path, quiet):
    publisher = Publisher("tcp://127.0.0.1:*", rig="gate", mode="push")
    publishing(publisher, 3)
    told, said = heard(publisher.endpoint, mode="pull", quiet=quiet, save=tmp_path / "new" / "[1]")
    assert told["received"] == 3
    assert "received 3 fused frames" in said
    assert "(3 fused); lost 0, skipped 0, refused 0" in said
    assert sorted(path.name for path in (tmp_path / "new" / "[1]").iterdir()) == [f"{k:06d}.png" for k in range(3)]


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_waited_for(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--save .*file: cannot be made"):
        heard("tcp://127.0.0.1:9", save=tmp_path / "file")


def test_a_stream_that_the_publisher_does_not_have_is_told_with_those_it_has(monkeypatch):
    monkeypatch.setattr("streamfuse.listen.HINT_S", 0.5)
    with Publisher("tcp://127.0.0.1:*", rig="gate") as publisher:
        told, said = heard(publisher.endpoint, stream="termal", seconds=1.5)
        assert "has no stream 'termal'; it has fused, thermal, thermal-raw, visible" in said
        _, said = heard(publisher.endpoint, seconds=1.5)
        assert "is there, and has sent no fused frame yet" in said
    assert told["received"] == 0


@pytest.mark.parametrize(("mode", "remedy"), [("sub", "push needs --pull"), ("pull", "with publish.mode: push")])
def test_nothing_heard_names_the_other_mode(monkeypatch, mode, remedy):
    monkeypatch.setattr("streamfuse.listen.HINT_S", 0.2)
    _, said = heard("tcp://127.0.0.1:9", mode=mode, seconds=0.6)
    assert "nothing heard" in said
    assert remedy in said
