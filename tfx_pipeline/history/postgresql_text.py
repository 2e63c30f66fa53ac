r"""Texts with a backslash, which ML Metadata cannot write to PostgreSQL.

Its connector takes ` E'a\\b'`, libpq's form of such a text, for one that begins with a quote, and sends broken SQL.
JSON inside JSON, as TFX records settings, is full of backslashes. So they go to the database as other characters, and
come back as they were.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from ml_metadata import metadata_store

#: A rare character that begins a pair, so that every text comes back as it was.
_MARK = "\u29f5"
_OUT = {"\\": f"{_MARK}b", _MARK: f"{_MARK}m"}
_BACK = {pair: character for character, pair in _OUT.items()}


def without_backslashes(text: str) -> str:
    """Returns a text as it is stored."""
    return re.sub(rf"[\\{_MARK}]", lambda found: _OUT[found[0]], text)


def with_backslashes(text: str) -> str:
    """Returns a text as it was before it was stored."""
    return re.sub(rf"{_MARK}[bm]", lambda found: _BACK[found[0]], text)


def keep_backslashes() -> None:
    """Makes every store of this process that is on PostgreSQL keep backslashes."""
    store = metadata_store.MetadataStore
    if not hasattr(store._call_method, "keeps_backslashes"):
        store._call_method = _keeping(store._call_method)


def _keeping(call: Callable[..., None]) -> Callable[..., None]:
    @wraps(call)
    def kept(self: Any, method_name: str, request: Any, response: Any) -> None:
        if not _is_on_postgresql(self):
            return call(self, method_name, request, response)
        if any(mark in request.SerializeToString() for mark in (b"\\", _MARK.encode())):
            sent = type(request)()
            sent.CopyFrom(request)
            _change(sent, without_backslashes)
            request = sent
        call(self, method_name, request, response)
        if _MARK.encode() in response.SerializeToString():
            _change(response, with_backslashes)
        return None

    kept.keeps_backslashes = True  # type: ignore[attr-defined]
    return kept


def _is_on_postgresql(store: Any) -> bool:
    config = store._config
    return "postgresql" in config.DESCRIPTOR.fields_by_name and bool(config.HasField("postgresql"))


def _change(message: Any, change: Callable[[str], str]) -> None:
    """Changes every text of a message, and of the messages in it."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING and not _is_repeated(field):
            setattr(message, field.name, change(value))
        elif field.type == field.TYPE_STRING:
            value[:] = [change(text) for text in value]
        elif field.type == field.TYPE_MESSAGE:
            for part in _parts(field, value):
                _change(part, change)


def _parts(field: Any, value: Any) -> Iterator[Any]:
    """Yields the messages of a field. Names of properties, the keys of maps, are TFX's and stay."""
    if not _is_repeated(field):
        yield value
    elif field.message_type.GetOptions().map_entry:
        if field.message_type.fields_by_name["value"].message_type is not None:
            yield from value.values()
    else:
        yield from value


def _is_repeated(field: Any) -> bool:
    return bool(getattr(field, "is_repeated", None) or getattr(field, "label", None) == 3)
