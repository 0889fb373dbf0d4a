"""Asking for a depth over real sockets: a link and its run, clients that misbehave, keys, the command, the pipeline."""

from __future__ import annotations

import json
import math
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml
import zmq
from fakes import SOON_S, FakeSink, FakeSource, fused, stream, until
from rigs import full_rig

from streamfuse import DepthLink, Publisher, Subscriber, assemble
from streamfuse.config import RunConfig
from streamfuse.curve import PublisherKeys, ReaderKeys
from streamfuse.depthlink import commands
from streamfuse.depthlink.server import DepthServer
from streamfuse.depthlink.wire import KEPT_S, MAX_REPLY_BYTES, read_reply
from streamfuse.errors import StreamfuseError, UserError, WireError
from streamfuse.frames import Modality
from streamfuse.keys import make_keys
from streamfuse.pipeline import run
from streamfuse.register import Registrar

BOX = (150.0, 60.0, 40.0, 50.0)


@pytest.fixture
def registrar() -> Registrar:
    return Registrar(full_rig())


@pytest.fixture
def server(registrar) -> Iterator[DepthServer]:
    with DepthServer("tcp://127.0.0.1:*", registrar) as opened:
        yield opened


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_a_link_asks_and_hears_what_is_in_force(transport, registrar, tmp_path):
    endpoint = "tcp://127.0.0.1:*" if transport == "tcp" else f"ipc://{tmp_path}/s"
    with DepthServer(endpoint, registrar) as server, DepthLink(server.endpoint, timeout_s=SOON_S) as link:
        assert (link.state().depth_m, link.state().size) == (12.0, (320, 180))
        assert link.set(4).depth_m == 4.0
        assert link.set(math.inf).depth_m == math.inf
        region = link.set(3.5, np.array(BOX), name="walker").regions["walker"]
        assert (region.box, region.depth_m, region.seconds) == (BOX, 3.5, KEPT_S)
        assert link.set(math.inf, BOX, name="walker", seconds=math.inf).regions["walker"].seconds == math.inf
        assert link.forget("walker").regions == {}
        assert until(lambda: not link.state().pending)
        assert link.state().revision == registrar.warp.revision > 0


@pytest.mark.parametrize("ask", [{"depth_m": -1}, {"depth_m": math.nan}, {"depth_m": 4, "region": (0, 0, 0, 0)}])
def test_what_is_refused_is_raised_with_its_reason_and_the_link_goes_on(server, ask):
    with DepthLink(server.endpoint, timeout_s=SOON_S) as link:
        with pytest.raises(UserError, match=r"greater than 0|of some area"):
            link.set(**ask)
        assert link.state().depth_m == 12.0


def test_a_region_that_nobody_renews_is_forgotten_while_nobody_asks(server, registrar):
    with DepthLink(server.endpoint, timeout_s=SOON_S) as link:
        link.set(4, BOX, name="a", seconds=0.05)
    assert until(lambda: not registrar.regions)


def test_any_language_can_ask(server):
    with zmq.Context() as context, context.socket(zmq.REQ) as asking:
        asking.linger = 0
        asking.connect(server.endpoint)
        asking.send(b'{"ask": "depth", "depth_m": 7}')
        assert asking.poll(SOON_S * 1000)
        assert json.loads(asking.recv())["depth_m"] == 7.0


def test_several_threads_may_share_a_link(server):
    with DepthLink(server.endpoint, timeout_s=SOON_S) as link:
        names = [str(number) for number in range(8)]
        threads = [threading.Thread(target=link.set, args=(4, BOX), kwargs={"name": name}) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON_S)
        assert sorted(link.state().regions) == names


# -- clients that misbehave --------------------------------------------------------------------------------------------


def dealer(context: zmq.Context, server: DepthServer) -> zmq.Socket:
    opened = context.socket(zmq.DEALER)
    opened.linger = 0
    opened.connect(server.endpoint)
    return opened


@pytest.mark.parametrize(
    "parts", [[b""], [b"", b""], [b"x"], [b"", b"{}", b"{}"], [b"", b" " * 5000], [b'{"ask": "deph"}']]
)
def test_a_malformed_request_gets_an_answer_in_its_own_envelope(server, parts):
    with zmq.Context() as context, dealer(context, server) as asking:
        asking.send_multipart(parts)
        assert asking.poll(SOON_S * 1000)
        *envelope, reply = asking.recv_multipart()
        assert envelope == ([b""] if len(parts) > 1 else [])
        assert json.loads(reply)["answer"] == "refused"


