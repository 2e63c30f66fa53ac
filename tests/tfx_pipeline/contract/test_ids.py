"""Ids as arrays of bytes, against Python's own text, bytes and sets."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.any_text import AWKWARD, LONG, any_text
from tfx_pipeline.contract.ids import WIDEST, among, arrow_texts, id_array, lookup, no_ids, texts

IDS = st.lists(any_text() | st.sampled_from([*AWKWARD, LONG]), max_size=12)
quick = settings(max_examples=60, derandomize=True, deadline=None, database=None)


@quick
@given(IDS)
def test_text_comes_back_and_sorts_by_code_points(ids: list[str]) -> None:
    coded = [one.encode() for one in ids]
    for given_ids in (
        ids,
        coded,
        pa.array(ids, pa.string()),
        pa.array(ids, pa.large_string()),
        pa.chunked_array([ids], pa.string()),
    ):
        found = id_array(given_ids)
        assert found.shape == (len(ids),) and found.tolist() == coded
        assert texts(found) == ids and arrow_texts(found).to_pylist() == ids
    assert texts(np.sort(found)) == sorted(ids)
    assert pickle.loads(pickle.dumps(found)).tolist() == coded


@quick
@given(IDS, IDS)
def test_narrow_and_wide_arrays_are_looked_up_in_each_other(ids: list[str], table: list[str]) -> None:
    distinct = sorted(set(table))
    places = [distinct.index(one) if one in distinct else -1 for one in ids]
    assert lookup(id_array(ids), id_array(distinct)).tolist() == places
    assert among(id_array(ids), id_array(table)).tolist() == [one in table for one in ids]
    joined = np.concatenate([id_array(ids), id_array(table), no_ids()])
    assert set(joined.tolist()) == {one.encode() for one in [*ids, *table]}


def test_one_long_id_takes_its_own_bytes_and_no_more() -> None:
    ids = [f"user{number}" for number in range(10_000)]
    narrow, wide = id_array(ids), id_array([*ids, LONG])
    assert narrow.dtype == "S8"
    assert wide.nbytes <= 8 * len(wide)  # a reference each; in a fixed width they would take 90 MB
    assert len(pickle.dumps(wide)) < 400_000
    assert id_array(["x" * WIDEST]).dtype == f"S{WIDEST}" and id_array(["x" * (WIDEST + 1)]).dtype == object


@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_nothing_is_no_id(shape: tuple[int, ...]) -> None:
    empty = no_ids(*shape)
    assert empty.shape == (shape or (0,)) and (empty == b"").all()
    assert not among(empty, id_array(AWKWARD)).any()
    assert not among(id_array(AWKWARD), empty).any()
