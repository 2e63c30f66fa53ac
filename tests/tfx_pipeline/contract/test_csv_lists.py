"""Lists in one cell, as printed by Python, JSON and numpy: what was printed comes back, whatever the words."""

import json
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfx_pipeline.contract.csv.lists import read_number_words, read_numbers, read_words, without_numpy_names

WORDS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12), max_size=6).map(
    lambda words: [word.strip() for word in words if word.strip()]
)


@settings(deadline=None)
@given(WORDS, st.booleans())
def test_words_come_back(words, holed):
    holes = [None] if holed else []
    assert read_words(str([*words, *holes])) == words
    assert read_words(json.dumps([*words, *holes])) == words
    assert read_words(json.dumps([*holes, *words], ensure_ascii=False)) == words


@settings(deadline=None)
@given(WORDS)
def test_words_of_numpy_come_back(words):
    # numpy prints an array of objects as the `repr` of each, with a blank or a line break between.
    printed = np.array2string(np.array([*words, "last"], object), threshold=10**6)
    assert read_words(printed) == [*words, "last"]


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("[]", []),
        ("[ ]", []),
        ("[lo fi, rock]", ["lo fi", "rock"]),
        ("[don't stop, a]", ["don't stop", "a"]),
        ("['a',]", ["a"]),
        ("['a', '', None, nan, \"b\"]", ["a", "b"]),
        ("[1, 'a', 2.5, true]", ["1", "a", "2.5", "true"]),
        ('[1, "a", true, null]', ["1", "a", "True"]),
        ("['a' 'b'\n 'c']", ["a", "b", "c"]),
        ("['it\\'s', \"it's\", 'a\\\\b']", ["it's", "it's", "a\\b"]),
        ("['a', ['b']]", None),
        ("[['a']]", None),
        ('[{"a": 1}]', None),
        ("['a' b]", None),
        ("['a]", None),
    ],
)
def test_words_in_other_forms(cell, words):
    if words is None:
        with pytest.raises(ValueError, match=re.escape(cell.strip("[]"))):
            read_words(cell)
    else:
        assert read_words(cell) == words


def test_numbers_and_ids():
    assert read_numbers("[0.5, -1, 2e-3,nan]") == [0.5, -1.0, 0.002, None]
    assert read_numbers("[ 0.5\n  1. ]") == [0.5, 1.0] and read_numbers("[]") == []
    assert read_number_words("[1, 22 None]") == ["1", "22"]
    for values in (np.array([0.1, 1e-9, 3.0]), np.arange(40.0), np.array([0.1, 2], np.float32)):
        assert read_numbers(str(values)) == pytest.approx(values.tolist())
        named = "[" + ", ".join(f"np.{values.dtype}({value})" for value in values) + "]"
        assert read_numbers(without_numpy_names(pa.array([named]))[0].as_py()) == values.tolist()
