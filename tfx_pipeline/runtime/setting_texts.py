"""What the source of a dataclass of settings says of each setting, for --help and for the page of settings."""

from __future__ import annotations

import inspect
import re
from typing import Any

_HEADING = r"(?m)^(?:Attributes|Args):\n"


def setting_texts(settings: type[Any]) -> dict[str, str]:
    """Returns the text of each setting by name, each on one line.

    It is the entry below `Attributes:` or `Args:` in the docstring. A setting without one has the comment at the end of
    its line.
    """
    section = re.split(_HEADING, inspect.getdoc(settings) or "", maxsplit=1)[-1]
    entries = re.findall(r"(?m)^    (\w+): (.*(?:\n {5,}.*)*)", section)
    comments = re.findall(r"(?m)^    (\w+): .*  # (.+)$", inspect.getsource(settings))
    return dict(comments) | {name: " ".join(text.split()) for name, text in entries}


def introduction(settings: type[Any]) -> str:
    """Returns the docstring up to its first section such as `Args:`."""
    return re.split(r"(?m)^[A-Z]\w+:$", inspect.getdoc(settings) or "", maxsplit=1)[0].strip()
