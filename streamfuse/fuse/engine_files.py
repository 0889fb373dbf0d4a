"""Compiled engines on disk: found again by everything they were made from, refused when damaged.

A file is one line of identity, the SHA-256 of its content, and the content. Whoever writes it does so beside it and
renames, so that a reader never meets half a file. It knows nothing of what the content means.

Where: `STREAMFUSE_CACHE`, else the user's cache folder (`~/.cache/streamfuse` on Linux). Deleting it costs a rebuild.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

MAGIC = "streamfuse engine 1"
SUFFIX = ".engine"
KEPT = 32
"""So many newest files stay; older ones belong to models, sizes and versions that nobody asked for any more."""


@dataclass(frozen=True, slots=True)
class EngineFile:
    """The place of one compiled engine; `key` stands for everything that its content depends on."""

    path: Path
    key: str

    def read(self) -> bytes | None:
        """Its content; None where there is none, and where it is not what it should be (removed, said in the log)."""
        try:
            head, _, content = self.path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("%s cannot be read (%s): building the engine again", self.path, error.strerror)
            return None
        if head != self._head(content):
            self.refuse("it is damaged or belongs to something else")
            return None
        return content

    def refuse(self, why: str) -> None:
        """Remove a file that is of no use, and say so."""
        log.warning("%s is refused, %s: building the engine again", self.path, why)
        with suppress(OSError):
            self.path.unlink()

    def write(self, content: bytes) -> None:
        """Keep it for the next start; where that cannot be done (full disk, read-only home) the next start is slow."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.path.parent, suffix=".part", delete=False) as part:
                part.write(self._head(content) + b"\n" + content)
            Path(part.name).replace(self.path)
            _prune(self.path.parent)
        except OSError as error:
            log.warning("%s cannot be written (%s): the next start builds it again", self.path, error.strerror)

    def _head(self, content: bytes) -> bytes:
        return f"{MAGIC} {self.key} {hashlib.sha256(content).hexdigest()}".encode()


_noted: ContextVar[list[EngineFile] | None] = ContextVar("noted", default=None)


def engine_file(kind: str, made_from: dict[str, str], folder: Path | None = None) -> EngineFile:
    """The file of an engine of this kind that was made from exactly this."""
    key = hashlib.sha256(json.dumps({"kind": kind, **made_from}, sort_keys=True).encode()).hexdigest()
    file = EngineFile((folder or cache_folder()) / f"{kind}-{key[:20]}{SUFFIX}", key)
    if (files := _noted.get()) is not None:
        files.append(file)
    return file


@contextmanager
def noted() -> Generator[list[EngineFile]]:
    """The files that are asked for inside, for who wants to say where they lie."""
    files: list[EngineFile] = []
    before = _noted.set(files)
    try:
        yield files
    finally:
        _noted.reset(before)


def hash_of_code() -> str:
    """Changes with every line that says what a graph computes."""
    fuse = Path(__file__).parent
    total = hashlib.sha256()
    for path in sorted([*fuse.rglob("*.py"), *(fuse.parent / "models").glob("*.py")]):
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def hash_of_weights(module: nn.Module) -> str:
    """Changes with every weight and every fixed kernel of a network."""
    total = hashlib.sha256()
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode() + tensor.detach().cpu().numpy().tobytes())
    return total.hexdigest()


def cache_folder() -> Path:
    """Where compiled engines are kept for this user."""
    if chosen := os.environ.get("STREAMFUSE_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "streamfuse" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "streamfuse"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamfuse"


def _prune(folder: Path) -> None:
    files = sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime)
    for old in files[:-KEPT]:
        old.unlink()