def test_clients_that_vanish_flood_or_send_rubbish_harm_nobody(server, registrar):
    host, port = server.endpoint.removeprefix("tcp://").split(":")
    with zmq.Context() as context:
        for _ in range(20):
            with dealer(context, server) as gone:
                gone.send_multipart([b"", b'{"ask": "state"}'])
        with dealer(context, server) as deaf:
            for _ in range(500):  # and never reads
                deaf.send_multipart([b"", b'{"ask": "region", "box": [0, 0, 9, 9], "depth_m": 5, "seconds": 0.01}'])
            with dealer(context, server) as large, socket.create_connection((host, int(port))) as stranger:
                large.send_multipart([b"", b" " * (MAX_REPLY_BYTES + 1)])
                stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
                with DepthLink(server.endpoint, timeout_s=SOON_S) as link:
                    assert link.set(4).depth_m == 4.0
    assert until(lambda: not registrar.regions)
    assert registrar.wait(20)
    assert registrar.warp.depth_m == 4.0


def test_a_link_outlives_its_run_and_says_when_nobody_is_there(registrar, tmp_path):
    endpoint = f"ipc://{tmp_path}/s"
    with DepthLink(endpoint, timeout_s=0.2) as link:
        for depth_m in (5, 6):
            with pytest.raises(StreamfuseError, match=r"nobody answered on ipc.* within 0.2 s; is a run there"):
                link.set(depth_m)
    with DepthLink(endpoint, timeout_s=SOON_S) as link:
        for _ in range(2):
            with DepthServer(endpoint, registrar):
                assert link.state().depth_m == 12.0, "what nobody heard must not be heard later"


def test_a_reply_that_comes_too_late_is_not_taken_for_the_next_one():
    with zmq.Context() as context, context.socket(zmq.ROUTER) as slow:
        slow.linger = 0
        port = slow.bind_to_random_port("tcp://127.0.0.1")
        state = b'{"answer":"state","depth_m":%d,"regions":[],"revision":0,"confidence":1,"pending":false,"size":[1,1]}'
        with DepthLink(f"tcp://127.0.0.1:{port}", timeout_s=0.5) as link:
            with pytest.raises(StreamfuseError, match="nobody answered"):
                link.state()
            link.timeout_s = SOON_S

            def answer() -> None:
                for depth_m in (1, 2):
                    *envelope, _ = slow.recv_multipart()
                    slow.send_multipart([*envelope, state % depth_m])

            answering = threading.Thread(target=answer)
            answering.start()
            assert link.state().depth_m == 2
            answering.join(SOON_S)


def test_something_else_that_answers_is_told():
    for data in (b"", b"\xff", b'{"answer": "other"}', b'{"answer": "state"}'):
        with pytest.raises(WireError, match="no depth link of streamfuse"):
            read_reply(data)


# -- endpoints and keys ------------------------------------------------------------------------------------------------


def test_an_endpoint_that_cannot_be_is_told_with_its_remedy(registrar, tmp_path):
    (tmp_path / "file").touch()
    with DepthServer("tcp://127.0.0.1:*", registrar) as first:
        for endpoint, said in (
            (first.endpoint, r"cannot be asked on .*: another process is using it"),
            (f"ipc://{tmp_path}/file", "is an ordinary file"),
            ("tcp://127.0.0.1:99999", "ports end at 65535"),
            ("tcp://127.0.0.1:x", r"cannot be asked on 'tcp://127.0.0.1:x': .*; write tcp://127.0.0.1:PORT"),
            ("tcp://*:5557", r"other machines could connect.*; set register\.link\.curve with a tcp:// endpoint"),
        ):
            with pytest.raises(UserError, match=said):
                DepthServer(endpoint, registrar)
    with pytest.raises(UserError, match="cannot ask at '5557'"):
        DepthLink("5557")


def test_closing_frees_the_endpoint_and_ends_the_thread(registrar, tmp_path):
    for _ in range(2):
        with DepthServer(f"ipc://{tmp_path}/s", registrar):
            assert (tmp_path / "s").exists()
    assert not (tmp_path / "s").exists()
    assert not [thread for thread in threading.enumerate() if thread.name == "depth-link"]


