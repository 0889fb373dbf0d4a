"""Both ends of the socket: who gets what, what is counted, what happens when an end dies or an endpoint is taken."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zmq
from fakes import SOON_S, fused, until

from streamfuse import Publisher, Subscriber, age_ns
from streamfuse.audience import Audience
from streamfuse.clock import now_ns
from streamfuse.curve import PublisherKeys
from streamfuse.errors import StreamfuseError, UserError, WireError
from streamfuse.frames import FusedFrame, Reason
from streamfuse.keys import make_keys
from streamfuse.outbox import BoundedQueue, NewestSlots
from streamfuse.sockets import is_local
from streamfuse.wire import Origin, encode

counter = itertools.count()


@pytest.fixture
def ipc(tmp_path_factory) -> str:
    """A fresh endpoint on a short path (a socket's has at most 107 bytes)."""
    folder = Path(f"/tmp/streamfuse-{os.getpid()}-{next(counter)}")
    folder.mkdir()
    yield f"ipc://{folder}/s"
    for left in folder.iterdir():
        left.unlink()
    folder.rmdir()


def joined(publisher: Publisher, count: int = 1) -> None:
    assert until(lambda: publisher.subscribers == count)


@pytest.mark.parametrize("transport", ["ipc", "tcp", "inproc"])
def test_a_frame_arrives_with_everything_it_carries(transport, ipc):
    endpoint = {"ipc": ipc, "tcp": "tcp://127.0.0.1:*", "inproc": "inproc://everything"}[transport]
    with Publisher(endpoint, rig="gate", info={"engine": "eager"}) as publisher:  # noqa: SIM117
        with Subscriber(publisher.endpoint) as subscriber:
            joined(publisher)
            sent = fused(5, drops={"late": 2}, confidence=0.5, name="0005.png")
            publisher.send(sent)
            received = subscriber.latest(SOON_S)
            assert received.name == "0005.png"
            np.testing.assert_array_equal(received.pixels, sent.pixels)
            assert (received.sequence, received.drops, received.confidence) == (5, {"late": 2}, 0.5)
            assert (received.capture_ns, received.rgb, received.thermal) == (sent.capture_ns, sent.rgb, sent.thermal)
            assert received.session == publisher.session
            stamps = received.stamps
            assert stamps["offered"] <= stamps["sent"] <= stamps["received"] <= now_ns()
            assert 0 < age_ns(received) < 5e9
            assert subscriber.rig == "gate"
            assert subscriber.info["engine"] == "eager"


@pytest.mark.parametrize("port", ["*", "0"])
def test_the_endpoint_tells_the_port_that_was_taken(port):
    with Publisher(f"tcp://127.0.0.1:{port}", rig="gate") as publisher:
        assert int(publisher.endpoint.rpartition(":")[2]) > 1023


def test_age_on_another_boot_is_told_by_the_wall_clock():
    at_ns = now_ns()
    wall_ns = time.time_ns() - time.monotonic_ns() + at_ns
    elsewhere = fused(0, capture_ns=5, wall_ns=wall_ns - 70_000_000, same_boot=False)
    assert abs(age_ns(elsewhere, at_ns) - 70_000_000) < 20_000_000
    assert age_ns(replace(elsewhere, same_boot=True), 47) == 42


def test_a_late_joiner_gets_the_info_at_once(ipc):
    with Publisher(ipc, rig="gate", info={"model": "laplacian"}) as publisher:
        for sequence in range(3):
            publisher.send(fused(sequence))
        for _ in range(3):  # each within the 2 s after which the info is sent anyway
            with Subscriber(publisher.endpoint, rig="gate") as late:
                began = time.monotonic()
                assert until(lambda late=late: late.info is not None)
                assert time.monotonic() - began < 0.9
                assert late.info["model"] == "laplacian"
                assert late.connected


def test_a_late_joiner_is_heard_while_frames_come_faster_than_they_can_be_sent(ipc):
    ended = threading.Event()

    def flood() -> None:
        for sequence in itertools.takewhile(lambda _: not ended.is_set(), itertools.count()):
            publisher.send(fused(sequence))

    with Publisher(ipc, rig="gate", on_sent=lambda each: time.sleep(0.005)) as publisher:
        flooding = threading.Thread(target=flood, daemon=True)
        flooding.start()
        try:
            with Subscriber(ipc) as late:
                assert late.latest(SOON_S) is not None
                assert until(lambda: late.info is not None and publisher.wanted() == {"fused"})
        finally:
            ended.set()
            flooding.join(SOON_S)
        assert publisher.superseded > 0


def test_only_what_somebody_reads_is_wanted_and_sent(ipc):
    counts = np.arange(24, dtype=np.uint16).reshape(4, 6)
    with Publisher(ipc, rig="gate") as publisher:
        assert publisher.wanted() == frozenset()
        with Subscriber(ipc, rig="gate", stream="thermal") as thermal:
            assert until(lambda: publisher.wanted() == {"thermal"})
            publisher.send(fused(0, layers={"thermal": np.full((4, 6), 9, np.uint8), "thermal-raw": counts}))
            assert thermal.latest(SOON_S).pixels.tolist() == np.full((4, 6), 9).tolist()
            with Subscriber(ipc, rig="gate", stream="thermal-raw") as raw:
                assert until(lambda: publisher.wanted() == {"thermal", "thermal-raw"})
                assert publisher.subscribers == 2
                publisher.send(fused(1, layers={"thermal": counts.astype(np.uint8), "thermal-raw": counts}))
                received = raw.latest(SOON_S)
                np.testing.assert_array_equal(received.pixels, counts)
                assert (received.stream, received.sequence) == ("thermal-raw", 1)
                assert thermal.latest(SOON_S).stream == "thermal"
        assert until(lambda: publisher.wanted() == frozenset())


@pytest.mark.parametrize(
    ("prefix", "asked"),
    [
        (b"", {"fused"}),
        (b"sf/1/", {"fused"}),
        (b"sf/1/gate/", {"fused"}),
        (b"sf/1/gate/thermal", {"thermal"}),
        (b"sf/1/gate/therm", {"thermal", "thermal-raw"}),
        (b"sf/1/gate/visible", {"visible"}),
        (b"sf/1/gate/info", set()),
        (b"sf/1/other/fused", set()),
        (b"sf/2/", set()),
    ],
)
def test_a_subscription_asks_for_the_streams_it_names(prefix, asked):
    audience = Audience("gate")
    assert audience.hear(b"\x01" + prefix)
    assert audience.wanted == asked
    assert audience.readers == (1 if asked else 0)
    assert not audience.hear(b"\x00" + prefix)
    assert audience.wanted == frozenset()
    assert not audience.hear(b"not a subscription")


def test_the_newest_frame_wins_its_slot():
    slots = NewestSlots()
    frames = [fused(sequence) for sequence in range(3)]
    other = fused(9, stream="visible")
    assert [slots.put(each) for each in (frames[0], frames[1], other, frames[2])] == [None, frames[0], None, frames[1]]
    assert len(slots) == 2
    assert {slots.take().sequence, slots.take().sequence} == {2, 9}
    assert slots.take() is None
    assert len(slots) == 0
    slots.close()
    assert slots.put(frames[0]) is frames[0]


def test_a_full_queue_waits_for_room():
    queue = BoundedQueue(2)
    done = []
    writer = threading.Thread(target=lambda: [done.append(queue.put(fused(each))) for each in range(3)], daemon=True)
    writer.start()
    assert until(lambda: len(done) == 2)
    writer.join(0.05)
    assert len(done) == 2
    assert queue.take().sequence == 0
    writer.join(SOON_S)
    assert done == [None, None, None]
    assert len(queue) == 2
    assert [queue.take().sequence for _ in range(2)] == [1, 2]
    assert queue.take() is None


def test_frames_that_wait_together_all_leave_without_another_wake_up(ipc):
    sent, hold = [], threading.Event()

    def on_sent(each: FusedFrame) -> None:
        sent.append(each.stream)
        hold.wait(SOON_S)

    with Publisher(ipc, rig="gate", on_sent=on_sent) as publisher:
        publisher.send(fused(0))
        assert until(lambda: sent == ["fused"])  # held: the next three meet in their slots
        for stream in ("thermal", "visible", "thermal-raw"):
            publisher.send(fused(0, stream=stream))
        began = time.monotonic()
        hold.set()
        assert until(lambda: len(sent) == 4)
        assert time.monotonic() - began < 0.9  # a heartbeat, once a second, would wake it too


def test_what_gives_way_is_told_and_the_ledger_balances(ipc):
    sent, dropped, hold = [], [], threading.Event()

    def on_sent(each: FusedFrame) -> None:
        sent.append(each.sequence)
        hold.wait(SOON_S)

    def on_dropped(each: FusedFrame, reason: Reason) -> None:
        dropped.append((each.sequence, reason))

    publisher = Publisher(ipc, rig="gate", on_sent=on_sent, on_dropped=on_dropped)
    publisher.send(fused(0))
    assert until(lambda: sent == [0])  # the sending thread is held: what follows meets in the slot
    for sequence in range(1, 5):
        publisher.send(fused(sequence))
    assert dropped == [(1, Reason.SUPERSEDED), (2, Reason.SUPERSEDED), (3, Reason.SUPERSEDED)]
    assert publisher.superseded == 3
    hold.set()
    publisher.close()
    assert sent == [0, 4]
    publisher.send(fused(5))
    assert dropped[-1] == (5, Reason.SHUTDOWN)


def test_a_frame_that_cannot_be_encoded_is_dropped_and_the_next_one_goes_on(ipc):
    dropped = []
    publisher = Publisher(ipc, rig="gate", on_dropped=lambda each, reason: dropped.append(reason))
    with publisher, Subscriber(ipc) as subscriber:
        joined(publisher)
        publisher.send(fused(0, confidence=float("nan")))
        assert until(lambda: dropped == [Reason.FAILED])
        publisher.send(fused(1))
        assert subscriber.latest(SOON_S).sequence == 1


def test_a_failing_callback_stops_publishing_loudly(ipc):
    def broken(each: FusedFrame) -> None:
        raise ZeroDivisionError

    with Publisher(ipc, rig="gate", on_sent=broken) as publisher:
        publisher.send(fused(0))
        assert until(lambda: publisher._failure is not None)
        with pytest.raises(StreamfuseError, match="publishing stopped"):
            publisher.send(fused(1))


def test_a_reader_that_does_not_read_delays_nobody(ipc):
    with Publisher(ipc, rig="gate") as publisher:
        idle = zmq.Context.instance().socket(zmq.SUB)  # subscribes and never receives
        idle.setsockopt(zmq.RCVHWM, 1)
        idle.setsockopt(zmq.SUBSCRIBE, b"")
        idle.connect(ipc)
        with Subscriber(ipc) as subscriber:
            joined(publisher, 2)
            big = np.zeros((512, 640, 3), np.uint8)
            for sequence in range(60):
                publisher.send(fused(sequence, pixels=big))
                assert subscriber.latest(SOON_S).sequence == sequence
            assert subscriber.lost == 0
        idle.close(0)


def test_a_slow_reader_finds_the_newest_and_counts_what_it_skipped(ipc):
    with Publisher(ipc, rig="gate") as publisher, Subscriber(ipc) as subscriber:
        joined(publisher)
        for sequence in range(10):
            publisher.send(fused(sequence))
            assert until(lambda sequence=sequence: subscriber._last[1] == sequence)
        assert subscriber.latest(SOON_S).sequence == 9
        assert (subscriber.skipped, subscriber.lost) == (9, 0)
        assert subscriber.latest(0.01) is None


def test_a_reader_of_every_frame_may_lag_sixteen_frames(ipc):
    with Publisher(ipc, rig="gate") as publisher, Subscriber(ipc) as subscriber:
        joined(publisher)
        for sequence in range(20):
            publisher.send(fused(sequence))
            assert until(lambda sequence=sequence: subscriber._last[1] == sequence)
        publisher.close()
        assert [each.sequence for each in subscriber.every()] == list(range(4, 20))
        assert subscriber.skipped == 4


def test_frames_older_than_max_age_are_counted_and_not_returned(ipc):
    with Publisher(ipc, rig="gate") as publisher, Subscriber(ipc, max_age_s=5.0) as subscriber:
        joined(publisher)
        publisher.send(fused(0, capture_ns=now_ns() - 6_000_000_000))
        assert subscriber.latest(0.3) is None
        publisher.send(fused(1))
        assert subscriber.latest(SOON_S).sequence == 1
        assert subscriber.stale == 1


def test_gaps_in_the_sequence_are_losses_and_a_restart_is_not(ipc):
    with Subscriber(ipc) as subscriber:
        for sequences, lost in (((0, 1, 5, 6), 3), ((40, 41, 43), 4)):
            with Publisher(ipc, rig="gate") as publisher:
                joined(publisher)
                for sequence in sequences:
                    publisher.send(fused(sequence))
                    assert subscriber.latest(SOON_S).sequence == sequence
                assert subscriber.lost == lost
                assert subscriber.connected
            assert until(lambda: not subscriber.connected)


def test_bye_ends_every(ipc):
    with Publisher(ipc, rig="gate") as publisher, Subscriber(ipc, timeout_s=None) as subscriber:
        joined(publisher)
        for sequence in range(3):
            publisher.send(fused(sequence))
            assert until(lambda sequence=sequence: subscriber._last[1] == sequence)
        publisher.close()
        assert [each.sequence for each in subscriber.every()] == [0, 1, 2]
        assert not subscriber.connected


def test_silence_ends_every_and_close_does_from_another_thread(ipc):
    with Subscriber(ipc, timeout_s=0.05) as subscriber:
        assert list(subscriber.every()) == []
    with Subscriber(ipc, timeout_s=None) as subscriber:
        threading.Timer(0.05, subscriber.close).start()
        assert list(subscriber.every()) == []
        assert subscriber.latest() is None


def test_heartbeats_keep_a_quiet_stream_connected(ipc):
    with Publisher(ipc, rig="gate") as publisher, Subscriber(ipc, timeout_s=1.6) as subscriber:
        joined(publisher)
        threading.Timer(2.2, lambda: publisher.send(fused(0))).start()
        assert next(subscriber.every()).sequence == 0


def test_closing_is_quick_even_with_a_reader_that_hangs(ipc):
    publisher = Publisher(ipc, rig="gate")
    idle = zmq.Context.instance().socket(zmq.SUB)
    idle.setsockopt(zmq.RCVHWM, 1)
    idle.setsockopt(zmq.SUBSCRIBE, b"")
    idle.connect(ipc)
    joined(publisher)
    for sequence in range(40):
        publisher.send(fused(sequence, pixels=np.zeros((512, 640, 3), np.uint8)))
    began = time.monotonic()
    publisher.close()
    publisher.close()
    assert time.monotonic() - began < 1.5
    assert not Path(ipc.removeprefix("ipc://")).exists()
    idle.close(0)


def test_push_and_pull_lose_nothing(ipc):
    sent, dropped = [], []
    publisher = Publisher(
        ipc,
        rig="gate",
        mode="push",
        on_sent=lambda each: sent.append(each.sequence),
        on_dropped=lambda each, reason: dropped.append(each.sequence),
    )

    def publish() -> None:
        with publisher:
            for sequence in range(500):
                publisher.send(fused(sequence))

    writer = threading.Thread(target=publish, daemon=True)
    writer.start()
    received = []
    with Subscriber(ipc, mode="pull") as subscriber:
        assert publisher.wait_for_subscriber(SOON_S)
        for each in subscriber.every():
            if each.sequence % 100 == 50:
                time.sleep(0.05)  # falls behind: the writer waits
            received.append((each.sequence, int(each.pixels[0, 0, 0])))
        assert subscriber.lost == 0
    writer.join(SOON_S)
    assert received == [(sequence, sequence % 251) for sequence in range(500)]
    assert (sent, dropped) == (list(range(500)), [])


def test_push_without_a_reader_is_closed_from_outside(ipc):
    dropped = []
    publisher = Publisher(ipc, rig="gate", mode="push", on_dropped=lambda each, reason: dropped.append(reason))
    writer = threading.Thread(target=lambda: [publisher.send(fused(sequence)) for sequence in range(20)], daemon=True)
    writer.start()
    assert not publisher.wait_for_subscriber(0.1)
    publisher.close(linger_s=0.1)
    writer.join(SOON_S)
    assert dropped == [Reason.SHUTDOWN] * 20


def test_push_says_that_it_waits_for_a_reader_and_waits_no_more_when_time_is_up(ipc, caplog, monkeypatch):
    monkeypatch.setattr("streamfuse.publish.ALONE_S", 0.0)
    caplog.set_level("INFO", "streamfuse")
    dropped = []
    with Publisher(ipc, rig="gate", mode="push", on_dropped=lambda each, reason: dropped.append(reason)) as publisher:
        writer = threading.Thread(target=lambda: [publisher.send(fused(each)) for each in range(20)], daemon=True)
        writer.start()
        assert until(lambda: f"waiting for a reader on {ipc}" in caplog.text)
        assert writer.is_alive()
        publisher.expire()
        writer.join(SOON_S)
        assert not writer.is_alive()
    assert dropped == [Reason.SHUTDOWN] * 20
    assert caplog.text.count("waiting for a reader") == 1


def test_push_loses_nothing_of_what_a_reader_still_takes_in_when_time_is_up(ipc):
    publisher = Publisher(ipc, rig="gate", mode="push")

    def publish() -> None:
        with publisher:
            for sequence in range(200):
                publisher.send(fused(sequence))

    received = []
    with Subscriber(ipc, mode="pull") as subscriber:
        assert publisher.wait_for_subscriber(SOON_S)
        writer = threading.Thread(target=publish, daemon=True)
        writer.start()
        for each in subscriber.every():
            received.append(each.sequence)
            if each.sequence == 0:
                publisher.expire()
            time.sleep(0.002)  # slower than the writer
    writer.join(SOON_S)
    assert received == list(range(200))


def test_push_sends_the_streams_it_was_told_to(ipc):
    with Publisher(ipc, rig="gate", mode="push", streams=frozenset({"fused", "thermal"})) as publisher:
        assert publisher.wanted() == {"fused", "thermal"}


CHILD = """
import sys, zlib
from streamfuse import Subscriber
with Subscriber(sys.argv[1]) as subscriber:
    for frame in subscriber.every():
        print(frame.sequence, zlib.crc32(frame.pixels), frame.same_boot, flush=True)
"""


@pytest.fixture
def reader() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(endpoint: str) -> subprocess.Popen[str]:
        started.append(subprocess.Popen([sys.executable, "-c", CHILD, endpoint], stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_another_process_reads_the_same_pixels(ipc, reader):
    images = [np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8) for seed in range(5)]
    with Publisher(ipc, rig="gate") as publisher:
        process = reader(ipc)
        assert publisher.wait_for_subscriber(SOON_S)
        for sequence, image in enumerate(images):
            publisher.send(fused(sequence, pixels=image))
            assert process.stdout.readline() == f"{sequence} {zlib.crc32(image)} True\n"
    assert process.wait(SOON_S) == 0


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_a_reader_that_is_killed_or_frozen_does_not_stop_the_others(ipc, reader, blow):
    sent = []
    with Publisher(ipc, rig="gate", on_sent=lambda each: sent.append(each.sequence)) as publisher:
        victim = reader(ipc)
        with Subscriber(ipc) as subscriber:
            joined(publisher, 2)
            victim.send_signal(blow)
            if blow == signal.SIGKILL:
                joined(publisher, 1)
            for sequence in range(50):
                publisher.send(fused(sequence, pixels=np.zeros((256, 320, 3), np.uint8)))
                assert subscriber.latest(SOON_S).sequence == sequence
            assert subscriber.lost == 0
        assert sent == list(range(50))


def test_a_publisher_that_dies_is_noticed_and_its_socket_file_replaced(ipc):
    dying = (
        "import os, sys, time; from streamfuse import Publisher; p = Publisher(sys.argv[1], rig='gate');"
        "print('up', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", dying, ipc], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    process.kill()
    process.communicate()
    assert Path(ipc.removeprefix("ipc://")).exists()
    with Publisher(ipc, rig="gate") as publisher, Subscriber(ipc) as subscriber:
        joined(publisher)
        publisher.send(fused(0))
        assert subscriber.latest(SOON_S).sequence == 0


def test_a_port_in_use_is_an_error_that_says_so():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=f"{endpoint}.*another process is using it.*another port"):
            Publisher(endpoint, rig="gate")


def test_a_live_ipc_endpoint_is_not_taken_over(ipc):
    with Publisher(ipc, rig="gate") as first, Subscriber(ipc) as subscriber:
        joined(first)
        with pytest.raises(UserError, match="another process is using it"):
            Publisher(ipc, rig="gate")
        first.send(fused(3))
        assert subscriber.latest(SOON_S).sequence == 3
    with Publisher(ipc, rig="gate"):
        pass


def test_an_ordinary_file_is_not_removed_for_a_socket(ipc):
    path = Path(ipc.removeprefix("ipc://"))
    path.write_text("precious")
    with pytest.raises(UserError, match="is an ordinary file"):
        Publisher(ipc, rig="gate")
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("endpoint", "local"),
    [
        ("ipc:///tmp/x", True),
        ("inproc://x", True),
        ("tcp://127.0.0.1:5555", True),
        ("tcp://127.8.8.8:*", True),
        ("tcp://[::1]:5555", True),
        ("tcp://localhost:5555", True),
        ("tcp://*:5555", False),
        ("tcp://0.0.0.0:5555", False),
        ("tcp://192.168.1.7:5555", False),
        ("tcp://eth0:5555", False),
        ("pgm://127.0.0.1;239.1.1.1:5", False),
    ],
)
def test_a_public_bind_is_refused(endpoint, local):
    assert is_local(endpoint) == local
    if not local:
        with pytest.raises(UserError, match="other machines could connect"):
            Publisher(endpoint, rig="gate")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"endpoint": "ipc:///no/such/folder/s"}, "there is no folder /no/such/folder"),
        ({"endpoint": "ipc:///tmp/" + "x" * 120}, "at most 107 bytes"),
        ({"endpoint": "tcp://127.0.0.1"}, "tcp://127.0.0.1:PORT"),
        ({"endpoint": "tcp://127.0.0.1:65536"}, "ports end at 65535"),
        ({"rig": ""}, "cannot be a topic"),
        ({"rig": "a/b"}, "cannot be a topic"),
        ({"codec": "png"}, "use one of raw, jpeg"),
        ({"mode": "multi"}, "use one of pub, push"),
        ({"jpeg_quality": 0}, "must be 1 to 100"),
    ],
)
def test_what_cannot_be_published_is_an_error_that_says_why(changes, said):
    arguments = {"endpoint": "inproc://never", "rig": "gate", **changes}
    with pytest.raises(UserError, match=said):
        Publisher(arguments.pop("endpoint"), **arguments)


