"""The command line: each command calls one function, turns its errors into exit codes, and prints what it returns.

Progress and tables go to stderr; with --json the last line on stdout is one JSON object.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from streamfuse.calibrate.commands import app as calibrate
from streamfuse.depthlink.commands import depth
from streamfuse.terminal import Json, console, finish

app = typer.Typer(
    help="Thermal and RGB camera streams in, one fused and time-stamped image stream out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(calibrate, name="calibrate")
app.command()(depth)

Data = Annotated[Path | None, typer.Option(help="Folder that holds the data sets; else as the file says.")]
Seconds = Annotated[float | None, typer.Option(min=0.1, help="Stop after this many seconds.")]


class Tone(str, Enum):
    auto = "auto"
    linear = "linear"
    percentile = "percentile"
    plateau = "plateau"


class Device(str, Enum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class PeerSet(str, Enum):
    msrs = "MSRS"
    roadscene = "RoadScene"
    tno = "TNO"


class ExportFormat(str, Enum):
    onnx = "onnx"


class Unit(str, Enum):
    nats = "nats"
    bits = "bits"


class Over(str, Enum):
    sum = "sum"
    mean = "mean"


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(min=1, help="How long the replay runs.")] = 10.0,
    out: Annotated[Path, typer.Option(help="Folder for the two pictures.")] = Path("out/demo"),
    model: Annotated[str | None, typer.Option(help="Another fusion model, e.g. average.")] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the demo's run file and end.")] = False,
    as_json: Json = False,
) -> None:
    """Play the shipped thermal+RGB recording at its real pace: match, align, fuse, publish, receive, and say how long
    each step took. Needs no camera."""
    from streamfuse.demo import demo_config_text, run_demo

    if print_config:
        typer.echo(demo_config_text())
        return
    with stopping() as stop:
        told = run_demo(seconds=seconds, out=out, model=model, stop=stop, console=console)
    finish(told, as_json)


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="Run file, e.g. configs/replay.yaml; it says everything else.")],
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after this many outputs.")] = None,
    seconds: Seconds = None,
    as_json: Json = False,
) -> None:
    """Run the pipeline of a run file until its streams end, a limit is reached, or Ctrl-C."""
    from streamfuse.config import load_run
    from streamfuse.live import run_with_progress

    with stopping() as stop:
        told = run_with_progress(load_run(config), frames=frames, seconds=seconds, stop=stop, console=console)
    finish(told, as_json)


@app.command()
def fuse(
    thermal: Annotated[Path, typer.Argument(help="Thermal image, folder of images, or video.")],
    visible: Annotated[Path, typer.Argument(help="Visible image, folder or video: the output has its geometry.")],
    out: Annotated[Path, typer.Option(help="Folder for the fused images; made if missing.")],
    model: Annotated[str, typer.Option(help="streamfuse-s, laplacian, average, or *.safetensors.")] = "streamfuse-s",
    rig: Annotated[Path | None, typer.Option(help="Rig file; without one the images count as registered.")] = None,
    tone: Annotated[Tone, typer.Option(help="Thermal tone mapping; auto: 8 bit as it is, 16 bit plateau.")] = Tone.auto,
    sequence: Annotated[bool | None, typer.Option(help="Smooth the tone over time (default: for videos).")] = None,
    flow: Annotated[bool, typer.Option("--flow", help="Take out parallax pixel by pixel; needs a full rig.")] = False,
    as_json: Json = False,
) -> None:
    """Fuse recorded pairs offline: every pair, deterministic, one PNG per pair under the pair's name."""
    from streamfuse.offline import fuse_files

    with stopping() as stop:
        told = fuse_files(
            thermal, visible, out, model, rig, tone=tone.value, sequence=sequence, flow=flow, stop=stop, console=console
        )
    finish(told, as_json)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="Training file, e.g. configs/train.yaml.")],
    out: Annotated[Path, typer.Option(help="Folder for weights, log, samples and checkpoint.")] = Path("out/train"),
    data: Data = None,
    model: Annotated[str | None, typer.Option(help="Another network than the file's, e.g. res2fusion.")] = None,
    start: Annotated[
        str | None, typer.Option(help="Weights to go on from: a file, or a model that ships, e.g. streamfuse-s.")
    ] = None,
    loss: Annotated[Path | None, typer.Option(help="Another loss, e.g. configs/losses/magnitude.yaml.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Another number of steps.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    as_json: Json = False,
) -> None:
    """Train a fusion network on registered pairs; Ctrl-C writes a checkpoint. Several processes or GPUs: torchrun
    --nproc-per-node N -m streamfuse train CONFIG."""
    from streamfuse.training.settings import changed, load_training
    from streamfuse.training.train import train as run_training

    settings = changed(load_training(config), model=model, start=start, loss=loss, seed=seed, steps=steps, data=data)
    with stopping() as stop:
        told = run_training(settings, out, resume=resume, stop=stop, console=console)
    if told:  # under torchrun only the first process has something to say
        finish(told, as_json)


@app.command()
def ablate(
    config: Annotated[Path, typer.Argument(help="Ablation file, e.g. configs/ablate/small.yaml.")],
    out: Annotated[Path, typer.Option(help="Folder for cells, tables and plots.")] = Path("out/ablate"),
    data: Data = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop cleanly after this long; run again to go on.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train and judge networks x losses x seeds: one table with deviations and a paired test. Resumable."""
    from streamfuse.training.ablation.ablate import ablate as run_ablation
    from streamfuse.training.ablation.settings import load_ablation

    with stopping() as stop:
        told = run_ablation(load_ablation(config, data), out, stop=stop, console=console, minutes=minutes)
    finish(told, as_json)


@app.command()
def evaluate(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="[FUSED] THERMAL VISIBLE", help="Folders, images or videos; names pair them."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the tables, the plot and the contact sheet.")] = Path(
        "out/evaluate"
    ),
    model: Annotated[
        list[str] | None, typer.Option(help="Fuse the pairs with this model or *.safetensors; may be repeated.")
    ] = None,
    video: Annotated[bool, typer.Option("--video", help="Judge one sequence: warp error, brightness change.")] = False,
    device: Annotated[Device, typer.Option(help="Where the figures are computed.")] = Device.auto,
    peers: Annotated[PeerSet | None, typer.Option(help="Show what others reach on this public set.")] = None,
    mi_unit: Annotated[Unit, typer.Option(help="MI in nats or in bits.")] = Unit.nats,
    over: Annotated[
        Over | None, typer.Option(help="VIF, SSIM, MS-SSIM: of both sources; else as published tables have each.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge fused images by the field's figures and by looks: per image, means, plot, contact sheet."""
    from streamfuse.evaluation.evaluate import evaluate_files

    told = evaluate_files(
        inputs,
        out,
        models=model or (),
        in_time=video,
        device=device.value,
        peer_set=peers.value if peers else None,
        mi_unit="bits" if mi_unit is Unit.bits else "nats",
        over="sum" if over is Over.sum else "mean" if over else None,
        console=console,
    )
    finish(told, as_json)


@app.command()
def bench(
    config: Annotated[Path | None, typer.Argument(help="Benchmark file; without one what --quick means.")] = None,
    full: Annotated[
        bool | None, typer.Option("--full/--quick", help="The whole protocol, or at most five minutes (default).")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0.5, help="Measured time of a run, after its warm-up.")] = None,
    repeats: Annotated[int | None, typer.Option(min=1, help="Fresh processes for each cell.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for result.json, report.html and plots.")] = Path("out/bench"),
    as_json: Json = False,
) -> None:
    """Measure latency from capture to subscriber, open loop, by stages, beside peers; find the rate that holds."""
    from streamfuse.bench.ask import asked
    from streamfuse.bench.run import run_bench

    settings = asked(config, full=full, seconds=seconds, repeats=repeats)
    with stopping() as stop:
        told = run_bench(settings, out, stop=stop, console=console)
    finish(told, as_json)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="result.json of the run before.")],
    b: Annotated[Path, typer.Argument(help="result.json of the run after.")],
    anyway: Annotated[bool, typer.Option("--anyway", help="Also where machine or protocol differ.")] = False,
    as_json: Json = False,
) -> None:
    """Say what changed between two benchmark runs beyond the noise of both."""
    from streamfuse.bench.compare import compare_files

    finish(compare_files(a, b, anyway=anyway, console=console), as_json)


