"""What is told in words is told to the letter, whatever brackets it holds."""

from __future__ import annotations

import errno
import io
import os

import pytest
from rich.console import Console

from streamfuse.errors import StreamfuseError, UserError
from streamfuse.terminal import counted, finish, make_folder, note, passing_bar

BRACKETS = "pip install 'streamfuse[quantize]' in folder[/red]"


def test_a_note_keeps_its_brackets() -> None:
    said = io.StringIO()
    note(Console(file=said, width=200), BRACKETS)
    assert said.getvalue() == f"note: {BRACKETS}\n"


def test_a_last_line_that_finds_no_room_is_told(monkeypatch) -> None:
    def full(_line: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("typer.echo", full)
    finish({}, as_json=False)
    with pytest.raises(StreamfuseError, match="last line cannot be written: No space left"):
        finish({}, as_json=True)


def test_a_folder_that_cannot_be_made_is_told_with_its_option(tmp_path) -> None:
    make_folder(tmp_path / "new" / "[1]")
    assert (tmp_path / "new" / "[1]").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--save .*file/x: cannot be made: Not a directory"):
        make_folder(tmp_path / "file" / "x", "--save")


def test_a_passing_bar_leaves_nothing_in_a_log_file() -> None:
    said = io.StringIO()
    with passing_bar(Console(file=said)) as bar:
        assert list(bar.track(range(3))) == [0, 1, 2]
    assert said.getvalue() == ""


def test_one_is_no_plural() -> None:
    assert [counted(number, "pair") for number in range(3)] == ["0 pairs", "1 pair", "2 pairs"]
