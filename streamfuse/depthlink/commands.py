"""`streamfuse depth`: a person's end of a depth link."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from streamfuse.errors import UserError
from streamfuse.terminal import Json, console, finish

if TYPE_CHECKING:
    from streamfuse.depthlink.client import DepthState
    from streamfuse.depthlink.wire import Box


def depth(
    endpoint: Annotated[str, typer.Argument(help="register.link.endpoint of a run, e.g. tcp://127.0.0.1:5557.")],
    depth_m: Annotated[
        float | None, typer.Argument(metavar="DEPTH", help="Metres; inf: far away; left out: only say what is.")
    ] = None,
    region: Annotated[str | None, typer.Option(metavar="X,Y,W,H", help="Only in this box, in output pixels.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the region: tells several apart, replaces one.")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="After so many the region is forgotten (else 5; inf: never).")
    ] = None,
    forget: Annotated[str | None, typer.Option(metavar="NAME", help="Forget the region of this name.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="How many seconds to wait for an answer.")] = 5.0,
    server_key: Annotated[
        Path | None, typer.Option(help="Public key file of a run that encrypts, e.g. keys/publisher.key.")
    ] = None,
    client_key: Annotated[
        Path | None, typer.Option(help="Your own secret key file; without one keys are made for this once.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Ask a running pipeline for another depth, of the whole or of a region, and print what is in force."""
    from streamfuse.curve import reader_keys
    from streamfuse.depthlink.client import DepthLink
    from streamfuse.depthlink.wire import KEPT_S

    if forget is not None and (depth_m is not None or region is not None):
        raise UserError("--forget takes a region away; ask for a depth in another call")
    if region is not None and depth_m is None:
        raise UserError("--region needs a DEPTH: streamfuse depth ENDPOINT DEPTH --region X,Y,W,H")
    if region is None and (name is not None or seconds is not None):
        raise UserError("--name and --seconds are of a region; give --region X,Y,W,H too")
    box = _box(region) if region is not None else None
    with DepthLink(endpoint, timeout_s=timeout, curve=reader_keys(server_key, client_key)) as link:
        if forget is not None:
            state = link.forget(forget)
        elif depth_m is None:
            state = link.state()
        else:
            state = link.set(depth_m, box, name=name or "", seconds=KEPT_S if seconds is None else seconds)
    print_state(console, state)
    finish(state.as_dict(), as_json)


def print_state(out: Console, state: DepthState) -> None:
    """The depth, then a line for every region."""
    at = "planar rig, one plane" if state.depth_m is None else f"depth {state.depth_m:g} m"
    making = ", a newer one is being made" if state.pending else ""
    lines = [
        f"{at}; output {state.size[0]}x{state.size[1]}, map {state.revision}, confidence {state.confidence:.2f}{making}"
    ]
    for name, each in state.regions.items():
        box = ",".join(f"{value:g}" for value in each.box)
        lines.append(f"  region {name!r}: {each.depth_m:g} m in {box}, for {each.seconds:.3g} s more")
    out.print("\n".join(lines), markup=False, highlight=False)


def _box(text: str) -> Box:
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--region {text!r}: four numbers X,Y,W,H in output pixels, e.g. 150,60,40,50") from None
    return x, y, width, height
