"""What the docstring of a dataclass of settings says of each setting, for --help."""

from __future__ import annotations

import inspect
import re
from typing import Any


def setting_texts(settings: type[Any]) -> dict[str, str]:
    """Returns the text of each entry below `Attributes:` or `Args:`, by name, each on one line."""
    section = re.split(r"(?m)^(?:Attributes|Args):\n", inspect.getdoc(settings) or "", maxsplit=1)[-1]
    entries = re.findall(r"(?m)^    (\w+): (.*(?:\n {5,}.*)*)", section)
    return {name: " ".join(text.split()) for name, text in entries}
