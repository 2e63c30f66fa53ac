"""Rows of the table of matches, from what a model returns for a song."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bcl_keras.fields import Array
from tfx_pipeline.contract import schemas
from tfx_pipeline.contract.ids import SONG_ID

#: Chances, shares and evidence are null where the model does not return them.
MATCH_ROWS = schemas.MATCHES


def match_row(song_id: str, split: str, outputs: Mapping[str, Array]) -> dict[str, Any]:
    """Returns the row of one song; without matches if it has no known values, because its scores mean nothing.

    Args:
        song_id: The song.
        split: Its split.
        outputs: What the signature `match_examples` returns for this song, in any shape.
    """
    known = int(outputs["known_fields"].reshape(-1)[0]) if "known_fields" in outputs else None  # older models lack it
    ids, scores = outputs["song_ids"].reshape(-1), outputs["scores"].reshape(-1)
    count = 0 if known == 0 else len(ids)
    row: dict[str, Any] = {
        SONG_ID: song_id,
        "split": split,
        "match_ids": _texts(ids[:count]),
        "match_scores": scores[:count],
        "known_fields": known,
        **dict.fromkeys(("match_shares", "share_names", "evidence", "evidence_names")),
        **{
            column: outputs[name].reshape(-1)[:count] if name in outputs else None
            for column, name in schemas.CHANCES.items()
        },
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
