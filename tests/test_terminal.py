"""What is told in words is told to the letter, whatever brackets it holds."""

from __future__ import annotations

import io

from rich.console import Console

from streamfuse.terminal import note

BRACKETS = "pip install 'streamfuse[quantize]' in folder[/red]"


def test_a_note_keeps_its_brackets() -> None:
    said = io.StringIO()
    note(Console(file=said, width=200), BRACKETS)
    assert said.getvalue() == f"note: {BRACKETS}\n"
