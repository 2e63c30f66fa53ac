"""Checks of arrays before a model computes with them.

A gather beyond a table's end raises on one backend, and gives the last row, zeros or NaN on others. So every array from
a user is checked here once, in numpy. Tensors are not checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from bcl_keras.fields import Array, Field, check_values

SONG_INDEX = "song_index"


def is_given_as_arrays(inputs: Any) -> bool:
    """Return whether inputs are a dict of arrays or lists, rather than of tensors that a graph or a device holds."""
    return isinstance(inputs, Mapping) and any(isinstance(v, (np.ndarray, list, tuple)) for v in inputs.values())


def check_features(fields: Sequence[Field], features: Any, num_songs: int | None = None) -> dict[str, Array]:
    """Return the features of some songs as arrays, after checking every field's contract.

    Args:
        fields: The fields of the model.
        features: Field name to values, one row per song.
        num_songs: Number of warm songs where `song_index` may stand among the features, else `None`.

    Raises:
        ValueError: If features are not a dict, a field is absent, unknown or breaks its contract, or the fields differ
            in their number of rows.
    """
    if not isinstance(features, Mapping):
        raise ValueError(f"Argument `features` must be a dict of arrays by field. Received: {type(features).__name__}")
    absent = [field.name for field in fields if field.name not in features]
    if absent:
        raise ValueError(f"Argument `features` must hold every field. Received: nothing for {absent}")
    if num_songs is not None and SONG_INDEX in features:
        fields = [*fields, Field(SONG_INDEX, "category", num_songs + 1)]
    names = [field.name for field in fields]
    unknown = [name for name in features if name not in names]
    if unknown:
        raise ValueError(f"Argument `features` must hold no fields other than {names}. Received: {unknown}")
    arrays = {field.name: check_values(field, as_numpy(features[field.name])) for field in fields}
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(f"Argument `features` must hold one row per song in every field. Received: {counts}")
    return arrays


def check_num_songs(num_songs: Any) -> int:
    """Return the number of warm songs.

    Raises:
        ValueError: If it is not an integer of at least 1.
    """
    if isinstance(num_songs, bool) or not isinstance(num_songs, (int, np.integer)) or num_songs < 1:
        raise ValueError(f"Argument `num_songs` must be an integer of at least 1. Received: {num_songs!r}")
    return int(num_songs)


def as_numpy(values: Any) -> Any:
    """Return a tensor of the backend as an array, and anything else as it is."""
    return ops.convert_to_numpy(values) if ops.is_tensor(values) else values


def check_rows(rows: Any, name: str, end: int, *, rank: int = 1, padded: bool = False) -> Array:
    """Return row numbers as an int32 array, after checking that the rows exist.

    Args:
        rows: Row numbers.
        name: What they are given as.
        end: Number of rows.
        rank: Number of axes. Defaults to 1.
        padded: Whether -1 means none. Defaults to `False`.

    Raises:
        ValueError: If they are not integers, have another rank, or lie outside.
    """
    least, array = (-1 if padded else 0), np.asarray(as_numpy(rows))
    if array.size == 0:
        array = array.astype("int32")  # numpy takes an empty list for floats
    if array.dtype.kind not in "iu" or array.ndim != rank:
        received = f"dtype {array.dtype}, shape {array.shape}"
        raise ValueError(f"Argument `{name}` must hold row numbers, integers of {rank} axes. Received: {received}")
    if array.size and (array.min() < least or array.max() >= end):
        place = tuple(np.argwhere((array < least) | (array >= end))[0])
        raise ValueError(
            f"Argument `{name}` must hold row numbers from {least} to {end - 1}. "
            f"Received: {array[place]} in row {place[0]}"
        )
    return array.astype("int32")


def check_pairs(pairs: tuple[Any, Any, Any], num_rows: int, num_songs: int, name: str) -> tuple[Array, Array, Array]:
    """Return pairs of similar songs as arrays: int64 rows, int64 rows of warm songs, float64 similarities.

    Args:
        pairs: Rows of any songs, rows of warm songs, and similarities above 0.
        num_rows: Number of songs.
        num_songs: Number of warm songs, the first rows.
        name: What they are given as.

    Raises:
        ValueError: If there is no pair, the arrays differ in length, a row is no integer or does not exist, or a
            similarity is not finite and above 0.
    """
    anchors, positives, weights = (np.asarray(as_numpy(part)) for part in pairs)
    shapes = anchors.shape, positives.shape, weights.shape
    if len(set(shapes)) > 1 or anchors.ndim != 1 or not len(anchors):
        raise ValueError(f"Argument `{name}` must hold three arrays of one length above 0. Received: shapes {shapes}")
    for rows, what, end in ((anchors, "rows", num_rows), (positives, "rows of warm songs", num_songs)):
        if rows.dtype.kind not in "iu":
            raise ValueError(f"Argument `{name}` must hold {what}, which are integers. Received: dtype {rows.dtype}")
        if rows.min() < 0 or rows.max() >= end:
            received = f"{rows.min()} to {rows.max()}"
            raise ValueError(f"Argument `{name}` must hold {what}, 0 to {end - 1}. Received: {received}")
    weights = weights.astype("float64")
    if not (weights > 0).all() or not np.isfinite(weights).all():
        raise ValueError(f"Argument `{name}` must hold finite similarities above 0. Received: {weights.min()}")
    return anchors.astype("int64"), positives.astype("int64"), weights


def check_validation(
    fields: Sequence[Field], validation: tuple[Any, Any], num_songs: int
) -> tuple[dict[str, Array], Array]:
    """Return validation songs and the rows that they should retrieve as arrays, after checking both.

    Args:
        fields: The fields of the model.
        validation: Features of some songs, and `(n, P)` rows of warm songs, padded with -1.
        num_songs: Number of warm songs.

    Raises:
        ValueError: If a field or a row is not in order, or there is not one row of positives per song.
    """
    features = check_features(fields, validation[0])
    positives = check_rows(validation[1], "validation", num_songs, rank=2, padded=True)
    count = len(next(iter(features.values())))
    if len(positives) != count:
        raise ValueError(
            f"Argument `validation` must hold one row of positives for each of {count} songs. "
            f"Received: {len(positives)}"
        )
    return features, positives


def check_batch(batch: Mapping[str, Any], num_rows: int) -> dict[str, Array]:
    """Return a training batch as arrays, after checking that its rows exist (see `PairStream`).

    Args:
        batch: Arrays by name.
        num_rows: Rows of the catalogue.

    Raises:
        ValueError: If a row does not exist, a name is unknown, or a number is not finite.
    """
    rows, numbers = ("anchor", "positive", "negative", "contrast"), ("weight", "positive_log_q", "negative_log_q")
    unknown = set(batch) - {*rows, *numbers, "known_positives"}
    if unknown or "anchor" not in batch or "positive" not in batch:
        others = [*rows[2:], "known_positives", *numbers]
        raise ValueError(
            f"Argument `x` must hold `anchor`, `positive` and nothing else but {others}. Received: {list(batch)}"
        )
    checked = {name: check_rows(batch[name], name, num_rows) for name in rows if name in batch}
    if "known_positives" in batch:
        known = check_rows(batch["known_positives"], "known_positives", num_rows, rank=2, padded=True)
        checked["known_positives"] = known
    for name in numbers:
        if name in batch:
            checked[name] = check_values(Field(name, "number"), as_numpy(batch[name]))
    return checked
