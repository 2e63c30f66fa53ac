"""Columns of ids in which every id stands once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tfx_pipeline.contract.ids import Ids, no_ids


class Coded(NamedTuple):
    """A column of ids in which every id stands once: one long id does not widen a row of every play."""

    ids: Ids  # (m,) distinct
    codes: npt.NDArray[Any]  # (n,) int, the place of each row's id

    def take(self, rows: npt.NDArray[Any]) -> Coded:
        """Returns some rows, with the ids that they need and no others.

        Args:
            rows: Their numbers, or a mask.
        """
        used, codes = np.unique(self.codes[rows], return_inverse=True)
        return Coded(self.ids[used], codes.astype(np.int32))

    @staticmethod
    def concatenate(parts: Sequence[Coded]) -> Coded:
        """Returns the rows of all parts, in their order, with ids ascending.

        Args:
            parts: The columns; none gives an empty one.
        """
        ids, places = union([part.ids for part in parts])
        codes = [place[part.codes] for place, part in zip(places, parts, strict=True)]
        return Coded(ids, np.concatenate([np.zeros(0, np.int32), *codes]))


def union(vocabularies: Sequence[Ids]) -> tuple[Ids, list[npt.NDArray[np.int32]]]:
    """Returns the distinct ids of all vocabularies, ascending, and where the ids of each went.

    Args:
        vocabularies: Arrays of distinct ids.
    """
    if not vocabularies:
        return no_ids(), []
    found, place = np.unique(np.concatenate(vocabularies), return_inverse=True)
    return found, np.split(place.astype(np.int32), np.cumsum([len(ids) for ids in vocabularies])[:-1])
