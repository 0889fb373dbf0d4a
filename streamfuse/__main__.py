"""The entry point: an error becomes its message and exit code; Ctrl-C ends it, also while the commands are imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; a StreamfuseError or Ctrl-C is never a traceback."""
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(130)


def _run() -> None:
    from streamfuse.commands import app
    from streamfuse.errors import StreamfuseError
    from streamfuse.terminal import say_error

    try:
        app()
    except StreamfuseError as error:
        say_error(str(error))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
