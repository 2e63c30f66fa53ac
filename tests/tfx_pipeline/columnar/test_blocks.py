"""Blocks of columns: what is picked, joined and sharded is what a loop over rows would give."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pyarrow as pa
import pytest

from tfx_pipeline.columnar.arrow import coded_ids, vectors_of
from tfx_pipeline.columnar.coded import Coded, union
from tfx_pipeline.columnar.hashing import shard_of, shards_for
from tfx_pipeline.columnar.rows import Array, Rows, group_rows, ranges, smallest, starts_of
from tfx_pipeline.contract.ids import Ids, id_array, no_ids

LONG = "x" * 200


@dataclasses.dataclass(frozen=True, eq=False)
class Scored(Rows):
    """Ids with two numbers each."""

    ids: Ids
    pairs: Array

    @classmethod
    def empty(cls) -> Scored:
        return cls(no_ids(), np.zeros((0, 2)))


def scored(*names: str) -> Scored:
    return Scored(id_array(names), np.array([[len(name), ord(name[0])] for name in names], float))


def rows_of(block: Scored) -> list[tuple[str, list[float]]]:
    return [(id_.decode(), pair.tolist()) for id_, pair in zip(block.ids, block.pairs, strict=True)]


def values_of(column: Coded) -> list[str]:
    return [column.ids[code].decode() for code in column.codes]


def test_blocks_keep_their_rows_whole() -> None:
    first, second = scored("a", "bb", LONG), scored("ccc")
    joined = Scored.concatenate([first, second])
    assert rows_of(joined) == rows_of(first) + rows_of(second)
    assert rows_of(joined.take(np.array([3, 0]))) == [rows_of(joined)[3], rows_of(joined)[0]]
    assert rows_of(joined.take(joined.pairs[:, 0] == 2)) == [("bb", [2.0, 98.0])]
    assert len(joined) == 4
    assert len(Scored.concatenate([])) == 0


def test_every_row_reaches_the_shard_of_its_id() -> None:
    block = scored(*(f"{letter}{number}" for letter in "abc" for number in range(20)))
    found = dict(block.by_shard(block.ids, 7))
    assert list(found) == sorted(found)
    assert sorted(row for part in found.values() for row in rows_of(part)) == sorted(rows_of(block))
    for shard, part in found.items():
        for id_ in part.ids.tolist():
            digest = hashlib.blake2b(id_, digest_size=8, key=b"shard").digest()
            assert int.from_bytes(digest, "little") % 7 == shard


def test_one_shard_takes_everything() -> None:
    assert shard_of(id_array(["a", "b"]), 1).tolist() == [0, 0]
    assert [shards_for(rows, 10) for rows in (0, 1, 10, 11)] == [1, 1, 1, 2]


def test_coded_columns_are_those_of_their_values() -> None:
    texts = [["b", "a", "b"], [LONG, "a"], []]
    parts = []
    for values in texts:
        ids, codes = np.unique(np.array(values, object), return_inverse=True)
        parts.append(Coded(id_array(ids.tolist()), codes))
    joined = Coded.concatenate(parts)
    assert values_of(joined) == ["b", "a", "b", LONG, "a"]
    assert joined.ids.tolist() == sorted({value.encode() for part in texts for value in part})
    taken = joined.take(np.array([4, 3]))
    assert values_of(taken) == ["a", LONG]
    assert taken.ids.tolist() == [b"a", LONG.encode()]
    assert values_of(Coded.concatenate([])) == []


def test_a_union_says_where_each_id_went() -> None:
    vocabularies = [id_array(["c", "a"]), id_array([]), id_array(["b", "c"])]
    ids, places = union(vocabularies)
    assert ids.tolist() == [b"a", b"b", b"c"]
    for vocabulary, place in zip(vocabularies, places, strict=True):
        assert ids[place].tolist() == vocabulary.tolist()


def test_lists_side_by_side() -> None:
    lengths = np.array([2, 0, 3])
    assert starts_of(lengths).tolist() == [0, 2, 2]
    assert ranges(np.array([10, 5, 0]), lengths).tolist() == [10, 11, 0, 1, 2]
    assert ranges(np.zeros(0, int), np.zeros(0, int)).tolist() == []
    assert [(key, rows.tolist()) for key, rows in group_rows(np.array([3, 1, 3]))] == [(1, [1]), (3, [0, 2])]
    assert list(group_rows(np.zeros(0, int))) == []
    assert smallest(np.array([5, 1, 1, 0]), 2).tolist() == [False, True, False, True]


def test_columns_of_tables() -> None:
    table = pa.table({"id": pa.chunked_array([["b", "a"], ["b"]]), "v": [[1.0, 0.0], [0.5, 2.0], [0.0, 0.0]]})
    assert values_of(coded_ids(table, "things", "id")) == ["b", "a", "b"]
    vectors = vectors_of(table, "things", "v", id_array(["b", "a", "b"]))
    assert vectors.tolist() == [[1.0, 0.0], [0.5, 2.0], [0.0, 0.0]]
    with pytest.raises(ValueError, match=r"`things` must have a column `user`. Received: columns \['id', 'v'\]"):
        coded_ids(table, "things", "user")
    with pytest.raises(ValueError, match=r"`v` of `things` must hold strings. Received: list<item: double>"):
        coded_ids(table, "things", "v")
