"""The layers of the method on the simulated catalogue: they find its groups of fields and follow their drift."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from keras import ops

from bcl_keras.layers import CorrelationGrouping, FeatureCorrelation
from tfx_pipeline.datasets.simulate import simulate

PRODUCTION = ["audio_energy", "audio_loudness", "audio_tempo", "audio_dynamics"]
MOOD = ["audio_valence", "lyric_sentiment", "lyric_moods"]
OTHERS = ["audio_room", "audio_duration_sec"]
FIELDS = PRODUCTION + MOOD + OTHERS
SONGS, BATCH, PERIODS = 6_000, 300, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "catalogue"
    simulate(out, songs=SONGS, users=200, plays=4_000, seed=5)
    return out


@pytest.fixture(scope="module")
def stated(folder: Path) -> np.ndarray:
    """The truth: (periods, F, F) bias-corrected distance correlations."""
    truth = np.load(folder / "truth.npz")
    places = [truth["fields"].tolist().index(name) for name in FIELDS]
    return truth["field_correlation"][:, places][:, :, places]


def columns(folder: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Return each field's rows in the order of release, zeros where a song lacks it, and who has what."""
    table = pq.read_table(folder / "songs.parquet")
    order = np.argsort(np.load(folder / "truth.npz")["song_released"], kind="stable")
    found, presence = [], []
    for name in FIELDS:
        values = [table[name][int(row)].as_py() for row in order]
        words = sorted({word for value in values if isinstance(value, list) for word in value if word is not None})
        if isinstance(next(value for value in values if value is not None), list) and isinstance(words[0], str):
            values = [None if value is None else [float(word in value) for word in words] for value in values]
        length = max(np.size(value) for value in values if value is not None)
        rows = [np.zeros(length) if value is None else np.broadcast_to(value, length) for value in values]
        found.append(np.stack(rows).astype("float32"))
        presence.append([value is not None for value in values])
    return found, np.array(presence).T


@pytest.fixture(scope="module")
def followed(folder: Path) -> np.ndarray:
    """The layer's matrix at the end of each release period, the songs coming in the order of their release."""
    fields, presence = columns(folder)
    layer = FeatureCorrelation(len(FIELDS), momentum=0.5, update_every=1, unbiased=True)
    matrices = []
    for start in range(0, SONGS, BATCH):
        rows = slice(start, start + BATCH)
        batch = [ops.convert_to_tensor(field[rows]) for field in fields]
        matrix = layer(batch, presence=ops.convert_to_tensor(presence[rows]), training=True)
        if (start + BATCH) % (SONGS // PERIODS) == 0:
            matrices.append(ops.convert_to_numpy(matrix))
    return np.stack(matrices)


def inside(names: list[str]) -> np.ndarray:
    """Which pairs lie within a group."""
    member = np.array([name in names for name in FIELDS])
    return np.outer(member, member) & ~np.eye(len(FIELDS), dtype=bool)


def test_groups_stand_out_and_drift_is_followed(followed: np.ndarray, stated: np.ndarray) -> None:
    for period in range(PERIODS):
        squares = followed[period] ** 2 - stated[period] ** 2
        # The end of a period is up to an eighth of the drift ahead of its middle.
        assert np.abs(squares[~np.eye(len(FIELDS), dtype=bool)]).max() < 0.2
    production, mood = ([matrix[inside(names)].mean() for matrix in followed] for names in (PRODUCTION, MOOD))
    assert production[0] > 0.45
    assert production[-1] < 0.25
    assert mood[-1] > 0.35
    assert mood[0] < 0.25
    strangers = ~inside(PRODUCTION) & ~inside(MOOD) & ~np.eye(len(FIELDS), dtype=bool)
    assert max(matrix[strangers].mean() for matrix in followed) < 0.2


@pytest.mark.parametrize(("period", "names"), [(0, PRODUCTION), (PERIODS - 1, MOOD)])
def test_grouping_puts_them_together_at_the_stated_rate(
    followed: np.ndarray, stated: np.ndarray, period: int, names: list[str]
) -> None:
    """In groups of two, a field of the planted group draws another one with the share that the truth gives."""
    grouping = CorrelationGrouping(len(FIELDS), group_size=2, seed=1)
    groups = ops.convert_to_numpy(grouping(ops.convert_to_tensor(followed[period]), num_draws=20_000))
    observed = float((groups[:, [FIELDS.index(name) for name in names]].sum(axis=1) == 2).mean())
    weights = np.where(np.eye(len(FIELDS), dtype=bool), 0.0, stated[period])
    law = float((weights * inside(names)).sum(axis=1) @ (1 / weights.sum(axis=1)) / len(FIELDS))
    by_chance = len(names) * (len(names) - 1) / (len(FIELDS) * (len(FIELDS) - 1))
    assert observed == pytest.approx(law, abs=0.06)
    assert observed > 1.5 * by_chance
