"""Replies of REST as JSON text: numbers written by rows, no second form of all of it, and an end when time is over."""

from __future__ import annotations

import json
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

from serving.server.rest.replies import decimal, tensors_to_json

SPECIAL = [0.0, -0.0, 1.0, -3.0, 0.1, 1 / 3, 16777216.0, 1e6, 123456.7, 1e-40, 3e-45, 3.4028234e38, math.nan, math.inf]
SPECIAL += [-math.inf, 2.5e-5, 999999.5]


def value(body: bytearray, key: str) -> Any:
    return json.loads(body)[key]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_number_is_read_back_as_it_was_and_as_short_as_its_type_allows(dtype: Any) -> None:
    rng = np.random.default_rng(1)
    numbers = [*SPECIAL, *(rng.normal(size=500) * 10.0 ** rng.integers(-30, 30, 500)), *rng.integers(-999, 999, 50)]
    array = np.array(numbers, dtype)
    text = tensors_to_json({"y": array}, "column").decode()
    np.testing.assert_array_equal(np.array(value(bytearray(text.encode()), "outputs"), dtype), array)
    words = text.removeprefix('{"outputs": [').removesuffix("]}").split(", ")
    assert words == [decimal(float(number), single=dtype is np.float32) for number in array]
    for word, number in zip(words, array, strict=True):
        if len(f"{number:g}") < len(word.removesuffix(".0")) and np.isfinite(number):
            assert dtype(f"{number:g}") != number  # six digits are not enough
    assert all("." in word or "e" in word or word.strip("-") in ("NaN", "Infinity") for word in words)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0), (0, 2), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_shapes(shape: tuple[int, ...], dtype: Any) -> None:
    array = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    assert value(tensors_to_json({"y": array}, "column"), "outputs") == array.tolist()
    both = tensors_to_json({"y": array, "z": array}, "column")
    assert value(both, "outputs") == {"y": array.tolist(), "z": array.tolist()}
    if shape and shape[0]:
        assert value(tensors_to_json({"y": array}, "row"), "predictions") == array.tolist()
        named = [{"y": row, "z": row} for row in array.tolist()]
        assert value(tensors_to_json({"y": array, "z": array}, "row"), "predictions") == named


@pytest.mark.parametrize("form", ["row", "column"])
def test_nothing_but_the_reply_is_held(form: str) -> None:
    array = np.random.default_rng(0).normal(size=(400, 50)).astype(np.float32)
    tracemalloc.start()
    reply = tensors_to_json({"y": array}, form)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A bytearray grows by an eighth. Python's floats alone would take more than the text.
    assert peak < 1.3 * len(reply)


def test_a_reply_ends_when_its_time_is_over() -> None:
    rows = 0

    def check() -> None:
        nonlocal rows
        rows += 1
        if rows > 10:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        tensors_to_json({"y": np.zeros((1000, 2))}, "row", check)
    assert rows == 11