@pytest.mark.parametrize(
    ("endpoint", "mode"),
    [("nonsense", "sub"), ("tcp://127.0.0.1", "sub"), ("tcp://127.0.0.1:70000", "sub"), ("inproc://x", "rep")],
)
def test_what_cannot_be_subscribed_to_is_an_error(endpoint, mode):
    with pytest.raises(UserError):
        Subscriber(endpoint, mode=mode)


def test_malformed_messages_are_counted_and_the_stream_goes_on(ipc):
    with zmq.Context() as context, context.socket(zmq.XPUB) as raw, Subscriber(ipc, rig="gate") as subscriber:
        raw.bind(ipc)
        for _ in range(4):
            raw.recv()
        good = encode(fused(0, session="s"), Origin(rig="gate", boot_id="b", published_ns=0, published_wall_ns=0))
        raw.send(good[0])
        raw.send_multipart([good[0], b"{}", b""])
        raw.send_multipart([*good, b"one part too many"])
        raw.send_multipart([good[0], good[1], b"short"])
        raw.send_multipart([b"sf/1/gate/fused-twice", good[1]])
        raw.send_multipart(good)
        received = subscriber.latest(SOON_S)
        assert (received.sequence, received.same_boot) == (0, False)
        assert subscriber.refused == 4


def test_a_malformed_message_ends_a_loss_free_reading(ipc):
    with zmq.Context() as context, context.socket(zmq.PUSH) as raw, Subscriber(ipc, mode="pull") as subscriber:
        raw.bind(ipc)
        raw.send_multipart([b"sf/2/gate/fused", b"{}"])
        with pytest.raises(WireError, match="layout sf/2"):
            next(subscriber.every())


