"""Flags of the command line for the settings of targeting."""

from __future__ import annotations

import argparse
import dataclasses
import types
import typing
from typing import Any

from tfx_pipeline.runtime.setting_texts import setting_texts
from tfx_pipeline.targeting.config import TargetingConfig


def add_setting_flags(parser: argparse.ArgumentParser) -> None:
    """Adds a flag for each setting of `TargetingConfig`; a flag that is not given stays None.

    Args:
        parser: The parser of the command.
    """
    texts = setting_texts(TargetingConfig)
    for field in dataclasses.fields(TargetingConfig):
        parser.add_argument(f"--{field.name.replace('_', '-')}", **_flag(field, texts[field.name]))


def given_settings(known: argparse.Namespace) -> dict[str, Any]:
    """Returns the settings that flags were given for, so that the defaults of the others hold.

    Args:
        known: What the parser read.
    """
    found = {field.name: getattr(known, field.name) for field in dataclasses.fields(TargetingConfig)}
    return {name: value for name, value in found.items() if value is not None}


def _flag(field: dataclasses.Field[Any], text: str) -> dict[str, Any]:
    """Returns how argparse reads a setting."""
    default = " ".join(field.default) if isinstance(field.default, tuple) else str(field.default).lower()
    shown = {"help": f"{text.rstrip('.')} (default: {default})".replace("%", "%%"), "default": None}
    if typing.get_origin(field.type) is tuple:
        return {**shown, "nargs": "+", "metavar": "SPLIT"}
    kinds = _kinds(field.type)
    number = float if float in kinds else int
    if bool in kinds:
        return {**shown, "action": argparse.BooleanOptionalAction}
    if str in kinds and number in kinds:
        return {**shown, "type": lambda text: text if text == "auto" else number(text), "metavar": "NUMBER|auto"}
    if str in kinds:
        return {**shown, "metavar": f"{{{','.join(typing.get_args(field.type))}}}"}
    return {**shown, "type": number, "metavar": "NUMBER"}


def _kinds(annotation: Any) -> set[type]:
    """Returns the plain types that an annotation allows."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return {kind for part in typing.get_args(annotation) for kind in _kinds(part)}
    if typing.get_origin(annotation) is typing.Literal:
        return {type(value) for value in typing.get_args(annotation)}
    return {annotation}