@pytest.mark.skipif(not zmq.has("curve"), reason="this libzmq was built without CURVE")
def test_with_keys_only_those_who_are_known_are_heard(registrar, tmp_path):
    own, other = make_keys(tmp_path / "own"), make_keys(tmp_path / "other")
    curve = PublisherKeys(own["publisher_secret"], own["readers"])
    with DepthServer("tcp://0.0.0.0:*", registrar, curve=curve) as server:
        endpoint = f"tcp://127.0.0.1:{server.endpoint.rpartition(':')[2]}"
        known = ReaderKeys(own["publisher_public"], own["reader_secret"])
        with DepthLink(endpoint, curve=known, timeout_s=SOON_S) as link:
            assert link.set(4).depth_m == 4.0
        unknown = ReaderKeys(own["publisher_public"], other["reader_secret"])
        for keys, said in (
            (unknown, r"register\.link\.curve\.clients there does not hold its public key"),
            (None, "encrypts; give its public key"),
        ):
            with DepthLink(endpoint, curve=keys, timeout_s=SOON_S) as link, pytest.raises(StreamfuseError, match=said):
                link.set(5)
    assert registrar.depth_m == 4.0


# -- in a run ----------------------------------------------------------------------------------------------------------


@contextmanager
def running(config: RunConfig) -> Iterator[None]:
    """The pipeline in a thread, until the block ends; it must have gone well."""
    stop, reports = threading.Event(), []
    thread = threading.Thread(target=lambda: reports.append(run(config, stop=stop)))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
    assert reports[0].error is None
    assert reports[0].balanced


def scene(folder: Path, **register: object) -> RunConfig:
    source = {"kind": "synthetic", "thermal_size": [160, 128], "rgb_size": [320, 192], "people": 0, "vehicles": 0}
    return RunConfig.model_validate(
        {
            "source": source,
            "register": {"correct": "off", **register},
            "fuse": {"model": "average", "engine": "eager"},
            "publish": {"endpoint": f"ipc://{folder}/frames"},
        }
    )


def test_a_running_pipeline_takes_another_depth_and_its_messages_show_it(tmp_path):
    endpoint = f"ipc://{tmp_path}/asked"
    with running(scene(tmp_path, link={"endpoint": endpoint})), DepthLink(endpoint, timeout_s=20) as link:
        before = link.state()
        assert (before.revision, before.size) == (0, (320, 192))
        with Subscriber(f"ipc://{tmp_path}/frames", stream="thermal", timeout_s=20) as subscriber:
            first = subscriber.latest()
            assert link.set(0.5).depth_m == 0.5
            assert until(lambda: subscriber.latest().confidence < first.confidence)
            after = link.state()
            assert (after.revision, after.pending) == (1, False)
            frame = subscriber.latest()
            assert frame.confidence == pytest.approx(after.confidence)
            black = [int((each.pixels == 0).all(axis=0).sum()) for each in (first, frame)]
            assert black[1] > black[0] + 10, "the thermal image moved sideways, so more of the output has none"
            assert "box" in link.set(12.0, BOX, name="box").regions
            assert until(lambda: link.state().revision >= 2)
            with pytest.raises(UserError, match="greater than 0"):
                link.set(-1)
            assert subscriber.latest() is not None
    assert not (tmp_path / "asked").exists()


def test_a_run_without_a_rig_or_with_a_taken_endpoint_does_not_start(tmp_path):
    T, V = Modality.THERMAL, Modality.RGB  # noqa: N806
    cameras = assemble.Cameras(FakeSource(T, stream(T, 3)), FakeSource(V, stream(V, 3)))
    endpoint = f"ipc://{tmp_path}/asked"
    with pytest.raises(UserError, match=r"register\.link .*need a rig file"):
        run(scene(tmp_path, link={"endpoint": endpoint}), cameras=lambda _: cameras, sink=FakeSink)
    with DepthServer(endpoint, Registrar(full_rig())), pytest.raises(UserError, match="another process is using it"):
        run(scene(tmp_path, link={"endpoint": endpoint}), sink=FakeSink)
    with pytest.raises(UserError, match=r"register\.link\.curve"):
        run(scene(tmp_path, link={"endpoint": "tcp://*:5557"}), sink=FakeSink)


# -- the command -------------------------------------------------------------------------------------------------------


