"""Encryption on real sockets: who is let in, who is not and what both ends say; and the files of the keys."""

from __future__ import annotations

import logging
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
import zmq
from fakes import SOON_S, fused, until

from streamfuse import Publisher, Subscriber
from streamfuse.assemble import open_keys
from streamfuse.config import CurveConfig, RunConfig
from streamfuse.curve import PublisherKeys, ReaderKeys, reader_keys
from streamfuse.errors import UserError
from streamfuse.keys import explained, make_keys, read_allowed, read_public, read_secret

pytestmark = pytest.mark.skipif(not zmq.has("curve"), reason="this libzmq was built without CURVE")


class Folder:
    """Keys in a folder, as `streamfuse keys` leaves them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = make_keys(path)

    @property
    def publisher(self) -> PublisherKeys:
        return PublisherKeys(self.files["publisher_secret"], self.files["readers"])

    @property
    def reader(self) -> ReaderKeys:
        return ReaderKeys(self.files["publisher_public"], self.files["reader_secret"])


@pytest.fixture
def keys(tmp_path) -> Folder:
    return Folder(tmp_path / "keys")


@pytest.fixture
def stranger(tmp_path) -> Folder:
    """Another publisher's keys, and a reader that only that one knows."""
    return Folder(tmp_path / "elsewhere")


def endpoint_of(transport: str, folder: Path) -> str:
    return "tcp://127.0.0.1:*" if transport == "tcp" else f"ipc://{folder}/s"


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
@pytest.mark.parametrize("clients", ["folder", "file", "any"])
def test_a_reader_with_its_key_gets_every_pixel(transport, clients, keys, tmp_path):
    named = {"folder": keys.files["readers"], "file": keys.files["reader_public"], "any": "any"}[clients]
    curve = PublisherKeys(keys.files["publisher_secret"], named)
    with Publisher(endpoint_of(transport, tmp_path), rig="gate", curve=curve) as publisher:  # noqa: SIM117
        with Subscriber(publisher.endpoint, curve=keys.reader) as subscriber:
            assert publisher.wait_for_subscriber(SOON_S)
            sent = fused(7, pixels=np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8))
            publisher.send(sent)
            received = subscriber.latest(SOON_S)
            np.testing.assert_array_equal(received.pixels, sent.pixels)
            assert subscriber.trouble is None


def test_with_any_a_reader_needs_no_key_of_its_own(keys):
    curve = PublisherKeys(keys.files["publisher_secret"], "any")
    with Publisher("tcp://127.0.0.1:*", rig="gate", curve=curve) as publisher:  # noqa: SIM117
        with Subscriber(publisher.endpoint, curve=ReaderKeys(keys.files["publisher_public"])) as subscriber:
            assert publisher.wait_for_subscriber(SOON_S)
            publisher.send(fused(1))
            assert subscriber.latest(SOON_S).sequence == 1


def test_nobody_in_between_can_read_the_pixels_or_the_header(keys):
    """What crosses the wire, seen by a relay: with keys nothing of the message, without them all of it."""
    pixels = np.frombuffer(b"SECRETPIXELS" * 6, np.uint8).reshape(4, 6, 3)
    for curve, reader, seen in ((keys.publisher, keys.reader, False), (None, None, True)):
        with Publisher("tcp://127.0.0.1:*", rig="gate", curve=curve) as publisher, Relay(publisher.endpoint) as relay:
            with Subscriber(relay.endpoint, curve=reader) as subscriber:
                assert publisher.wait_for_subscriber(SOON_S)
                publisher.send(fused(0, pixels=pixels))
                assert subscriber.latest(SOON_S).pixels.tobytes() == pixels.tobytes()
            assert (b"SECRETPIXELS" in relay.heard, b"sf/1/gate" in relay.heard) == (seen, seen)


class Relay:
    """A TCP relay for one connection that keeps what went through."""

    def __init__(self, endpoint: str) -> None:
        import socket

        host, port = endpoint.removeprefix("tcp://").split(":")
        self.heard = bytearray()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listening.getsockname()[1]}"
        self._ends = [socket.create_connection((host, int(port)))]
        threading.Thread(target=self._run, daemon=True).start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_) -> None:
        for end in (self._listening, *self._ends):
            end.close()

    def _run(self) -> None:
        self._ends.append(self._listening.accept()[0])
        server, client = self._ends
        threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
        self._pump(server, client)

    def _pump(self, source, target) -> None:
        try:
            while data := source.recv(1 << 16):
                self.heard += data
                target.sendall(data)
        except OSError:
            pass


def refused(publisher: Publisher, subscriber: Subscriber) -> str:
    """What the subscriber says of why it hears nothing."""
    assert until(lambda: subscriber.trouble)
    publisher.send(fused(0))
    assert subscriber.latest(0.1) is None
    assert not subscriber.connected
    assert publisher.subscribers == 0
    return subscriber.trouble


