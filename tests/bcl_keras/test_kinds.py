"""The layout of each kind of field, as the documentation of `Field` states it."""

from __future__ import annotations

import math

import pytest

import bcl_keras
from bcl_keras.kinds import KINDS, FieldKind


@pytest.mark.parametrize(
    ("kind", "dtype", "rank", "row", "missing"),
    [
        ("category", "int32", 1, (), 0),
        ("multi_category", "int32", 2, (None,), 0),
        ("number", "float32", 1, (), math.nan),
        ("vector", "float32", 2, (5,), math.nan),
    ],
)
def test_layouts(kind: FieldKind, dtype: str, rank: int, row: tuple[int | None, ...], missing: float) -> None:
    layout = KINDS[kind]
    assert (layout.dtype, layout.rank, layout.row_shape(5)) == (dtype, rank, row)
    assert layout.missing == missing or (math.isnan(missing) and math.isnan(layout.missing))
    field = bcl_keras.Field("x", kind, 1 if kind == "number" else 5)
    assert (field.dtype, field.rank, field.is_categorical) == (dtype, rank, dtype == "int32")


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`kind` must be one of .'category', .*'vector'.*Received: 'text'"):
        bcl_keras.Field("x", "text")  # type: ignore[arg-type]
