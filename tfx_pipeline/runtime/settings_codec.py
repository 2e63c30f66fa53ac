"""Settings as JSON and back, by the types of their dataclasses.

Pydantic reads strictly. A string or a bool is not accepted as a number. A whole number is accepted as a fraction, and a
list as a tuple. An unknown name is an error.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)
#: What errors name where no single setting is wrong.
_WHOLE = "all settings"


class SettingsError(ValueError):
    """Settings cannot be used. The message names file, setting, what was expected and what was received."""


def to_json(settings: Any, kind: Any = None) -> str:
    """Returns settings as JSON in a fixed order, so that equal settings are equal cache keys.

    Args:
        settings: A dataclass, or plain values with dataclasses in them.
        kind: The type that they are read with again. Defaults to the class of `settings`.
    """
    values = _adapter(type(settings) if kind is None else kind).dump_python(settings, mode="json", warnings="error")
    return json.dumps(values, sort_keys=True, allow_nan=False)


def from_json(kind: type[T], text: str, source: str = "settings") -> T:
    """Returns the settings that `to_json` wrote.

    Args:
        kind: The type of the settings.
        text: The JSON.
        source: What errors name as the place of the text.

    Raises:
        SettingsError: If the text does not fit the type.
    """
    try:
        adapter: TypeAdapter[T] = _adapter(kind)
        return adapter.validate_json(text, strict=True, extra="forbid")
    except ValidationError as error:
        raise SettingsError(f"{source}: {_in_words(error, kind)}") from error


def from_values(kind: type[T], values: Any, source: str) -> T:
    """Returns settings from the plain values that JSON holds.

    Args:
        kind: The type of the settings.
        values: Plain values, such as those that a run recorded.
        source: What errors name as the place of the values.

    Raises:
        SettingsError: If the values do not fit the type.
    """
    return from_json(kind, json.dumps(values), source)


def with_changes(defaults: T, changes: dict[str, Any], source: str) -> T:
    """Returns settings with changes, section by section. What the changes do not name keeps its value.

    Args:
        defaults: The settings to start from.
        changes: Plain values, as JSON holds them.
        source: What errors name as the place of the changes.

    Raises:
        SettingsError: If a setting is unknown, or a value is one that it cannot have.
    """
    values = json.loads(to_json(defaults))
    return from_values(type(defaults), _merged(values, changes), source)


def _merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for name, change in changes.items():
        value = values.get(name)
        is_section = isinstance(value, dict) and isinstance(change, dict)
        merged[name] = _merged(value or {}, change) if is_section else change
    return merged


def _in_words(error: ValidationError, kind: Any) -> str:
    """Returns one line that names each wrong setting once, even if its value fits none of several types."""
    wrong: dict[str, _Wrong] = {}
    for problem in error.errors(include_url=False):
        place, section = _place(problem["loc"], kind)
        setting = wrong.setdefault(place, _Wrong())
        if problem["type"] == "value_error":  # the dataclass's own check, whose message says what it received
            setting.texts.append(str(problem["ctx"]["error"]))
        elif problem["type"] == "unexpected_keyword_argument":
            setting.expected.append(f"one of {sorted(field.name for field in dataclasses.fields(section))}")
            setting.received = problem["loc"][-1]
        elif problem["type"] == "missing":
            setting.texts.append("expected a value. Received: none")
        elif problem["type"] == "json_invalid":
            setting.texts.append(problem["msg"])
        else:
            setting.expected.append(problem["msg"].removeprefix("Input should be "))
            setting.received = problem["input"]
    return "; ".join(f"{place}: {setting}" for place, setting in wrong.items())


@dataclasses.dataclass
class _Wrong:
    """What is wrong with one setting."""

    texts: list[str] = dataclasses.field(default_factory=list)
    expected: list[str] = dataclasses.field(default_factory=list)
    received: Any = None

    def __str__(self) -> str:
        if self.expected:
            return f"expected {' or '.join(self.expected)}. Received: {self.received!r}"
        return "; ".join(self.texts)


def _place(location: Iterable[str | int], kind: Any) -> tuple[str, Any]:
    """Returns the name of a setting, such as `model.epochs` or `tuning.space.momentum[0]`, and the section it is in.

    Pydantic's locations also name the types that it tried for a value. Those are left out.
    """
    place, section = "", None
    for part in location:
        kind = _without_none(kind)
        if dataclasses.is_dataclass(kind):
            place, section = f"{place}.{part}" if place else str(part), kind
            kind = get_type_hints(kind).get(str(part))
        elif isinstance(part, int):
            place, kind = f"{place}[{part}]", next(iter(get_args(kind)), None)
    return place or _WHOLE, section


def _without_none(kind: Any) -> Any:
    """Returns X for `X | None`, and any other type as it is."""
    others = [part for part in get_args(kind) if part is not type(None)]
    return others[0] if len(others) == 1 and len(get_args(kind)) > 1 and Ellipsis not in get_args(kind) else kind
