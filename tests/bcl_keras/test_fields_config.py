"""Fields, their values, and the settings."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from bcl_keras import BCLConfig, Field
from bcl_keras.fields import as_fields, check_values


def test_config_survives_json() -> None:
    config = BCLConfig(hidden_dims=(3, 4), operators=("span_mask", "uniform_noise"), views="corrupt")
    assert BCLConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_fields_survive_json() -> None:
    fields = (Field("a", "category", 3), Field("b", "number"))
    assert as_fields(json.loads(json.dumps([field.to_dict() for field in fields]))) == fields


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"embedding_dim": 0}, "`embedding_dim` must be at least 1. Received: 0"),
        ({"input_dropout": 1.0}, r"`input_dropout` must be in \[0, 1\). Received: 1.0"),
        ({"temperature": 0.0}, "`temperature` must be above 0. Received: 0.0"),
        ({"contrast_weight": -1.0}, "`contrast_weight` must be at least 0. Received: -1.0"),
        ({"momentum": 1.0}, r"`momentum` must be in \[0, 1\). Received: 1.0"),
        ({"batch_size": 1}, "`batch_size` must be at least 2. Received: 1"),
        ({"correlation_songs": 3}, "`correlation_songs` must be at least 4. Received: 3"),
        ({"supervised_loss": "hinge"}, "`supervised_loss` must be one of .* Received: 'hinge'"),
        ({"views": "V3"}, "`views` must be one of .* Received: 'V3'"),
        ({"grouping": "best"}, "`grouping` must be one of .* Received: 'best'"),
        ({"correlation_mode": "mean"}, "`correlation_mode` must be one of .* Received: 'mean'"),
        ({"plays_part": "yes"}, "`plays_part` must be one of .* Received: 'yes'"),
        ({"hidden_dims": (0,)}, r"`hidden_dims` must be made of sizes of at least 1. Received: \(0,\)"),
        ({"operators": ("blur",)}, r"`operators` must be made of .* Received: \('blur',\)"),
    ],
)
def test_config_messages(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BCLConfig(**kwargs)


def test_unknown_setting_message() -> None:
    with pytest.raises(ValueError, match=r"`values` must hold settings of BCLConfig only. Received: \['tau'\]"):
        BCLConfig.from_dict({"tau": 0.1})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", "number"), "`name` must be a non-empty string. Received: ''"),
        (("a", "text"), "`kind` must be one of .* Received: 'text'"),
        (("a", "category", 1), "`size` of a category field must be at least 2. Received: 1"),
        (("a", "vector", 0), "`size` of a vector field must be at least 1. Received: 0"),
        (("a", "number", 2), "`size` of a number field must be 1. Received: 2"),
    ],
)
def test_field_messages(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Field(*arguments)


def test_repeated_name_message() -> None:
    with pytest.raises(ValueError, match=r"`fields` must have distinct names. Received: \['a', 'a'\]"):
        as_fields([Field("a", "number"), Field("a", "number")])


NUMBER, CATEGORY = Field("a", "number"), Field("a", "category", 3)
MULTI, VECTOR = Field("a", "multi_category", 3), Field("a", "vector", 3)
ENDLESS = "must be finite, or NaN where missing. Received:"
UNEVEN = "must have rows of one length"


@pytest.mark.parametrize(
    ("field", "values", "message"),
    [
        (NUMBER, np.array([[1.0]]), r"Field `a` \(number\) must have 1 axes. Received: shape \(1, 1\)"),
        (NUMBER, 1.0, r"must have 1 axes. Received: shape \(\)"),
        (VECTOR, np.array([[1.0, 2.0]]), r"must have vectors of length 3. Received: shape \(1, 2\)"),
        (VECTOR, np.zeros((2, 1024)), r"must have vectors of length 3. Received: shape \(2, 1024\)"),
        (NUMBER, np.array([1.0, np.inf]), f"{ENDLESS} inf in row 1$"),
        (NUMBER, [np.nan, 1.0, -np.inf], f"{ENDLESS} -inf in row 2$"),
        (NUMBER, [0.0, 1e39], rf"{ENDLESS} 1e\+39 in row 1, which float32 cannot hold"),
        (VECTOR, [[0.0] * 3, [0.0, np.inf, np.nan]], f"{ENDLESS} inf in row 1"),
        (CATEGORY, np.array([1.0]), "must hold integer ids. Received: dtype float64, 1.0 in row 0"),
        (CATEGORY, [1, 0.5], "must hold integer ids. Received: dtype float64, 0.5 in row 1"),
        (CATEGORY, np.array(["rock", "jazz"]), "must hold integer ids. Received: dtype <U4, 'rock' in row 0"),
        (CATEGORY, [1, "jazz"], "must hold integer ids. Received: dtype <U21, 'jazz' in row 1"),
        (CATEGORY, [1, None], "must hold integer ids. Received: dtype object, None in row 1"),
        (CATEGORY, [True, False], "must hold integer ids. Received: dtype bool"),
        (CATEGORY, np.array([0, 3]), "must hold ids from 0 to 2. Received: 3 in row 1$"),
        (CATEGORY, [2, 7, 9, -1], "must hold ids from 0 to 2. Received: 7 in row 1$"),
        (CATEGORY, np.array([0, 2**64 - 1], "uint64"), "from 0 to 2. Received: 18446744073709551615 in row 1$"),
        (MULTI, np.array([[-1, 0]]), "must hold ids from 0 to 2. Received: -1 in row 0$"),
        (MULTI, [[1, 0], [2, 3]], "must hold ids from 0 to 2. Received: 3 in row 1$"),
        (MULTI, [[1, 2], [1], [2]], f"{UNEVEN}, padded with 0. Received: 1 in row 1 after 2 in row 0"),
        (MULTI, [[], [1]], f"{UNEVEN}, padded with 0. Received: 1 in row 1 after 0 in row 0"),
        (MULTI, [[1, 2], None], f"{UNEVEN}, padded with 0. Received: None in row 1 after 2 in row 0"),
        (MULTI, [["a", "b"]], r"must hold integer ids. Received: dtype <U1, \['a', 'b'\] in row 0"),
        (VECTOR, [[1.0, 2.0, 3.0], [1.0]], rf"{UNEVEN}\. Received: 1 in row 1 after 3 in row 0"),
        (NUMBER, ["1.5", "2"], "must hold numbers. Received: dtype <U3, '1.5' in row 0"),
        (NUMBER, np.array([b"1"]), "must hold numbers. Received: dtype [|]S1, b'1' in row 0"),
        (NUMBER, [1.0, None], "must hold numbers. Received: dtype object, None in row 1"),
        (NUMBER, [1j], "must hold numbers. Received: dtype complex128"),
        (NUMBER, np.array(["2026-01-01"], "datetime64[D]"), "must hold numbers. Received: dtype datetime64"),
    ],
)
def test_value_messages(field: Field, values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_values(field, values)


def test_lists_and_columns_of_lists_are_taken() -> None:
    assert check_values(NUMBER, [1, True, np.nan]).dtype == np.float32
    assert check_values(CATEGORY, [2, 0]).tolist() == [2, 0]
    column = np.empty(2, Any)
    column[:] = [[1, 2], np.array([0, 1])]
    assert check_values(MULTI, column).tolist() == [[1, 2], [0, 1]]
    assert check_values(CATEGORY, []).shape == (0,) and check_values(MULTI, np.zeros((4, 0))).shape == (4, 0)


def test_values_get_their_type() -> None:
    assert check_values(Field("a", "number"), np.array([1, 2])).dtype == np.float32
    assert check_values(Field("a", "category", 3), np.array([1, 2])).dtype == np.int32
