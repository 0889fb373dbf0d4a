"""Errors: one class per different reaction, each message saying what was asked, what was found, what to do.

The command line turns a `StreamfuseError` into one line on stderr and its `exit_code`; nothing else is caught there.
"""

from __future__ import annotations


class StreamfuseError(Exception):
    """Something failed that is not the user's mistake (exit code 1)."""

    exit_code = 1


class UserError(StreamfuseError):
    """The user asked for something that cannot be done: a missing file, a wrong key, a busy port (exit code 2)."""

    exit_code = 2


class SourceLost(StreamfuseError):
    """A source that had opened stopped delivering for a reason other than its end."""


class EngineError(StreamfuseError):
    """An engine could not be loaded or failed while it ran; the next rung may still work."""


class WireError(StreamfuseError):
    """A message does not follow `sf/1`; it is refused before any buffer is viewed."""