def test_a_reader_that_is_not_known_is_refused_and_both_ends_say_so(keys, stranger, caplog):
    unknown = ReaderKeys(keys.files["publisher_public"], stranger.files["reader_secret"])
    with Publisher("tcp://127.0.0.1:*", rig="gate", curve=keys.publisher) as publisher:  # noqa: SIM117
        with Subscriber(publisher.endpoint, curve=unknown) as subscriber:
            assert "publish.curve.clients there does not hold its public key" in refused(publisher, subscriber)
    public = read_public(stranger.files["reader_public"]).decode()
    told = [line for line in caplog.messages if "refused a reader at 127.0.0.1" in line]
    assert len(told) == 1
    assert public in told[0]


def test_a_wrong_server_key_is_told_after_a_few_seconds(keys, stranger, caplog):
    wrong = ReaderKeys(stranger.files["publisher_public"], keys.files["reader_secret"])
    with Publisher("tcp://127.0.0.1:*", rig="gate", curve=keys.publisher) as publisher:
        began = time.monotonic()
        with Subscriber(publisher.endpoint, curve=wrong) as subscriber:
            assert "the server key given is not its own" in refused(publisher, subscriber)
            assert time.monotonic() - began >= 2
    assert len([line for line in caplog.messages if "server key" in line]) == 1


def test_keys_at_one_end_only_are_told(keys):
    with Publisher("tcp://127.0.0.1:*", rig="gate", curve=keys.publisher) as publisher:  # noqa: SIM117
        with Subscriber(publisher.endpoint) as subscriber:
            assert "encrypts; give its public key" in refused(publisher, subscriber)
    with Publisher("tcp://127.0.0.1:*", rig="gate") as publisher:  # noqa: SIM117
        with Subscriber(publisher.endpoint, curve=keys.reader) as subscriber:
            assert "does not encrypt" in refused(publisher, subscriber)


def test_a_reader_whose_key_is_added_comes_in_without_a_restart_of_either_end(keys, stranger):
    late = ReaderKeys(keys.files["publisher_public"], stranger.files["reader_secret"])
    with Publisher("tcp://127.0.0.1:*", rig="gate", curve=keys.publisher) as publisher:  # noqa: SIM117
        with Subscriber(publisher.endpoint, curve=late) as subscriber:
            assert until(lambda: subscriber.trouble)
            shutil.copy(stranger.files["reader_public"], keys.files["readers"] / "late.key")
            assert publisher.wait_for_subscriber(SOON_S)
            publisher.send(fused(3))
            assert subscriber.latest(SOON_S).sequence == 3
            assert subscriber.trouble is None


def test_a_reader_whose_key_was_taken_away_does_not_come_in_again(keys):
    with Publisher("tcp://127.0.0.1:*", rig="gate", curve=keys.publisher) as publisher:
        with Subscriber(publisher.endpoint, curve=keys.reader):
            assert publisher.wait_for_subscriber(SOON_S)
            keys.files["reader_public"].unlink()
        assert until(lambda: publisher.subscribers == 0)
        time.sleep(1.1)  # the keys are read once a second at most
        with Subscriber(publisher.endpoint, curve=keys.reader) as subscriber:
            assert "does not hold its public key" in refused(publisher, subscriber)


def test_those_who_knock_in_vain_delay_nobody(keys, stranger):
    """Frames go on one by one while ten strangers try again and again."""
    wrong = [ReaderKeys(stranger.files["publisher_public"], keys.files["reader_secret"]) for _ in range(5)]
    unknown = [ReaderKeys(keys.files["publisher_public"], stranger.files["reader_secret"]) for _ in range(5)]
    with Publisher("tcp://127.0.0.1:*", rig="gate", curve=keys.publisher) as publisher:
        knocking = [Subscriber(publisher.endpoint, curve=each) for each in (*wrong, *unknown)]
        try:
            with Subscriber(publisher.endpoint, curve=keys.reader) as subscriber:
                assert publisher.wait_for_subscriber(SOON_S)
                for sequence in range(100):
                    publisher.send(fused(sequence))
                    assert subscriber.latest(SOON_S).sequence == sequence
                assert (subscriber.lost, publisher.subscribers) == (0, 1)
        finally:
            for each in knocking:
                each.close()


def test_push_and_pull_work_encrypted_and_lose_nothing(keys):
    publisher = Publisher("tcp://127.0.0.1:*", rig="gate", mode="push", curve=keys.publisher)

    def publish() -> None:
        with publisher:
            for sequence in range(200):
                publisher.send(fused(sequence))

    writer = threading.Thread(target=publish, daemon=True)
    writer.start()
    with Subscriber(publisher.endpoint, mode="pull", curve=keys.reader) as subscriber:
        assert [each.sequence for each in subscriber.every()] == list(range(200))
    writer.join(SOON_S)
    assert not writer.is_alive()


