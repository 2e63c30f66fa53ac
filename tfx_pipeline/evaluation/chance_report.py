"""Whether the chances of matches come true on test songs, which they were not fitted on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bcl_keras.fields import Array
from tfx_pipeline.contract.ids import SONG_ID, id_array
from tfx_pipeline.contract.splits import TEST
from tfx_pipeline.models.calibration import calibration_error
from tfx_pipeline.models.config import VALIDATION_TRUTH
from tfx_pipeline.models.song_table import SongTable

#: Columns of the matches that are read.
COLUMNS = ("match_ids", "match_chances")
#: First matches of a song that are judged.
DEPTHS = (10, 100)


def chance_report(table: SongTable, matches: pa.Table) -> dict[str, Any] | None:
    """Returns how far chances are from the share of right matches; None if no match has a chance.

    Args:
        table: All songs.
        matches: Matches of the test songs, with `COLUMNS`. Those of other songs do not count.

    Returns:
        Plain values: `songs`, the number of test songs; and for each of the `first` matches, `calibration_error`, and
        the means of `chance` and of `right`.
    """
    rows = table.rows_of(id_array(matches[SONG_ID]))
    truth = table.similar_ids[rows, :VALIDATION_TRUTH]
    judged = (rows >= 0) & (table.splits[rows] == TEST) & (truth != b"").any(axis=1)
    judged &= pc.fill_null(pc.list_value_length(matches["match_chances"]), 0).to_numpy() > 0
    if not judged.any():
        return None
    places = pa.array(np.flatnonzero(judged))
    ids, chances = (matches[name].take(places).combine_chunks() for name in COLUMNS)
    lengths = pc.list_value_length(chances).to_numpy()
    song = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(song)) - (np.cumsum(lengths) - lengths)[song]
    chance, hits = chances.flatten().to_numpy(), _are_right(id_array(ids.flatten()), truth[judged], lengths)
    return {
        "songs": len(lengths),
        "first": [{"matches": depth, **_figures(chance[place < depth], hits[place < depth])} for depth in DEPTHS],
    }


def _are_right(ids: Array, truth: Array, lengths: Array) -> Array:
    """Returns whether each match is one of its song's truth; the matches of a song follow each other."""
    parts = np.split(ids, np.cumsum(lengths)[:-1])
    return np.concatenate([np.isin(found, right) for found, right in zip(parts, truth, strict=True)])


def _figures(chance: Array, hits: Array) -> dict[str, float]:
    return {
        "calibration_error": calibration_error(chance, hits),
        "chance": float(chance.mean()),
        "right": float(hits.mean()),
    }
