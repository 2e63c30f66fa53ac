"""Large batches cut into messages under a limit, and their replies joined again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from serving.client.signatures import Signature

Arrays = Mapping[str, np.ndarray[Any, Any]]
# Field tags, lengths, names and shapes around the values.
_MESSAGE_OVERHEAD = 4096
_STRING_OVERHEAD = 4


def _row_bytes(array: np.ndarray[Any, Any], rows: int) -> np.ndarray[Any, Any]:
    if array.dtype != object:
        return np.full(rows, array.nbytes // max(rows, 1), np.int64)
    lengths = np.array([len(value) + _STRING_OVERHEAD for value in array.ravel().tolist()], np.int64)
    return np.asarray(lengths.reshape(rows, -1).sum(axis=1))


def batched_names(arrays: Arrays, signature: Signature) -> set[str]:
    """Inputs whose rows belong to songs.

    Raises:
        ValueError: an input the signature lacks, one that is missing, or different numbers of rows.
    """
    unknown, missing = sorted(set(arrays) - set(signature.inputs)), sorted(set(signature.inputs) - set(arrays))
    if unknown or missing:
        raise ValueError(
            f"`inputs` must be exactly {list(signature.inputs)} for signature {signature.name!r}. "
            f"Received: unknown {unknown}, missing {missing}"
        )
    names = {name for name, array in arrays.items() if signature.inputs[name].per_row and array.ndim > 0}
    sizes = {name: len(arrays[name]) for name in sorted(names)}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"`inputs` must have the same number of rows. Received: {sizes}")
    return names


def split_rows(arrays: Arrays, signature: Signature, limit: int, reply_row_bytes: int) -> Iterator[slice]:
    """Slices of rows whose request and estimated reply each stay under `limit` bytes; one slice for an empty batch.

    Raises:
        ValueError: a single row is over the limit.
    """
    names = batched_names(arrays, signature)
    rows = len(arrays[next(iter(names))]) if names else 0
    if not names or rows == 0:
        yield slice(None)
        return
    whole = sum(array.nbytes for name, array in arrays.items() if name not in names) + _MESSAGE_OVERHEAD
    per_row = sum((_row_bytes(arrays[name], rows) for name in names), np.zeros(rows, np.int64))
    per_row = np.maximum(per_row, reply_row_bytes)
    if per_row.max() + whole > limit:
        row = int(per_row.argmax())
        raise ValueError(
            f"`max_message_bytes` must hold at least one row. Received: {limit}, and row {row} takes "
            f"{int(per_row[row]) + whole} bytes"
        )
    start, size = 0, whole
    for row, row_size in enumerate(per_row.tolist()):
        if size + row_size > limit:
            yield slice(start, row)
            start, size = row, whole
        size += row_size
    yield slice(start, rows)


def join_outputs(
    parts: Sequence[Mapping[str, np.ndarray[Any, Any]]], rows: Sequence[int | None]
) -> dict[str, np.ndarray[Any, Any]]:
    """Outputs of a split batch, row after row; the reply itself where the batch was not split.

    Args:
        parts: outputs per message.
        rows: rows per message.

    Raises:
        ValueError: an output of a part does not have a row per row sent, so that the parts cannot be joined.
    """
    if len(parts) == 1:
        return dict(parts[0])
    for name in parts[0]:
        for part, expected in zip(parts, rows, strict=True):
            if part[name].ndim == 0 or len(part[name]) != expected:
                raise ValueError(
                    f"output {name!r} of a batch sent in {len(parts)} messages must have {expected} rows. "
                    f"Received: shape {list(part[name].shape)}; raise `max_message_bytes` to send it in one"
                )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
