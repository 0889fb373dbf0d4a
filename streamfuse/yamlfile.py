"""YAML files into pydantic models, with errors that a person can act on; knows nothing of what the files mean.

Every message names the file, the key, what was found, and what is allowed; an unknown key gets the nearest valid one.
"""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from streamfuse.errors import UserError
from streamfuse.redact import redact

Model = TypeVar("Model", bound=BaseModel)

MANY_UNKNOWN = 3


def read_yaml(path: Path, model: type[Model], what: str) -> Model:
    """The file at `path` as a `model`; `what` names the kind of file in errors ("rig file").

    Raises UserError: unreadable, not YAML, empty, a key given twice, or contents that the model refuses.
    """
    document = _parse(_read_text(path, what), path, what)
    if document is None:
        raise UserError(f"{path}: the {what} is empty; it needs the keys {_keys(model)}")
    if not isinstance(document, dict):
        raise UserError(f"{path}: a {what} is a list of `key: value` lines, found {type(document).__name__}")
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise UserError(explain(error, model, str(path))) from error


def write_yaml(path: Path, document: dict[str, Any]) -> None:
    """Write plain data as YAML, keys in their order; a reader never sees half a file."""
    text = yaml.safe_dump(document, sort_keys=False, default_flow_style=None, allow_unicode=True, width=110)
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; name another folder or free it") from error


def explain(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """One line for each mistake that `model` found: where, key = value, what is allowed.

    Many unknown keys at the top are one line: that is another kind of file, and no row of slips.
    """
    errors = error.errors()
    unknown = [one for one in errors if one["type"] == "extra_forbidden" and len(one["loc"]) == 1]
    if len(unknown) <= MANY_UNKNOWN:
        return "\n".join(f"{where}: {_explain_one(one, model)}" for one in errors)
    keys = ", ".join(str(one["loc"][0]) for one in unknown)
    others = (_explain_one(one, model) for one in errors if one not in unknown)
    foreign = f"is this another kind of file? unknown keys {keys}; allowed here: {_keys(model)}"
    return "\n".join(f"{where}: {line}" for line in (foreign, *others))


def _explain_one(one: ErrorDetails, model: type[BaseModel]) -> str:
    path, kind = one["loc"], one["type"]
    key = ".".join(str(part) for part in path if part not in _tags(model))
    if kind == "extra_forbidden":
        return f"unknown key `{key}` = {_short(one['input'])}{_hint(path, model)}"
    if kind == "missing":
        return f"`{key}` is missing"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _explain_tag(key, one, model)
    if kind == "value_error":
        reason = one["msg"].removeprefix("Value error, ")
        return f"`{key}`: {reason}" if key else reason
    return f"`{key}` = {_short(one['input'])}: {one['msg'][0].lower()}{one['msg'][1:]}"


def _explain_tag(key: str, one: ErrorDetails, model: type[BaseModel]) -> str:
    context = one.get("ctx", {})
    key = f"{key}.{context['discriminator']}".replace("'", "")
    found = f" = {context['tag']!r}" if "tag" in context else " is missing"
    allowed = ", ".join(f"'{tag}'" for tag in _tags(model))
    return f"`{key}`{found}; it must be one of {allowed}"


def _hint(path: Sequence[int | str], model: type[BaseModel]) -> str:
    owner = _model_at(path[:-1], model)
    if owner is None:
        return ""
    near = difflib.get_close_matches(str(path[-1]), _shown(owner), n=1, cutoff=0.5)
    nearest = f"; did you mean `{near[0]}`?" if near else ";"
    return f"{nearest} allowed here: {_keys(owner)}"


def _model_at(path: Sequence[int | str], model: type[BaseModel]) -> type[BaseModel] | None:
    """The model that owns the keys below `path`, so that hints speak of the right level."""
    owners = [model]
    for part in path:
        tagged = [owner for owner in owners if part in _tags_of(owner)]
        fields = [field for owner in owners for key, field in _by_key(owner).items() if key == str(part)]
        owners = tagged or [inner for field in fields for inner in _models_in(field.annotation)]
    return owners[0] if owners else None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _models_in(argument)]


def _tags(model: type[BaseModel]) -> list[str]:
    """Values of `kind` that choose between the sections of a union anywhere in `model`."""
    inner = [found for field in model.model_fields.values() for found in _models_in(field.annotation)]
    return [tag for found in inner for tag in _tags_of(found)]


def _tags_of(model: type[BaseModel]) -> tuple[str, ...]:
    return get_args(model.model_fields["kind"].annotation) if "kind" in model.model_fields else ()


def _shown(model: type[BaseModel]) -> list[str]:
    return [key for key, field in _by_key(model).items() if not field.exclude]


def _by_key(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Fields by what a file calls them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _keys(model: type[BaseModel]) -> str:
    return ", ".join(_shown(model))


def _short(value: object) -> str:
    text = redact(repr(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read_text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such {what}; check the path (relative to {Path.cwd()})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8; a {what} is YAML text") from None
    except OSError as error:
        raise UserError(f"{path}: the {what} cannot be read: {error.strerror}") from error


def _parse(text: str, path: Path, what: str) -> object:
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise UserError(f"{path}: the {what} is not valid YAML{at}: {problem}") from error


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, where YAML's own rule would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key `{key}` is given twice", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)