@app.command(name="compile")
def compile_engine(
    model: Annotated[str, typer.Argument(help="streamfuse-s, laplacian, ..., or *.safetensors.")],
    engine: Annotated[str, typer.Option(help="tensorrt, inductor, openvino; auto: the best that is here.")] = "auto",
    size: Annotated[str, typer.Option(help="Output grid, width x height.")] = "640x512",
    thermal_size: Annotated[str | None, typer.Option(help="Thermal camera's; without it that of --size.")] = None,
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16, fp16, int8.")] = "auto",
    calibration: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Folders of recorded pairs, thermal and visible, for int8.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Build an engine ahead of time, as a run with the same model, sizes and precision would at its start."""
    from streamfuse.fuse.ahead import compile_ahead, size_of

    told = compile_ahead(
        model,
        engine=engine,
        size=size_of(size, "--size"),
        thermal_size=size_of(thermal_size, "--thermal-size") if thermal_size else None,
        precision=precision,
        calibration=calibration,
        console=console,
    )
    finish(told, as_json)


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="streamfuse-s, laplacian, ..., or *.safetensors.")],
    out: Annotated[Path | None, typer.Option(help="The file; else MODEL-SIZE.onnx in this folder.")] = None,
    form: Annotated[ExportFormat, typer.Option("--format", help="What to write.")] = ExportFormat.onnx,
    size: Annotated[str, typer.Option(help="Output, width x height.")] = "640x512",
    thermal_size: Annotated[str | None, typer.Option(help="Thermal image; else as the output.")] = None,
    opset: Annotated[int, typer.Option(help="ONNX operator set: 17 or 20.")] = 17,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="Leave both sizes open.")] = False,
    as_json: Json = False,
) -> None:
    """Write the whole fusion graph of a model, from sensor counts to fused bytes, for another compiler."""
    from streamfuse.export import export_model

    del form  # one so far
    told = export_model(model, out, size=size, thermal_size=thermal_size, opset=opset, dynamic=dynamic, console=console)
    finish(told, as_json)


@app.command()
def roofline(
    model: Annotated[
        list[str] | None, typer.Option(help="streamfuse-s, laplacian, ...; may be repeated; else all that build.")
    ] = None,
    size: Annotated[str, typer.Option(help="Thermal image and output, width x height.")] = "640x512",
    threads: Annotated[int, typer.Option(min=1, help="Cores that are measured and used.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for roofline.png and roofline.json.")] = Path("out/roofline"),
    as_json: Json = False,
) -> None:
    """Count what a frame needs (operations, bytes), measure what this machine can do, and how near the engines come."""
    from streamfuse.roofline.run import run_roofline

    finish(run_roofline(model or (), out, size=size, threads=threads, console=console), as_json)


@app.command()
def subscribe(
    endpoint: Annotated[str, typer.Argument(help="Where a publisher is bound, e.g. tcp://127.0.0.1:5555.")],
    stream: Annotated[str, typer.Option(help="fused, thermal (aligned), thermal-raw (16 bit), visible.")] = "fused",
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after this many frames.")] = None,
    seconds: Seconds = None,
    save: Annotated[Path | None, typer.Option(help="Write every received frame as PNG into this folder.")] = None,
    pull: Annotated[bool, typer.Option("--pull", help="The publisher is loss-free (publish.mode: push).")] = False,
    server_key: Annotated[
        Path | None, typer.Option(help="Public key file of a publisher that encrypts, e.g. keys/publisher.key.")
    ] = None,
    client_key: Annotated[
        Path | None, typer.Option(help="Your own secret key file; without one keys are made for this once.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No line per second, only the summary.")] = False,
    as_json: Json = False,
) -> None:
    """Receive a published stream: print rates, ages and states once a second, and a summary when it ends."""
    from streamfuse.curve import reader_keys
    from streamfuse.listen import listen

    curve = reader_keys(server_key, client_key)
    with stopping() as stop:
        told = listen(
            endpoint,
            stream=stream,
            frames=frames,
            seconds=seconds,
            save=save,
            mode="pull" if pull else "sub",
            stop=stop,
            console=console,
            quiet=quiet,
            curve=curve,
        )
    finish(told, as_json)


@app.command()
def keys(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go; made if missing.")],
    reader: Annotated[str, typer.Option(help="Name of the reader; run again with another for one more.")] = "reader",
    as_json: Json = False,
) -> None:
    """Make the keys with which a publisher encrypts and knows its readers; nothing is overwritten."""
    from streamfuse.keys import explained, make_keys

    files = make_keys(folder, reader)
    console.print(explained(files), markup=False, highlight=False)
    finish({name: str(path) for name, path in files.items()}, as_json)


@app.command()
def doctor(
    write_config: Annotated[
        Path | None, typer.Option(help="Write a first run file for the cameras found here, e.g. live.yaml.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what this machine has and lacks for streamfuse, with the remedy for each thing that is missing."""
    from streamfuse.doctor import examine, print_findings

    findings = examine()
    print_findings(console, findings)
    if write_config:
        from streamfuse.sources.gstreamer_devices import list_cameras
        from streamfuse.starting import write_starting_config

        console.print(write_starting_config(write_config, list_cameras()), markup=False, highlight=False)
    written = str(write_config) if write_config else None
    finish({"findings": [finding.as_dict() for finding in findings], "written": written}, as_json)


@contextmanager
def stopping() -> Generator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets; a second Ctrl-C interrupts at once."""
    stop = threading.Event()

    def ask(number: int, _frame: Any) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
