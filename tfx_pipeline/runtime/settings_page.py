"""Writes the reference page of all settings, from their dataclasses.

python -m tfx_pipeline.runtime.settings_page tfx_pipeline.config:PipelineConfig docs/reference/settings.md
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pkgutil
import re
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from tfx_pipeline.runtime.setting_texts import introduction, setting_texts
from tfx_pipeline.runtime.settings_codec import to_json

_HEAD = """# Settings

<!-- Made from the source by this command, which a test compares with this page:
python -m tfx_pipeline.runtime.settings_page tfx_pipeline.config:PipelineConfig docs/reference/settings.md -->

A settings file is a JSON object in UTF-8. It names what differs from the defaults, section by section:

    {"model": {"epochs": 5}, "targeting": {"rule": "cat", "clusters": 8}, "ridge": null}

A wrong name or value stops the command with exit code 2. The message names the file, the setting, what was expected and
what was received.
"""
_PLAIN = {int: "whole number", float: "number", bool: "true or false", str: "text", type(None): "null"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the page; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tfx_pipeline.runtime.settings_page", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("settings", help="the dataclass of all settings, as module:Class")
    parser.add_argument("page", type=Path, help="the Markdown file to write")
    options = parser.parse_args(arguments)
    options.page.write_text(settings_page(pkgutil.resolve_name(options.settings)()), encoding="utf-8")
    return 0


def settings_page(settings: Any) -> str:
    """Returns the page as Markdown.

    Args:
        settings: The dataclass of all settings, with its defaults.
    """
    return "\n".join([_HEAD, *_section("", settings)])


def _section(place: str, settings: Any) -> Iterator[str]:
    """Yields the lines of a section and of those below it."""
    kind, kinds, texts = type(settings), get_type_hints(type(settings)), setting_texts(type(settings))
    defaults = json.loads(to_json(settings))
    yield from (f"## `{place}`" if place else "## All sections", "", introduction(kind), "")
    yield from ("| setting | value | default | meaning |", "| --- | --- | --- | --- |")
    below = []
    for name in kinds:
        section = _section_kind(kinds[name])
        full = f"{place}.{name}" if place else name
        if section is None:
            value, default = _in_words(kinds[name]), f"`{json.dumps(defaults[name])}`"
        else:
            value = f"[section](#{full.replace('.', '')})" + (" or null" if section is not kinds[name] else "")
            default = "`null`" if defaults[name] is None else "as below"
            below.append((full, getattr(settings, name) or section()))
        yield f"| `{name}` | {value} | {default} | {_cell(texts.get(name, ''))} |"
    yield ""
    for full, section_settings in below:
        yield from _section(full, section_settings)


def _section_kind(kind: Any) -> Any:
    """Returns the dataclass of a section, which may be optional; None for a plain setting."""
    return next((part for part in (kind, *get_args(kind)) if dataclasses.is_dataclass(part)), None)


def _in_words(kind: Any) -> str:
    """Returns what JSON may hold for a type."""
    if get_origin(kind) is Literal:
        return " or ".join(f"`{json.dumps(choice)}`" for choice in get_args(kind))
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_in_words(part) for part in get_args(kind))
    if get_origin(kind) is tuple:
        part = get_args(kind)[0]
        return f"list of {_in_words(part)}" + ("s" if part in _PLAIN else "")
    if get_origin(kind) is dict:
        return "object of texts"
    return _PLAIN[kind]


def _cell(text: str) -> str:
    """Returns a meaning as a sentence in a cell of a table, with JSON's word for None."""
    sentence = re.sub("`?None`?", "`null`", text[:1].upper() + text[1:]).replace("|", "\\|")
    return sentence if not sentence or sentence.endswith(".") else f"{sentence}."


if __name__ == "__main__":
    raise SystemExit(main())
