"""How many fields of a song a model knows, and the warning if it knows none."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

#: Output that counts the fields of each song that the model knows. Older models lack it.
KNOWN_FIELDS = "known_fields"

# Frames from the warning to the user's code: this function, operation, `_carry_out`, the client's method, the caller.
_TO_THE_CALLER = 5


class UnknownSongWarning(UserWarning):
    """The model knows none of the values of a song, so its answer does not depend on this song."""


def warn_of_unknown(known_fields: Array | None) -> None:
    """Warns once for all songs of a call of which no field is known.

    Args:
        known_fields: Known fields of each song, `(n,)`, or None where the model does not say.
    """
    if known_fields is None or known_fields.all():
        return
    unknown = np.flatnonzero(known_fields == 0)
    # Without ids: Python remembers every text that it has shown, which would fill a service's memory.
    warnings.warn(
        f"The model knows no value of {len(unknown)} of {len(known_fields)} songs (first: `songs[{unknown[0]}]`). "
        "They are embedded like a song without values, and `match` gives them no songs.",
        UnknownSongWarning,
        stacklevel=_TO_THE_CALLER,
    )
