"""Parts of the judged songs in which a model may fail while it does well overall."""

from __future__ import annotations

import numpy as np

from bcl_keras.evaluation.content import has_value
from bcl_keras.fields import Array
from tfx_pipeline.models.song_table import SongTable


def slices(table: SongTable, truth: Array, judged: Array, warm: Array) -> dict[str, Array]:
    """Returns the long tail and the songs of few fields: by name, which of the judged songs belong to it.

    The long tail is the third of songs whose truth has fewest listeners. The songs of few fields are the half with
    fewest known fields.

    Args:
        table: All songs.
        truth: `(len(table), m)` positions among the warm songs, -1 for none.
        judged: Rows of the judged songs.
        warm: Rows of the warm songs.
    """
    listeners = np.where(truth[judged] >= 0, table.listeners[warm][truth[judged]], np.nan)
    typical = np.nanmedian(listeners, axis=1)
    present = np.sum([has_value(values[judged]) for values in table.features.values()], axis=0)
    return {"long tail": typical <= np.quantile(typical, 1 / 3), "few fields": present <= np.median(present)}
