"""A JSON object whose values are looked at before they are used; what is wrong becomes a WireError naming the key.

It knows nothing of what the keys mean.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any, NoReturn, TypeGuard, TypeVar, cast

from streamfuse.errors import WireError

MAX_HEADER_BYTES = 1 << 20
MAX_TEXT = 4096
MAX_INTEGER = 1 << 63
SECOND_NS = 1_000_000_000

Choice = TypeVar("Choice", bound=Enum)


def read_object(data: memoryview, where: str) -> Fields:
    """Parse UTF-8 JSON; WireError when it is too long, malformed, not an object, or holds NaN or infinity."""
    if data.nbytes > MAX_HEADER_BYTES:
        raise WireError(f"the {where} has {data.nbytes} bytes; at most {MAX_HEADER_BYTES} are read")
    try:
        value = _DECODER.decode(str(data, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise WireError(f"the {where} is not UTF-8 JSON: {error}") from error
    return Fields.of(value, where)


def write_object(values: Mapping[str, Any], where: str) -> bytes:
    """Compact UTF-8 JSON; WireError for what JSON or a reader would not take (NaN, foreign types, too long)."""
    try:
        data = _ENCODER.encode(values).encode()
    except (TypeError, ValueError) as error:
        raise WireError(f"the {where} cannot be written as JSON: {error}") from error
    if len(data) > MAX_HEADER_BYTES:
        raise WireError(f"the {where} would have {len(data)} bytes; at most {MAX_HEADER_BYTES} are allowed")
    return data


def time_fields(ns: int) -> dict[str, int]:
    """A time as {sec, nsec}: one integer of nanoseconds since 1970 does not fit a JavaScript number."""
    sec, nsec = divmod(ns, SECOND_NS)
    return {"sec": sec, "nsec": nsec}


class Fields:
    """One JSON object and where it stands, for the error text. Unknown keys are never looked at."""

    __slots__ = ("values", "where")

    def __init__(self, values: Mapping[str, object], where: str) -> None:
        self.values, self.where = values, where

    @classmethod
    def of(cls, value: object, where: str) -> Fields:
        if not isinstance(value, dict):
            raise WireError(f"{where} must be an object, found {_shown(value)}")
        return cls(cast("dict[str, object]", value), where)

    def has(self, key: str) -> bool:
        """False for an absent key and for null, which mean the same."""
        return self.values.get(key) is not None

    def text(self, key: str) -> str:
        value = self.values.get(key)
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            self._refuse(key, f"text of at most {MAX_TEXT} characters")
        return value

    def integer(self, key: str) -> int:
        value = self.values.get(key)
        if type(value) is not int or not -MAX_INTEGER <= value < MAX_INTEGER:
            self._refuse(key, "a 64-bit integer")
        return value

    def count(self, key: str) -> int:
        value = self.integer(key)
        return value if value >= 0 else self._refuse(key, "an integer of at least 0")

    def number(self, key: str) -> float:
        value = self.values.get(key)
        return float(value) if _is_number(value) else self._refuse(key, "a finite number")

    def flag(self, key: str) -> bool:
        value = self.values.get(key)
        return value if isinstance(value, bool) else self._refuse(key, "true or false")

    def choice(self, key: str, kind: type[Choice]) -> Choice:
        text = self.text(key)
        try:
            return kind(text)
        except ValueError:
            self._refuse(key, "one of " + ", ".join(str(choice.value) for choice in kind))

    def inner(self, key: str) -> Fields:
        return Fields.of(self.values.get(key), f"{self.where}.{key}")

    def inners(self, key: str, at_most: int) -> list[Fields]:
        return [Fields.of(item, f"{self.where}.{key}[{i}]") for i, item in enumerate(self._list(key, at_most))]

    def integers(self, key: str) -> dict[str, int]:
        """An object of named integers; absent means none."""
        if not self.has(key):
            return {}
        inner = self.inner(key)
        return {name: inner.integer(name) for name in inner.values}

    def texts(self, key: str) -> dict[str, str]:
        """An object of named texts; absent means none."""
        if not self.has(key):
            return {}
        inner = self.inner(key)
        return {name: inner.text(name) for name in inner.values}

    def numbers(self, key: str, at_most: int) -> list[float]:
        items = self._list(key, at_most)
        numbers = [float(item) for item in items if _is_number(item)]
        return numbers if len(numbers) == len(items) else self._refuse(key, "a list of finite numbers")

    def time_ns(self, key: str) -> int:
        """Read what `time_fields` wrote."""
        time = self.inner(key)
        sec, nsec = time.integer("sec"), time.count("nsec")
        if nsec >= SECOND_NS or not -MAX_INTEGER <= sec * SECOND_NS < MAX_INTEGER:
            self._refuse(key, "a time: sec and nsec < 1000000000, 64 bits together")
        return sec * SECOND_NS + nsec

    def _list(self, key: str, at_most: int) -> list[object]:
        value = self.values.get(key)
        if not isinstance(value, list):
            self._refuse(key, "a list")
        items = cast("list[object]", value)
        return items if len(items) <= at_most else self._refuse(key, f"a list of at most {at_most}")

    def _refuse(self, key: str, rule: str) -> NoReturn:
        raise WireError(f"{self.where}.{key} must be {rule}, found {_shown(self.values.get(key))}")


def _is_number(value: object) -> TypeGuard[float]:
    return (type(value) is float or type(value) is int) and abs(value) < MAX_INTEGER


def us_from_ns(ns: int) -> float:
    """Microseconds with their nanoseconds as decimals; `ns_from_us` gives the integer back exactly below 2**51 ns."""
    return ns / 1000


def ns_from_us(us: float) -> int:
    return round(us * 1000)


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    text = json.dumps(value) if not isinstance(value, float) or math.isfinite(value) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


# Made once: `json.dumps` and `json.loads` with options build these anew for every message.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