def test_closing_is_quick_and_frees_the_endpoint(keys):
    began = time.monotonic()
    with Publisher("tcp://127.0.0.1:*", rig="gate", curve=keys.publisher) as first:
        endpoint = first.endpoint
    assert time.monotonic() - began < 1.5
    with Publisher(endpoint, rig="gate", curve=keys.publisher), pytest.raises(UserError, match="another process"):
        Publisher(endpoint, rig="gate", curve=keys.publisher)
    assert not [thread for thread in threading.enumerate() if thread.name == "doorkeeper"]


def test_a_public_endpoint_starts_with_keys_and_is_refused_without(keys):
    with Publisher("tcp://0.0.0.0:*", rig="gate", curve=keys.publisher) as publisher:
        port = publisher.endpoint.rpartition(":")[2]
        with Subscriber(f"tcp://127.0.0.1:{port}", curve=keys.reader) as subscriber:
            assert publisher.wait_for_subscriber(SOON_S)
            publisher.send(fused(2))
            assert subscriber.latest(SOON_S).sequence == 2
    with pytest.raises(UserError, match="streamfuse keys DIR"):
        Publisher("tcp://0.0.0.0:*", rig="gate")
    with pytest.raises(UserError, match="other machines could connect"):
        Publisher("pgm://127.0.0.1;239.1.1.1:5", rig="gate", curve=keys.publisher)


def test_what_cannot_be_encrypted_is_refused(keys, monkeypatch):
    with pytest.raises(UserError, match="stays inside this process"):
        Publisher("inproc://x", rig="gate", curve=keys.publisher)
    with pytest.raises(UserError, match="stays inside this process"):
        Subscriber("inproc://x", curve=keys.reader)
    monkeypatch.setattr(zmq, "has", lambda what: what != "curve")
    for refused_one in (
        lambda: Publisher("tcp://127.0.0.1:*", rig="gate", curve=keys.publisher),
        lambda: Subscriber("tcp://127.0.0.1:1", curve=keys.reader),
        lambda: make_keys(keys.path / "more"),
    ):
        with pytest.raises(UserError, match="was built without CURVE; take the pyzmq wheel"):
            refused_one()


# -- files ----------------------------------------------------------------------------------------------------------


def test_keys_are_pairs_that_only_their_owner_can_read_and_that_zeromqs_own_tools_read(keys):
    from zmq.auth import load_certificate

    assert {path.relative_to(keys.path).as_posix() for path in keys.path.rglob("*.key*")} == {
        "publisher.key",
        "publisher.key_secret",
        "reader.key_secret",
        "readers/reader.key",
    }
    for name in ("publisher", "reader"):
        public, secret = keys.files[f"{name}_public"], keys.files[f"{name}_secret"]
        assert read_secret(secret) == load_certificate(secret)
        assert load_certificate(public) == (read_public(public), None)
        assert read_secret(secret)[0] == read_public(public)
        assert {stat.S_IMODE(path.stat().st_mode) for path in (public, secret)} == {0o600}


def test_keys_are_never_overwritten_and_a_further_reader_can_be_added(keys):
    before = {path: path.read_bytes() for path in keys.path.rglob("*.key*")}
    with pytest.raises(UserError, match=r"reader\.key.* exists; keys are not overwritten"):
        make_keys(keys.path)
    make_keys(keys.path, "tracker")
    assert {path: path.read_bytes() for path in before} == before
    assert len(read_allowed(keys.files["readers"])) == 2
    keys.files["publisher_secret"].unlink()
    with pytest.raises(UserError, match=r"publisher\.key exists"):
        make_keys(keys.path, "third")


@pytest.mark.parametrize("name", ["", "a/b", "..", "publisher", "x" * 65])
def test_a_reader_needs_a_name_that_can_be_a_file(name, tmp_path):
    with pytest.raises(UserError, match="cannot name a key file"):
        make_keys(tmp_path, name)


