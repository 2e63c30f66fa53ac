"""Rows of the table of matches, from what a model returns for a song."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from bcl_keras.fields import Array

_TEXTS, _NUMBERS = pa.list_(pa.string()), pa.list_(pa.float32())
#: Shares and evidence are null where the model does not return them.
MATCH_ROWS = pa.schema(
    [
        ("song_id", pa.string()),
        ("split", pa.string()),
        ("match_ids", _TEXTS),
        ("match_scores", _NUMBERS),
        ("match_shares", pa.list_(_NUMBERS)),
        ("share_names", _TEXTS),
        ("known_fields", pa.int32()),
        ("evidence", _NUMBERS),
        ("evidence_names", _TEXTS),
    ]
)


def match_row(song_id: str, split: str, outputs: Mapping[str, Array]) -> dict[str, Any]:
    """Returns the row of one song; without matches if the model knows no value of the song, as its scores mean nothing.

    Args:
        song_id: The song.
        split: Its split.
        outputs: What the signature `match_examples` returns for this song, in any shape.
    """
    known = int(outputs["known_fields"].reshape(-1)[0]) if "known_fields" in outputs else None  # older models lack it
    ids, scores = outputs["song_ids"].reshape(-1), outputs["scores"].reshape(-1)
    count = 0 if known == 0 else len(ids)
    row: dict[str, Any] = {
        "song_id": song_id,
        "split": split,
        "match_ids": _texts(ids[:count]),
        "match_scores": scores[:count],
        "known_fields": known,
        **dict.fromkeys(("match_shares", "share_names", "evidence", "evidence_names")),
    }
    if "shares" in outputs:
        names = _texts(outputs["share_names"])
        shares = list(outputs["shares"].reshape(-1, len(names))[:count])
        row |= {"match_shares": shares, "share_names": names}
    if "evidence" in outputs:
        row |= {"evidence": outputs["evidence"].reshape(-1), "evidence_names": _texts(outputs["evidence_names"])}
    return row


def _texts(values: Array) -> list[str]:
    return [value.decode() for value in values.reshape(-1)]
