"""What a model says of how much it knows of a song, and the warning where it knows nothing."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

#: Output that counts the fields of each song that the model knows; models exported before there was one lack it.
KNOWN_FIELDS = "known_fields"

# From here: the operation, the client that carries it out, the client's method, and whoever called that.
_TO_THE_CALLER = 5


class UnknownSongWarning(UserWarning):
    """The model knows none of the values of a song, so that its answer says nothing about this song."""


def warn_of_unknown(known_fields: Array | None) -> None:
    """Warns once for all songs of a call of which no field is known.

    Args:
        known_fields: Known fields of each song, `(n,)`, or None where the model does not say.
    """
    if known_fields is None or known_fields.all():
        return
    unknown = np.flatnonzero(known_fields == 0)
    # No ids: Python remembers every text it has shown, and a service must not fill its memory with them.
    warnings.warn(
        f"The model knows no value of {len(unknown)} of {len(known_fields)} songs (first: `songs[{unknown[0]}]`), "
        "and answers as for a song without values.",
        UnknownSongWarning,
        stacklevel=_TO_THE_CALLER,
    )