def test_what_is_wrong_with_a_key_file_is_told_without_its_content(keys, tmp_path):
    secret = keys.files["publisher_secret"]
    damaged = tmp_path / "damaged.key_secret"
    damaged.write_text(secret.read_text().replace('secret-key = "', 'secret-key = "x'))
    empty = tmp_path / "empty.key"
    empty.write_text("nothing")
    picture = tmp_path / "picture.key"
    picture.write_bytes(b"\xff\xd8\xff")
    for read, path, said in (
        (read_secret, damaged, "is damaged"),
        (read_secret, keys.files["publisher_public"], "holds no secret CURVE key"),
        (read_public, empty, "holds no public CURVE key"),
        (read_public, picture, "is no key file"),
        (read_public, tmp_path / "absent.key", "cannot be read: No such file"),
        (read_allowed, tmp_path / "absent", "cannot be read: No such file"),
    ):
        with pytest.raises(UserError, match=said) as told:
            read(path)
        assert str(path) in str(told.value)
        assert secret.read_text().split('"')[3][:10] not in str(told.value)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_a_key_file_that_may_not_be_read_is_an_error(keys):
    keys.files["publisher_secret"].chmod(0)
    with pytest.raises(UserError, match="Permission denied"):
        Publisher("tcp://127.0.0.1:*", rig="gate", curve=keys.publisher)


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_keys_that_others_can_read_are_warned_of(keys, caplog):
    keys.files["publisher_secret"].chmod(0o640)
    with Publisher("tcp://127.0.0.1:*", rig="gate", curve=keys.publisher):
        pass
    assert [line for line in caplog.messages if "chmod 600" in line and "publisher.key_secret" in line]


def test_mixed_up_files_are_noticed(keys, caplog):
    """The secret file where the public one is enough; no reader's key at all."""
    assert read_public(keys.files["publisher_secret"]) == read_public(keys.files["publisher_public"])
    assert "holds a secret key where the public one is enough" in caplog.text
    keys.files["reader_public"].unlink()
    with Publisher("tcp://127.0.0.1:*", rig="gate", curve=keys.publisher):
        pass
    assert "nobody can read" in caplog.text
    with pytest.raises(UserError, match="--client-key needs --server-key"):
        reader_keys(None, keys.files["reader_secret"])


def test_no_secret_is_ever_printed(keys, stranger, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    secrets = [read_secret(path)[1].decode() for path in keys.path.rglob("*.key_secret")]
    assert len(set(secrets)) == 2
    unknown = ReaderKeys(keys.files["publisher_public"], stranger.files["reader_secret"])
    with Publisher("tcp://127.0.0.1:*", rig="gate", curve=keys.publisher) as publisher:  # noqa: SIM117
        with Subscriber(publisher.endpoint, curve=keys.reader) as good, Subscriber(publisher.endpoint, curve=unknown):
            assert until(lambda: good.info is not None and "refused" in caplog.text)
            shown = f"{keys.publisher} {keys.reader} {good.info} {explained(keys.files)}"
    shown += caplog.text + "".join(capfd.readouterr())
    assert not [secret for secret in secrets if secret in shown]


# -- run file and command line ----------------------------------------------------------------------------------------


def test_the_run_file_names_its_keys_relative_to_itself(keys):
    written = {"secret_key_file": "keys/publisher.key_secret", "clients": "keys/readers"}
    source = {"kind": "synthetic"}
    config = RunConfig.model_validate({"source": source, "publish": {"curve": written}, "folder": keys.path.parent})
    assert open_keys(config, config.publish.curve) == keys.publisher
    anybody = CurveConfig(secret_key_file="k", clients="any")
    assert open_keys(config, anybody).clients == "any"


def pasted(said: str, elsewhere: Path) -> PublisherKeys:
    """What `streamfuse keys` says belongs into the run file, put into one that lies somewhere else."""
    lines = [line for line in said.splitlines() if line.startswith("  ") and "streamfuse subscribe" not in line]
    document = {"source": {"kind": "synthetic"}, **yaml.safe_load("\n".join(lines))}
    config = RunConfig.model_validate({**document, "folder": elsewhere})
    return open_keys(config, config.publish.curve)


def test_keys_and_subscribe_work_from_the_command_line(tmp_path):
    def command(*arguments: object) -> list[str]:
        return [sys.executable, "-m", "streamfuse", *map(str, arguments)]

    folder = tmp_path / "the: keys"
    made = subprocess.run(command("keys", folder.name), cwd=tmp_path, capture_output=True, text=True, check=True)
    again = subprocess.run(command("keys", folder), capture_output=True, text=True, check=False)
    assert (again.returncode, "not overwritten" in again.stderr) == (2, True)
    secrets = [read_secret(path)[1].decode() for path in folder.glob("*.key_secret")]
    assert not [secret for secret in secrets if secret in made.stdout + made.stderr]
    curve = pasted(made.stderr, tmp_path / "elsewhere")
    assert curve == PublisherKeys(folder / "publisher.key_secret", folder / "readers")
    with Publisher("tcp://127.0.0.1:*", rig="gate", curve=curve) as publisher:
        options: list[object] = ["--server-key", folder / "publisher.key", "--client-key", folder / "reader.key_secret"]
        listening = command("subscribe", publisher.endpoint, *options, "--frames", 1, "--json")
        process = subprocess.Popen(listening, stdout=subprocess.PIPE, text=True)
        assert publisher.wait_for_subscriber(20)
        publisher.send(fused(0))
        said, _ = process.communicate(timeout=20)
    assert re.search(r'"received": 1\b', said)
