"""The benchmark's judge against loops and against the step on Beam, its statistics against scipy."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from bcl_keras.evaluation.bootstrap import ClusterBootstrap
from benchmarks.significance import permutation_test
from benchmarks.targeting_study import findings
from benchmarks.targeting_study.counts import CUTOFFS, UNTARGETED
from benchmarks.targeting_study.datasets import read_data_set
from benchmarks.targeting_study.judging import Judge
from benchmarks.targeting_study.matching import closed_form
from benchmarks.targeting_study.simulated import chance_to_play
from tfx_pipeline.contract.ids import texts
from tfx_pipeline.targeting import TargetingConfig


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """120 songs and 260 listeners of four genres; most plays stay within the genre."""
    folder = tmp_path_factory.mktemp("small")
    rng = np.random.default_rng(0)
    genre = rng.integers(4, size=120)
    taste = rng.integers(4, size=260)
    chance = np.where(genre[:, None] == taste[None], 0.25, 0.03)
    song, user = np.nonzero(rng.random(chance.shape) < chance)
    songs = {
        "song_id": [f"s{i}" for i in range(120)],
        "attribute_genre": [f"genre {g}" for g in genre],
        "attribute_tags": [[f"tag {g}", f"tag {i % 7}"] for i, g in enumerate(genre)],
        "audio_tempo": rng.normal(120, 20, 120),
        "audio_timbre": (np.eye(4)[genre] + 0.3 * rng.normal(size=(120, 4))).tolist(),
    }
    plays = {
        "user_id": [f"u{i}" for i in user],
        "song_id": [f"s{i}" for i in song],
        "plays": rng.integers(1, 100, len(song)),
    }
    pq.write_table(pa.table(songs), folder / "songs.parquet")
    pq.write_table(pa.table(plays), folder / "plays.parquet")
    return read_data_set(folder)


@pytest.fixture(scope="module")
def found(data):
    return closed_form(data, 0)


def test_the_closed_form_finds_the_genre(data, found):
    genre = dict(zip(data.features["song_id"].to_pylist(), data.features["attribute_genre"].to_pylist(), strict=True))
    same = [
        genre[song] == genre[match]
        for song, matches, scores in zip(*found.matches.to_pydict().values(), strict=True)
        for match in np.array(matches)[np.argsort(scores)[::-1][:10]]
    ]
    assert np.mean(same) > 0.9


def test_the_judge_ranks_as_the_step_does(data, found, run):
    config = TargetingConfig(
        count_weight=0.1, reach="expand", target_splits=("test",), listeners_per_song=30, matches_per_song=20
    )
    judge = Judge(data, found, "test")
    cold = texts(data.songs[judge.rows])
    catalogue = [
        {"song_id": song, "split": split, "embedding": query, "candidate_embedding": candidate}
        for song, split, query, candidate in zip(
            texts(data.songs), found.split, found.query, found.candidate, strict=True
        )
    ]
    matches = [row for row in found.matches.to_pylist() if row["song_id"] in cold]
    entries = data.plays.tocoo()
    plays = [
        {"user_id": data.users[user].decode(), "song_id": data.songs[song].decode(), "plays": int(count)}
        for song, user, count in zip(entries.row, entries.col, entries.data, strict=True)
    ]
    result = run(config, catalogue=catalogue, matches=matches, plays=plays)
    for song, candidates in zip(cold, judge.candidates(config), strict=True):
        ranking = texts(data.users[judge.ranking(candidates, config)[:30]])
        assert len(set(ranking) ^ set(result.of(song))) <= 2  # scores that differ in the last digit


def test_counts_are_those_of_a_loop(data, found):
    judge = Judge(data, found, "test", min_plays=40)
    rules = {"count": TargetingConfig(rule="count", listeners_per_song=200)}
    judged = judge.judge(rules)
    plays = data.plays.toarray()
    warm = np.flatnonzero(found.split == "warm")
    most_active = np.argsort(-(plays[warm] > 0).sum(axis=0), kind="stable")
    for place, row in enumerate(judge.rows):
        listeners = np.flatnonzero(plays[row])
        assert judged.listeners[place] == len(listeners)
        for column, cutoff in enumerate(CUTOFFS):
            chosen = most_active[:cutoff]
            active = judged.counts[UNTARGETED[0]][place, column]
            assert active[0] == np.isin(chosen, listeners).sum()
            assert active[1] == (plays[row, chosen] >= 40).sum()
            random = judged.counts[UNTARGETED[1]][place, column]
            assert random[0] == pytest.approx(cutoff * len(listeners) / len(data.users))
    # A listener's upper quartile: so about a quarter of all plays are red, and all of those effective here.
    red = data.red.sum() / data.plays.nnz
    assert 0.2 < red < 0.27
    row = findings.campaign(judged, "count", 50)["rules"]["count"]
    assert row["lift over count"] == (0, 0, 0) and row["p against count"] == 1
    assert row[f"lift over {UNTARGETED[2]}"].low > 0


def test_the_known_taste_expects_what_was_played():
    """Against drawing until a user has so many different songs, as the simulator does."""
    chance = np.random.default_rng(0).dirichlet(np.full(40, 0.2), size=2).T
    found = chance_to_play(chance, np.array([5, 20]))
    np.testing.assert_allclose(found.sum(axis=0), [5, 20], rtol=1e-9)
    rng, played = np.random.default_rng(1), np.zeros((40, 2))
    for user, songs in enumerate((5, 20)):
        for _ in range(2000):
            # Gumbel-top-k: the first different songs of such drawing.
            keys = np.log(np.maximum(chance[:, user], 1e-300)) + rng.gumbel(size=40)
            played[np.argsort(-keys)[:songs], user] += 1 / 2000
    assert np.abs(found - played).max() < 0.06


def test_permutation_test_is_that_of_scipy():
    rng = np.random.default_rng(3)
    first = rng.poisson(5, 60).astype(float)
    second = first - rng.normal(0.4, 1.5, 60)
    expected = stats.permutation_test(
        (first, second), lambda a, b: (a - b).sum(), permutation_type="samples", n_resamples=20_000, random_state=1
    )
    assert permutation_test(first, second, np.arange(60)) == pytest.approx(expected.pvalue, abs=0.01)


def test_seeds_that_share_songs_are_no_more_evidence():
    rng = np.random.default_rng(5)
    values = rng.normal(1, 1, 80)
    songs = np.arange(80)
    once = ClusterBootstrap(songs).mean(values)
    twice = ClusterBootstrap(np.tile(songs, 2)).mean(np.tile(values, 2))
    assert once == pytest.approx(twice)
    spread = 1.96 * values.std() / np.sqrt(80)
    assert (once.high - once.low) / 2 == pytest.approx(spread, rel=0.1)
