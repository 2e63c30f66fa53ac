"""Which plays are kept of a user of very many songs, or of a song of very many listeners."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tfx_pipeline.columnar.rows import Array
from tfx_pipeline.contract.ids import Ids
from tfx_pipeline.contract.splits import unit_hash


def at_most(owner: Array, most: int, draws_of: Callable[[int, Array], Array]) -> npt.NDArray[np.bool_]:
    """Returns a mask of the plays to keep: for an owner of more than `most`, those with the lowest draws.

    Args:
        owner: (n,) the number of each play's owner.
        most: Plays that an owner may keep.
        draws_of: Returns the draws of the plays of an owner, given its number and the places of its plays.
    """
    counts = np.bincount(owner)
    kept = counts[owner] <= most
    if not kept.all():
        order = np.argsort(owner, kind="stable")
        ends = np.cumsum(counts)
        for crowded in np.flatnonzero(counts > most).tolist():
            own = order[ends[crowded] - counts[crowded] : ends[crowded]]
            kept[own[np.argsort(draws_of(crowded, own), kind="stable")[:most]]] = True
    return kept


def draws(ids: Ids, salt: str) -> npt.NDArray[np.float64]:
    """Returns a number from 0 to 1 for each id, (n,), the same on every machine.

    Args:
        ids: (n,) ids.
        salt: Another salt gives other numbers.
    """
    return np.array([unit_hash(id_, salt) for id_ in ids.tolist()])
