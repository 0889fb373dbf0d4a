"""`streamfuse calibrate rig` and `points`: from sightings, or from matched points, to a rig file."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.markup import escape

from streamfuse.calibrate.commands.seeing import TARGET_HELP
from streamfuse.errors import UserError
from streamfuse.terminal import Json, console, finish

if TYPE_CHECKING:
    from streamfuse.calibrate.boardless import Matched
    from streamfuse.calibrate.solve import Model, Solution
    from streamfuse.rig import Rig

MEETING_PX = 2.0  # parallax up to which depths are told after solving
MODELS = ("auto", "pinhole", "rational", "fisheye", "radtan")
MODEL_HELP = (
    "Lens model: auto (the one with the least error on held-out views), pinhole (5 coefficients), rational (8), "
    "fisheye (4) or radtan (4: the pinhole that Kalibr can read); two with a comma: thermal,RGB."
)


def rig(
    sightings: Annotated[
        list[Path],
        typer.Argument(metavar="SIGHTINGS.json|FOLDERS", help="What `detect` wrote; or folders, detected first."),
    ],
    target: Annotated[str | None, typer.Option(help=f"Needed with folders. {TARGET_HELP}")] = None,
    out: Annotated[Path, typer.Option(help="The rig file; OUT.solution.json beside it is for `report`.")] = Path(
        "rig.yaml"
    ),
    model: Annotated[str, typer.Option(help=MODEL_HELP)] = "auto",
    working_depth: Annotated[
        float | None,
        typer.Option(min=0.01, help="Depth in metres at which the images must coincide; else the target's own."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The rig's name; else that of the file.")] = None,
    larger_thermal: Annotated[
        bool, typer.Option("--larger-thermal", help="The thermal camera has more pixels than the RGB camera.")
    ] = False,
    thermal_serial: Annotated[str, typer.Option(help="Which thermal camera: kept in the rig file.")] = "",
    rgb_serial: Annotated[str, typer.Option(help="Which RGB camera.")] = "",
    as_json: Json = False,
) -> None:
    """Solve both lenses and the rig between them, robustly; say how well, on views left out; write the rig file.

    A rig that misses the acceptance rule is written, marked provisional, with the reasons; views that carry no answer
    are refused.
    """
    from streamfuse.calibrate.parallax import parallax_of
    from streamfuse.calibrate.solve import solve

    stored, beside = _stored(sightings, target, out), out.with_suffix(".solution.json")
    with console.status("solving") as status:
        solution = solve(
            stored.views,
            stored.target,
            _models(model),
            working_depth,
            name or out.stem,
            larger_thermal,
            lambda what: status.update(f"solving: {what}"),
        )
    parallax_of(solution.rig)  # refuses a depth at which the cameras see nothing in common
    solution = _of_cameras(solution, thermal_serial, rgb_serial)
    _folder_of(out)
    solution.rig.save(out)
    solution.save(beside)
    _tell(solution, out, beside)
    finish(_told(solution, out, beside), as_json)


def points(
    matched: Annotated[Path, typer.Argument(metavar="POINTS.csv", help="thermal_x,thermal_y,rgb_x,rgb_y in pixels.")],
    thermal_size: Annotated[str, typer.Option(metavar="WIDTHxHEIGHT", help="Of the thermal images.")],
    rgb_size: Annotated[str, typer.Option(metavar="WIDTHxHEIGHT", help="Of the RGB images.")],
    out: Annotated[Path, typer.Option(help="The rig file.")] = Path("rig.yaml"),
    working_depth: Annotated[float | None, typer.Option(min=0.01, help="How far away the points are, metres.")] = None,
    baseline: Annotated[
        float | None, typer.Option(min=0, help="Distance of the two cameras, metres: tells the error at other depths.")
    ] = None,
    rgb_focal: Annotated[
        float | None, typer.Option(min=1, help="Focal length of the RGB camera, pixels; else a 60 degree lens.")
    ] = None,
    as_json: Json = False,
) -> None:
    """A rig without a board: one homography from points matched in both images. Right at the points' depth only."""
    from streamfuse.calibrate.boardless import off_at_depths, read_points, rig_of_points
    from streamfuse.calibrate.parallax import rounded

    sizes = _size(thermal_size, "--thermal-size"), _size(rgb_size, "--rgb-size")
    found = rig_of_points(read_points(matched), sizes, out.stem, working_depth)
    _folder_of(out)
    found.rig.save(out)
    told = _tell_points(found, out)
    if baseline is not None and working_depth is not None:
        focal = rgb_focal or 0.866 * sizes[1][0]
        told["off_px_at_m"] = off_at_depths(baseline, focal, working_depth)
        for depth, off in told["off_px_at_m"]:
            away = f"{rounded(depth, 3)} m" if isfinite(depth) else "infinitely far"
            console.print(f"  an object {away} away is {off:.1f} px off", highlight=False)
    else:
        console.print("  how far off at other depths: say --baseline and --working-depth", highlight=False)
    finish(told, as_json)


