"""The planted catalogue has the groups, the drift and the listeners that it says, and streams pass it in order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from keras import ops

from bcl_keras.ops import distance_correlation
from benchmarks.quality.planted import World, compared, measure, membership, planted
from benchmarks.quality.streams import STEPS_PER_PASS, InOrder
from benchmarks.targeting_study.datasets import DataSet

SMALL = World(played=200, unplayed=400, users=80, plays=20)


def vectors(data: DataSet, name: str, songs: slice) -> np.ndarray:
    return np.array(data.features[name].to_pylist()[songs], np.float32)


def test_fields_of_a_group_belong_together() -> None:
    data = planted(SMALL)
    names = sorted((field.name for field in data.fields), key=lambda name: name[-2:])
    columns = [ops.convert_to_tensor(vectors(data, name, slice(0, 300))) for name in names]
    found = ops.convert_to_numpy(distance_correlation(columns))
    groups = membership(SMALL)[0]
    same = (groups[:, None] == groups[None, :]) & ~np.eye(len(groups), dtype=bool)
    assert found[same].min() > found[groups[:, None] != groups[None, :]].max() + 0.2


def test_drift_makes_groups_of_other_fields_in_each_period() -> None:
    drifting = replace(SMALL, periods=4)
    groups = membership(drifting)
    assert groups.shape == (4, 8) and len({tuple(row) for row in groups.tolist()}) == 4
    assert (np.sort(groups, axis=1) == np.repeat([0, 1], 4)).all()
    data = planted(drifting)
    for period, row in enumerate(groups):
        songs = slice(period * 150, (period + 1) * 150)
        names = sorted((field.name for field in data.fields), key=lambda name: name[-2:])
        columns = [ops.convert_to_tensor(vectors(data, name, songs)) for name in names]
        found = ops.convert_to_numpy(distance_correlation(columns))
        same = (row[:, None] == row[None, :]) & ~np.eye(8, dtype=bool)
        assert found[same].mean() > found[row[:, None] != row[None, :]].mean() + 0.2


def test_listeners_choose_by_taste_and_few_songs_are_played() -> None:
    data = planted(SMALL)
    listeners = np.diff(data.plays.indptr)
    assert (listeners > 0).sum() <= 200 and listeners.sum() == 80 * 20
    assert list(data.songs) == sorted(data.songs)


def test_a_window_passes_the_catalogue_in_order() -> None:
    order = np.array([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])
    pairs = ([0, 1, 2], [1, 0, 3], [0.9, 0.9, 0.4])
    stream = InOrder(order, 0.3, pairs, 5, num_rows=10, batch_size=4, steps_per_epoch=100, contrast_over="catalogue")
    assert stream.rows_at(0).tolist() == [3, 1, 4]
    assert stream.rows_at(STEPS_PER_PASS // 2).tolist() == [9, 2, 6]
    assert stream.rows_at(STEPS_PER_PASS - 1).tolist() == [7, 3, 1]
    stream.epoch = STEPS_PER_PASS // 100
    (batch,) = stream[0]
    assert set(batch["contrast"].tolist()) <= {3, 1, 4} and batch["anchor"].shape == (4,)
    assert "contrast" not in InOrder(order, 0.3, pairs, 5, num_rows=10, batch_size=4, contrast_over="none")[0][0]


@pytest.mark.slow
def test_every_setting_is_measured() -> None:
    lines: list[str] = []
    found = measure(replace(SMALL, periods=2), 1, 1, lines.append)
    assert set(found) == set(compared()) and len(lines) == len(found)
    assert all(0 < recall <= 1 for recalls in found.values() for both in recalls for recall in both)