def test_jpeg_is_read_as_it_was_meant(ipc):
    image = np.full((32, 48, 3), [200, 90, 30], np.uint8)
    with Publisher(ipc, rig="gate", codec="jpeg") as publisher, Subscriber(ipc) as subscriber:
        joined(publisher)
        publisher.send(fused(0, pixels=image))
        assert np.abs(subscriber.latest(SOON_S).pixels.astype(int) - image).max() <= 4


def test_heartbeats_tell_rate_sequence_and_drops(ipc):
    with Publisher(ipc, rig="gate") as publisher, zmq.Context() as context, context.socket(zmq.SUB) as raw:
        raw.connect(ipc)
        raw.setsockopt(zmq.SUBSCRIBE, b"sf/1/gate/heartbeat")
        publisher.send(fused(41, drops={"late": 2}))
        assert raw.poll(3000)
        beats = [json.loads(raw.recv_multipart()[1]) for _ in range(1)]
        assert beats[0]["seq"] == 41
        assert beats[0]["drops"] == {"late": 2, "superseded": 0}
        assert beats[0]["fps"] >= 0


def test_heartbeats_tell_how_the_cameras_are_doing(ipc):
    states = {"thermal": "live", "rgb": "live"}
    with Publisher(ipc, rig="gate", sources=lambda: dict(states)) as publisher, Subscriber(ipc) as subscriber:
        joined(publisher)
        assert until(lambda: subscriber.sources == {"thermal": "live", "rgb": "live"})
        states["thermal"] = "stalled"
        assert until(lambda: subscriber.sources == {"thermal": "stalled", "rgb": "live"})


