"""Large batches cut into messages under a limit, and their replies joined again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from serving.client.signatures import Signature, TensorSpec

Arrays = Mapping[str, np.ndarray[Any, Any]]
# Bytes of a message besides the values: at least these (names of model and signature, and some room), and per tensor
# its name with tags, lengths, type and shape.
_MESSAGE_OVERHEAD = 4096
_TENSOR_OVERHEAD, _DIMENSION_OVERHEAD = 32, 14
_STRING_OVERHEAD = 4


def _row_bytes(array: np.ndarray[Any, Any], rows: int) -> np.ndarray[Any, Any]:
    if array.dtype != object:
        return np.full(rows, array.nbytes // max(rows, 1), np.int64)
    lengths = np.array([len(value) + _STRING_OVERHEAD for value in array.ravel().tolist()], np.int64)
    return np.asarray(lengths.reshape(rows, -1).sum(axis=1))


def batched_names(arrays: Arrays, signature: Signature) -> set[str]:
    """Returns the inputs whose rows belong to songs.

    Raises:
        ValueError: If the signature lacks an input, one is missing, or numbers of rows differ.
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


def _overhead(specs: Mapping[str, TensorSpec]) -> int:
    return sum(
        len(name.encode()) + _TENSOR_OVERHEAD + _DIMENSION_OVERHEAD * len(spec.shape or ())
        for name, spec in specs.items()
    )


def split_rows(
    arrays: Arrays, signature: Signature, limit: int, reply_row_bytes: int, max_rows: int | None = None
) -> Iterator[slice]:
    """Yields slices of rows whose request and estimated reply stay under `limit` bytes; one for an empty batch.

    Args:
        arrays: Inputs by name.
        signature: What they are for.
        limit: Bytes.
        reply_row_bytes: Estimate for a row of the reply.
        max_rows: Of a slice; None = no limit. It only counts where each output has a row per row, by the signature:
            other replies could not be joined.

    Raises:
        ValueError: If a single row is over the limit.
    """
    names = batched_names(arrays, signature)
    rows = len(arrays[next(iter(names))]) if names else 0
    if not names or rows == 0:
        yield slice(None)
        return
    if max_rows is None or not all(spec.per_row for spec in signature.outputs.values()):
        max_rows = rows
    overhead = max(_MESSAGE_OVERHEAD, 1024 + max(_overhead(signature.inputs), _overhead(signature.outputs)))
    whole = sum(array.nbytes for name, array in arrays.items() if name not in names) + overhead
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
        if size + row_size > limit or row - start == max_rows:
            yield slice(start, row)
            start, size = row, whole
        size += row_size
    yield slice(start, rows)


def join_outputs(
    parts: Sequence[Mapping[str, np.ndarray[Any, Any]]], rows: Sequence[int | None]
) -> dict[str, np.ndarray[Any, Any]]:
    """Returns the outputs of a split batch, row after row; the reply itself where the batch was not split.

    Args:
        parts: Outputs per message.
        rows: Rows per message.

    Raises:
        ValueError: If an output of a part has another number of rows than was sent, so that the parts cannot be joined.
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
