"""A measuring process: reads one request, runs it, writes one answer. What it cannot run comes back with the reason.

python -m streamfuse.bench.child REQUEST.json ANSWER.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from streamfuse.bench.matrix import Cell, Protocol
from streamfuse.errors import StreamfuseError, UserError


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """What `kind` of measurement gave: {"result": ...}, or {"skipped": reason}."""
    cell, protocol = Cell.model_validate(request["cell"]), Protocol.model_validate(request["protocol"])
    try:
        return {"result": _measured(request, cell, protocol)}
    except StreamfuseError as error:
        return {"skipped": str(error)}


def _measured(request: dict[str, Any], cell: Cell, protocol: Protocol) -> dict[str, Any]:
    if request["kind"] != "cell" and cell.cameras != "both":
        raise UserError("peers fuse two cameras; the first cell of this file has one")
    match request["kind"]:
        case "cell":
            from streamfuse.bench.measure import measure

            return measure(cell, protocol, Path(request["raw"]))
        case "plain":
            from streamfuse.bench.plain import measure_plain

            return measure_plain(cell, protocol, all_threads=request["all_threads"])
        case "gstreamer":
            from streamfuse.bench.floor import measure_floor

            return measure_floor(cell, protocol)
        case _:
            from streamfuse.bench.closed import measure_closed

            return measure_closed(cell, protocol)


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(json.dumps(answer(asked)), encoding="utf-8")