def _stored(sightings: list[Path], target: str | None, out: Path) -> Any:
    from streamfuse.calibrate.detect.stored import load

    if len(sightings) == 1 and not sightings[0].is_dir():
        stored = load(sightings[0])
        _check_target(target, stored.target, sightings[0])
        return stored
    if target is None:
        raise UserError("folders were given without --target; name the target, e.g. --target checkerboard:9x6:40")
    from streamfuse.calibrate.detect.folders import detect_folders
    from streamfuse.calibrate.target import parse_target

    told = detect_folders(sightings, parse_target(target), out.with_suffix(".detected"), console)
    return load(Path(told["sightings"]))


def _of_cameras(solution: Solution, thermal_serial: str, rgb_serial: str) -> Solution:
    """The solution with the serial numbers in its rig's record."""
    from streamfuse.rig import Calibration

    serials = {"thermal_serial": thermal_serial, "rgb_serial": rgb_serial}
    record = (solution.rig.calibration or Calibration()).model_copy(update=serials)
    return replace(solution, rig=solution.rig.model_copy(update={"calibration": record}))


def _check_target(asked: str | None, found: Any, path: Path) -> None:
    from streamfuse.calibrate.target import parse_target

    if asked is not None and parse_target(asked) != found:
        raise UserError(
            f"--target is a {parse_target(asked).name}, {path} was detected with a {found.name}; leave --target out or "
            "detect again with it"
        )


def _models(text: str) -> tuple[Model, Model]:
    one = text.split(",")
    both = one * 2 if len(one) == 1 else one
    if len(both) != 2 or not set(both) <= set(MODELS):
        raise UserError(f"--model {text}: allowed are {', '.join(MODELS)}, or two with a comma (thermal,RGB)")
    return cast("tuple[Model, Model]", tuple(both))


def _size(text: str, option: str) -> tuple[int, int]:
    try:
        width, height = (int(number) for number in text.lower().split("x"))
    except ValueError:
        raise UserError(f"{option} {text}: write WIDTHxHEIGHT, e.g. 640x512") from None
    return width, height


def _folder_of(out: Path) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out.parent}: cannot be made: {error.strerror}; name another folder with --out") from error


def _tell(solution: Solution, out: Path, beside: Path) -> None:
    from rich.table import Table

    estimate = solution.estimate
    table = Table("", "thermal", "RGB", title=escape(f"{solution.rig.name}: {solution.target}"))
    table.add_row("RMS, px", f"{solution.thermal.rms_px:.2f}", f"{solution.rgb.rms_px:.2f}")
    held_out = solution.held_out
    table.add_row("held-out, thermal to RGB, px", "", f"{held_out.rms_px:.2f} (95 %: {held_out.percentile_px(95):.2f})")
    for name in ("fx", "fy", "cx", "cy"):
        at = [estimate.names.index(f"{camera}.{name}") for camera in ("thermal", "rgb")]
        table.add_row(name, *(f"{estimate.values[one]:.1f} +- {estimate.half_width_95[one]:.1f}" for one in at))
    console.print(table)
    for view, why in solution.rejected:
        console.print(f"  left out: {escape(view)}, {escape(why)}", highlight=False)
    _verdict(solution.reasons, out)
    console.print(f"  {_depth_in_words(solution.rig)}", markup=False, highlight=False)
    console.print(f"  {escape(str(beside))}: for `streamfuse calibrate report`", highlight=False)


def _depth_in_words(rig: Rig) -> str:
    """At which depth the images meet, and how far before and behind it that holds."""
    from streamfuse.calibrate.parallax import parallax_of, rounded

    if rig.working_depth_m is None or not isfinite(rig.working_depth_m):
        return "the images meet far away; nearer: --working-depth, or register.depth_m in the run file"
    return (
        f"the images meet at {rounded(rig.working_depth_m, 3)} m (where the target stood, unless --working-depth said "
        f"another): {parallax_of(rig).holds(MEETING_PX)}; for another distance --working-depth, or register.depth_m in "
        "the run file"
    )


def _verdict(reasons: tuple[str, ...], out: Path) -> None:
    verdict = "[yellow]provisional[/]" if reasons else "[green]accepted[/]"
    console.print(f"{escape(str(out))}: {verdict}", highlight=False)
    for reason in reasons:
        console.print(f"  - {escape(reason)}", highlight=False)


def _told(solution: Solution, out: Path, beside: Path) -> dict[str, Any]:
    record = solution.rig.calibration
    return {
        "rig": str(out),
        "solution": str(beside),
        "content_hash": solution.rig.content_hash,
        "provisional": solution.rig.provisional,
        "working_depth_m": solution.rig.working_depth_m,
        "reasons": list(solution.reasons),
        "rejected": [list(one) for one in solution.rejected],
        "models": solution.models,
        **(record.model_dump(include={"views", "thermal_rms_px", "rgb_rms_px", "held_out_px"}) if record else {}),
    }


def _tell_points(found: Matched, out: Path) -> dict[str, Any]:
    used, count = int(found.used.sum()), len(found.used)
    console.print(f"{used} of {count} points agree; held-out error {found.held_out_px:.2f} px (RMS)", highlight=False)
    lines = ", ".join(str(int(number) + 1) for number in (~found.used).nonzero()[0][:12])
    if lines:
        console.print(f"  left out: points {lines}", highlight=False)
    _verdict(found.reasons, out)
    return {
        "rig": str(out),
        "points": count,
        "used": used,
        "held_out_px": round(found.held_out_px, 4),
        "provisional": found.rig.provisional,
        "reasons": list(found.reasons),
    }
