"""Checks that settings share."""

from __future__ import annotations

import math
from typing import Any


def check_at_least(config: Any, least: int, *names: str) -> None:
    """Refuses numbers below `least`, infinite ones and NaN, for which no comparison holds; None passes."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not (isinstance(value, (int, float)) and math.isfinite(value) and value >= least):
            raise ValueError(f"Argument `{name}` must be at least {least}. Received: {value!r}")
