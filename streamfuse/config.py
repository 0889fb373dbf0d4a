"""What a run file may say, and nothing else: an unknown key is an error that names the nearest valid one.

A run file is a complete answer: it names its source, its rig, its model and its endpoint. Paths in it are relative to
the run file; `shipped:` paths are files that come with streamfuse.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamfuse.errors import UserError
from streamfuse.shipped import resolve_path

Pace = Literal["real", "fast", "every"]
Positive = Annotated[float, Field(gt=0)]
PixelCount = Annotated[int, Field(ge=16, le=16384)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class RecordingConfig(Section):
    """A recorded pair: two folders of images, two image files or two videos."""

    kind: Literal["recording"]
    thermal: str  # folder, image or video
    rgb: str
    thermal_times: str | None = None  # CSV or JSONL sidecar (frame, time_ns); found beside the input by itself
    rgb_times: str | None = None
    rate_hz: Positive | None = None  # of folders without times (30)
    pace: Pace = "real"  # real: as recorded; fast: no waiting; every: no threads, deterministic
    speed: Positive = 1.0
    loop: bool = False


class SyntheticConfig(Section):
    """A moving night scene with known geometry and temperature, seen by two cameras of a known rig."""

    kind: Literal["synthetic"]
    seed: int = 0
    duration_s: Positive | None = None  # endless
    thermal_size: tuple[PixelCount, PixelCount] = (320, 256)
    rgb_size: tuple[PixelCount, PixelCount] = (640, 512)
    thermal_rate_hz: Positive = 30.0
    rgb_rate_hz: Positive = 30.0
    thermal_offset_ms: float = 0.0
    drift_ppm: Annotated[float, Field(ge=-1000, le=1000)] = 0.0
    jitter_ms: Annotated[float, Field(ge=0)] = 0.0
    thermal_bits: Literal[8, 16] = 16
    shutter_every_s: Positive | None = None  # thermal freezes this often, as a flat-field shutter does
    shutter_duration_s: Positive = 0.5
    pace: Pace = "real"


class MatchConfig(Section):
    method: Literal["approximate", "exact", "latest"] = "approximate"
    max_skew_ms: Positive | None = None  # half the shorter period
    reuse: bool = False  # a frame of the slower stream may serve several of the faster one


class OutputConfig(Section):
    size: tuple[PixelCount, PixelCount] | None = None  # width, height; the RGB size
    fit: Literal["crop", "stretch"] = "crop"


class ToneConfig(Section):
    method: Literal["auto", "linear", "percentile", "plateau"] = "auto"
    time_constant_s: Annotated[float, Field(ge=0)] = 1.0


class FuseConfig(Section):
    model: str = "laplacian"
    engine: str = "auto"
    threads: Annotated[int, Field(ge=1, le=64)] = 1


class PublishConfig(Section):
    endpoint: str = "tcp://127.0.0.1:5555"
    codec: Literal["raw", "jpeg"] = "raw"
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 90
    mode: Literal["pub", "push"] = "pub"  # push: loss-free, waits for the consumer (scoring)


class RunConfig(Section):
    source: Annotated[RecordingConfig | SyntheticConfig, Field(discriminator="kind")]
    rig: str | None = None  # rig file; without one thermal is stretched over the whole RGB image
    policy: Literal["every", "newest"] = "every"
    match: MatchConfig = MatchConfig()
    output: OutputConfig = OutputConfig()
    tone: ToneConfig = ToneConfig()
    fuse: FuseConfig = FuseConfig()
    publish: PublishConfig = PublishConfig()
    ledger: str | None = None  # write the match ledger to this JSONL file
    folder: Annotated[Path, Field(exclude=True)] = Path()  # where relative paths start; set by load_run


Model = TypeVar("Model", bound=BaseModel)


def load_run(path: Path) -> RunConfig:
    """Read and check a run file. Raises UserError naming file, key, value and what is allowed."""
    document = read_yaml(path, kind="run file")
    document["folder"] = path.resolve().parent
    return check(RunConfig, document, where=path)


def read_yaml(path: Path, *, kind: str) -> dict[str, Any]:
    """The mapping in a YAML file; UserError when there is none."""
    if not path.is_file():
        raise UserError(f"{kind} {path}: no such file" + _near_file(path))
    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{kind} {path} is not YAML: {' '.join(str(error).split())}") from None
    if document is None:
        raise UserError(f"{kind} {path} is empty; `streamfuse demo --print-config` shows a complete one")
    if not isinstance(document, dict):
        raise UserError(f"{kind} {path} must hold keys and values, found {type(document).__name__}")
    return document  # pyright: ignore[reportUnknownVariableType]  # checked by pydantic next


def check(model: type[Model], document: dict[str, Any], *, where: Path | str) -> Model:
    """Validate; every mistake becomes one line of a UserError."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        lines = [_explain(model, mistake) for mistake in error.errors(include_url=False)]
        raise UserError("\n".join(f"{where}: {line}" for line in lines)) from None


def _explain(model: type[BaseModel], mistake: Any) -> str:
    """One line for one pydantic mistake: the key as a person would write it, what was found, what is allowed."""
    location = [str(part) for part in mistake["loc"] if str(part) not in ("recording", "synthetic")]
    key, found = ".".join(location), mistake["input"]
    if mistake["type"] == "extra_forbidden":
        allowed = sorted(_keys_at(model, mistake["loc"][:-1]))
        near = difflib.get_close_matches(location[-1], allowed, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"unknown key {key} (value {found!r}){hint} Allowed here: {', '.join(allowed)}"
    if mistake["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return _explain_kind(key, mistake["ctx"])
    if mistake["type"] == "missing":
        return f"the key {key} is missing; it has no default"
    return f"{key}: found {found!r}; {_lower(mistake['msg'])}"


def _explain_kind(key: str, context: dict[str, Any]) -> str:
    allowed = context.get("expected_tags", "'recording', 'synthetic'")
    tag = context["discriminator"].strip("'")
    what = f"found {context['tag']!r}" if "tag" in context else "is missing"
    return f"{key}.{tag} {what}; it must be one of {allowed}"


def _lower(message: str) -> str:
    return re.sub(r"^Input should be", "it must be", message)


def _keys_at(model: type[BaseModel], location: tuple[Any, ...]) -> set[str]:
    """Keys allowed at a place in the document, found in the JSON schema (which knows about unions)."""
    schema = model.model_json_schema()
    node: dict[str, Any] = schema
    for part in location:
        node = _resolved(schema, node)
        if "properties" in node and part in node["properties"]:
            node = _resolved(schema, node["properties"][part])
        elif "discriminator" in node:
            node = _resolved(schema, {"$ref": node["discriminator"]["mapping"][part]})
    return set(_resolved(schema, node).get("properties", {})) - {"folder"}


def _resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    if "allOf" in node:
        return _resolved(schema, node["allOf"][0])
    return node


def _near_file(path: Path) -> str:
    names = [entry.name for entry in path.parent.glob("*")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean {path.parent / near[0]}?" if near else ""


def resolve(config: RunConfig, named: str) -> Path:
    """The path that a run file means by `named`."""
    return resolve_path(named, config.folder)
