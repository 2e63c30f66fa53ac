"""Which songs are held out: a tenth for ever, a tenth to choose by, and test songs that rotate over the rest.

A hash of the song's id decides, the same in every data set that has the song. So both forms of a data set, and a part
of it drawn by hash, hold out the same songs.

The validation songs are the same in every split: a song that something was chosen by is never a test song. The test
songs of `FOLDS` splits that follow each other do not overlap; after that the folds are drawn anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfx_pipeline.contract.splits import NEW, TEST, VALIDATION, WARM, unit_hash

#: Songs that no split has as warm, validation or test songs. They are judged once, by a command of their own.
LAST = "last tenth"
LEAST_LISTENERS = 3  # of a song that is a candidate or judged by
LAST_SHARE = VALIDATION_SHARE = 0.1
#: Number of splits whose test songs do not overlap: each has a tenth of all songs.
FOLDS = 8
_SALT = "bcl evidence, second round"


def split_of(songs: Sequence[bytes], listeners: Sequence[int] | np.ndarray, seed: int) -> np.ndarray:
    """Returns the part of each song in a split, `(n,)` str: `LAST`, or one of the pipeline's splits.

    Args:
        songs: Ids.
        listeners: Of each song; below `LEAST_LISTENERS` it is `NEW`, which may be learnt from and is not judged.
        seed: Number of the split, from 0.
    """
    pairs = zip(songs, listeners, strict=True)
    return np.array([_part(song, seed) if count >= LEAST_LISTENERS else NEW for song, count in pairs], dtype="<U10")


def _part(song: bytes, seed: int) -> str:
    place = unit_hash(song, _SALT)
    if place < LAST_SHARE:
        return LAST
    if place < LAST_SHARE + VALIDATION_SHARE:
        return VALIDATION
    repetition, fold = divmod(seed, FOLDS)
    return TEST if int(FOLDS * unit_hash(song, f"{_SALT}, folds {repetition}")) == fold else WARM