def streamfuse(*arguments: object, code: int = 0) -> tuple[str, str]:
    command = [sys.executable, "-m", "streamfuse", "depth", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, " ".join(done.stderr.split())


def test_the_command_asks_and_prints_what_is_in_force(server, registrar):
    told, said = streamfuse(server.endpoint, "inf", "--json")
    assert json.loads(told)["depth_m"] == "inf"
    assert said.startswith("depth inf m; output 320x180, map ")
    _, said = streamfuse(server.endpoint, 4, "--region", "150,60,40,50", "--name", "[1]", "--seconds", "inf")
    assert "region '[1]': 4 m in 150,60,40,50, for inf s more" in said
    told, _ = streamfuse(server.endpoint, "--json")
    assert json.loads(told)["regions"] == {"[1]": {"box": list(BOX), "depth_m": 4.0, "seconds": "inf"}}
    streamfuse(server.endpoint, "--forget", "[1]")
    assert registrar.regions == {}
    _, said = streamfuse(server.endpoint, 0, code=2)
    assert "error: depth 0.0 m: must be greater than 0" in said
    _, said = streamfuse("tcp://127.0.0.1:9", "--timeout", 0.2, code=1)
    assert "error: nobody answered on tcp://127.0.0.1:9 within 0.2 s" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"depth_m": 4, "forget": "a"}, "in another call"),
        ({"region": "1,2,3,4"}, "--region needs a DEPTH"),
        ({"depth_m": 4, "name": "a"}, "give --region X,Y,W,H too"),
        ({"depth_m": 4, "seconds": 3.0}, "give --region X,Y,W,H too"),
        ({"depth_m": 4, "region": "1,2,3"}, "--region '1,2,3': four numbers X,Y,W,H"),
        ({"depth_m": 4, "region": "1,2,3,x"}, "--region '1,2,3,x': four numbers"),
        ({"client_key": Path("k")}, "--client-key needs --server-key"),
    ],
)
def test_what_the_command_does_not_understand_is_told_before_anybody_is_asked(options, said):
    with pytest.raises(UserError, match=re.escape(said)):
        commands.depth("tcp://127.0.0.1:9", **options)


def test_the_help_tells_the_seconds_that_count():
    assert f"(else {KEPT_S:g}; inf: never)" in Path(commands.__file__).read_text()


# -- the guide ---------------------------------------------------------------------------------------------------------

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "consume.md").read_text()
SNIPPETS = [code for code in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if ":5557" in code]


@contextmanager
def following(code: str, folder: Path, server: DepthServer) -> Iterator[Publisher]:
    """A snippet of the guide in a process of its own, and the publisher that it reads."""
    with Publisher("tcp://127.0.0.1:*", rig="gate") as publisher:
        code = code.replace("tcp://127.0.0.1:5555", publisher.endpoint)
        code = code.replace("tcp://127.0.0.1:5557", server.endpoint)
        process = subprocess.Popen([sys.executable, "-c", code], cwd=folder)
        try:
            yield publisher
        finally:
            process.kill()
            process.communicate()


def test_a_box_from_the_stream_becomes_a_region_with_a_depth(server, registrar, tmp_path):
    thermal = np.zeros((180, 320), np.uint8)
    thermal[60:110, 150:190] = 255
    with following(SNIPPETS[0], tmp_path, server) as publisher:
        assert until(lambda: "thermal" in publisher.wanted())
        publisher.send(fused(0, layers={"thermal": thermal}))
        assert until(lambda: registrar.regions)
    assert registrar.regions == {"warmest": (BOX, pytest.approx(600 * 1.7 / 50))}


def test_the_guide_asks_without_streamfuse_too(server, registrar, tmp_path):
    assert len(SNIPPETS) == 2
    assert "streamfuse" not in SNIPPETS[1]
    with following(SNIPPETS[1], tmp_path, server):
        assert until(lambda: registrar.regions)
    assert registrar.regions == {"walker": (BOX, 4.0)}


@pytest.mark.parametrize("page", ["consume.md", "registration.md"])
def test_the_run_files_of_the_guides_are_valid(page):
    text = (Path(__file__).resolve().parents[2] / "docs" / page).read_text()
    (section,) = (block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "link:" in block)
    for shown in (section, section.replace("# curve:", "curve:")):
        config = RunConfig.model_validate({"source": {"kind": "synthetic"}, **yaml.safe_load(shown)})
        assert config.registration.link.endpoint == "tcp://127.0.0.1:5557"
