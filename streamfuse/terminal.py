"""What every command shares: the console on stderr, the --json option, and how a command ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, ProgressColumn
from rich.table import Table

from streamfuse.errors import StreamfuseError, UserError

console = Console(stderr=True, soft_wrap=True)

LEAST_WIDTH = 100

Json = Annotated[bool, typer.Option("--json", help="One machine-readable JSON object as the last line on stdout.")]


def finish(told: dict[str, Any], as_json: bool) -> None:
    """The last line, and exit code 1 where the report carries an error."""
    if as_json:
        try:
            typer.echo(json.dumps(told, default=str))
        except BrokenPipeError:  # a reader that hung up: typer ends without a word
            raise
        except OSError as error:
            raise StreamfuseError(f"--json: the last line cannot be written: {error.strerror}") from error
    if told.get("error"):
        say_error(told["error"])
        raise typer.Exit(1)


def note(out: Console, text: str) -> None:
    """What the user should know, though all goes on."""
    out.print(f"[yellow]note:[/] {escape(text)}", highlight=False)


def make_folder(folder: Path, option: str = "--out") -> None:
    """The folder that an option names, before long work begins. Raises UserError where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{option} {folder}: cannot be made: {error.strerror}") from error


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def passing_bar(out: Console, *columns: ProgressColumn) -> Progress:
    """A progress bar that is gone when it is done; without a terminal it writes nothing, no empty line either."""
    return Progress(*columns, console=out, transient=True, disable=not out.is_terminal)


def print_wide(out: Console, table: Table) -> None:
    """As wide as it must be: a log file has no width, and a terminal wraps."""
    Console(file=out.file, width=max(out.width, LEAST_WIDTH)).print(table)


def say_error(text: str) -> None:
    console.print(f"[red]error:[/] {escape(text)}", highlight=False)
