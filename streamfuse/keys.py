"""CURVE keys as files: made in pairs, read with care, never shown.

A file is what ZeroMQ's own tools write and read (ZPL): a public key may be given to anybody, a file whose name ends in
`.key_secret` holds its secret half too and stays where it was put. Secrets leave a file for libzmq only.
"""

from __future__ import annotations

import json
import logging
import os
import re
import struct
from collections.abc import Mapping
from pathlib import Path

import zmq
from zmq.utils import z85

from streamfuse.errors import UserError

PUBLIC, SECRET = ".key", ".key_secret"
PUBLISHER, READERS = "publisher", "readers"
KEY = re.compile(r'^\s*(public|secret)-key\s*=\s*"([^"]*)"', re.MULTILINE)
KEY_BYTES = 32
LARGEST = 1 << 20
EXPLAINED = ("publisher_public", "publisher_secret", "readers", "reader_secret")
ABOUT = {
    PUBLIC: "# A public CURVE key: it may be shown to anybody.\n",
    SECRET: "# A SECRET CURVE key: whoever has it passes for its owner. Keep it to yourself.\n",
}

log = logging.getLogger(__name__)


def check_curve() -> None:
    """Raises UserError where this libzmq cannot encrypt."""
    if not zmq.has("curve"):
        raise UserError(
            f"asked for CURVE keys, but libzmq {zmq.zmq_version()} here was built without CURVE; take the pyzmq wheel "
            "(pip install --force-reinstall --only-binary :all: pyzmq), or install libsodium before building libzmq"
        )


def make_keys(folder: Path, reader: str = "reader") -> dict[str, Path]:
    """Make a reader's pair, and the publisher's where `folder` has none yet; where each file lies.

    publisher.key (readers need it), publisher.key_secret (stays), readers/NAME.key (who may read), NAME.key_secret
    (goes to that reader); every file is its owner's alone (0600). Raises UserError before anything is overwritten.
    """
    check_curve()
    if not re.fullmatch(r"[\w-]{1,64}", reader) or reader == PUBLISHER:
        raise UserError(f"reader {reader!r} cannot name a key file; use letters, digits, - and _, and not {PUBLISHER}")
    files = {
        "publisher_public": folder / f"{PUBLISHER}{PUBLIC}",
        "publisher_secret": folder / f"{PUBLISHER}{SECRET}",
        "readers": folder / READERS,
        "reader_public": folder / READERS / f"{reader}{PUBLIC}",
        "reader_secret": folder / f"{reader}{SECRET}",
    }
    publisher = files["publisher_public"], files["publisher_secret"]
    there = [path.exists() for path in publisher]
    taken = [files[name] for name in ("reader_public", "reader_secret") if files[name].exists()]
    if any(there) and not all(there):
        taken.append(publisher[there.index(True)])
    if taken:
        raise UserError(f"{taken[0]} exists; keys are not overwritten: name another folder, or another --reader")
    try:
        for each in (folder, files["readers"]):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not all(there):
            _write_pair(*publisher)
        _write_pair(files["reader_public"], files["reader_secret"])
    except OSError as error:
        raise UserError(f"{error.filename or folder}: keys cannot be written: {error.strerror}") from error
    return files


def explained(files: Mapping[str, Path]) -> str:
    """What goes where, for people; paths are whole, since one in a run file is relative to that file."""
    public, secret, readers, own = (files[name].absolute() for name in EXPLAINED)
    return (
        f"In the publisher's run file:\n"
        f"  publish:\n    endpoint: tcp://*:5555\n    curve:\n"
        f"      secret_key_file: {json.dumps(str(secret), ensure_ascii=False)}\n"
        f"      clients: {json.dumps(str(readers), ensure_ascii=False)}\n"
        f"The reader gets {public} and {own}, over a safe way, and runs:\n"
        f"  streamfuse subscribe tcp://HOST:5555 --server-key {public.name} --client-key {own.name}\n"
        "Take away its file below clients, and it is not let in again."
    )


def read_public(path: Path) -> bytes:
    """The public key of a file, as libzmq takes it. Raises UserError, which never tells what the file holds."""
    keys = _read(path)
    if "secret" in keys:
        log.warning("%s holds a secret key where the public one is enough; name the file that ends in .key", path)
    if "public" not in keys:
        raise UserError(f"{path} holds no public CURVE key; name the .key file that `streamfuse keys` made")
    return keys["public"][0]


def read_secret(path: Path) -> tuple[bytes, bytes]:
    """(public, secret) of a file; a warning where other users of this machine can read it."""
    keys = _read(path)
    if "secret" not in keys:
        raise UserError(f"{path} holds no secret CURVE key; name the .key_secret file that `streamfuse keys` made")
    if os.name != "nt" and path.stat().st_mode & 0o077:
        log.warning("%s can be read by other users of this machine: chmod 600 %s", path, path)
    secret = keys["secret"][0]
    return zmq.curve_public(secret), secret


def read_allowed(path: Path) -> frozenset[bytes]:
    """Every public key of a file, or of a folder's *.key files. Raises UserError for what cannot be read."""
    if not path.is_dir():
        return frozenset(_read(path).get("public", ()))
    return frozenset(key for file in sorted(path.glob(f"*{PUBLIC}")) for key in _read(file).get("public", ()))


def _read(path: Path) -> dict[str, list[bytes]]:
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} is too large for a key file")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"key file {path} cannot be read: {error.strerror}; `streamfuse keys` makes keys") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no key file; `streamfuse keys` makes keys") from error
    keys: dict[str, list[bytes]] = {}
    for kind, key in KEY.findall(text):
        if not _is_key(key):
            raise UserError(f"the {kind} key in {path} is damaged; copy the file again")
        keys.setdefault(kind, []).append(key.encode())
    return keys


def _is_key(text: str) -> bool:
    try:
        return len(z85.decode(text)) == KEY_BYTES
    except (KeyError, ValueError, struct.error):
        return False


def _write_pair(public: Path, secret: Path) -> None:
    public_key, secret_key = (key.decode() for key in zmq.curve_keypair())
    shown = f'curve\n    public-key = "{public_key}"\n'
    _write(secret, f'{ABOUT[SECRET]}{shown}    secret-key = "{secret_key}"\n')
    _write(public, f"{ABOUT[PUBLIC]}{shown}")


def _write(path: Path, text: str) -> None:
    """A new file that nobody else can read, not even for a moment."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