def test_the_info_names_the_engine_at_work_after_another_took_over(ipc):
    with Publisher(ipc, rig="gate", info={"engine": "openvino", "model": "average"}) as publisher:
        with Subscriber(ipc) as subscriber:
            joined(publisher)
            publisher.send(fused(0, engine="openvino", model="average"))
            assert until(lambda: subscriber.info is not None)
            told = subscriber.info
            publisher.send(fused(1, engine="tensorrt-fp16", model="average"))
            began = time.monotonic()
            assert until(lambda: subscriber.info["engine"] == "tensorrt-fp16")
            assert time.monotonic() - began < 1  # at once, not with the next one that is due
            assert {**subscriber.info, "engine": told["engine"]} == told
        with Subscriber(ipc) as late:
            assert until(lambda: late.info is not None)
            assert late.info["engine"] == "tensorrt-fp16"


GUIDE = (Path(__file__).resolve().parents[1] / "docs" / "consume.md").read_text()
SNIPPETS = [code for code in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if ":5557" not in code]


@pytest.mark.parametrize(
    ("snippet", "line"), list(zip(SNIPPETS, ["0 fused (4, 6, 3) ", "0 fused [0 0 0]", "0 fused 72"], strict=True))
)
def test_the_readers_of_the_guide_run_as_they_stand(snippet, line, tmp_path):
    curve = None
    if "curve" in snippet:
        files = make_keys(tmp_path)
        curve = PublisherKeys(files["publisher_secret"], files["readers"])
    with Publisher("tcp://127.0.0.1:*", rig="gate", curve=curve) as publisher:
        code = snippet.replace("tcp://127.0.0.1:5555", publisher.endpoint)
        assert code != snippet
        command = [sys.executable, "-u", "-c", code]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
        try:
            assert publisher.wait_for_subscriber(SOON_S)
            publisher.send(fused(0))
            assert process.stdout.readline().startswith(line)
        finally:
            process.kill()
            process.communicate()


def test_the_guide_names_every_key_of_the_header():
    header = json.loads(encode(fused(0), Origin(rig="r", boot_id="b", published_ns=0, published_wall_ns=0))[1])
    assert not [key for key in header if f"`{key}" not in GUIDE]
