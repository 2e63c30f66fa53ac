"""Reliability of matches: planted evidence, incomplete tables, and figures on songs that it was not fitted on."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import spearmanr

from tfx_pipeline.contract.ids import id_array
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.reliability import COLUMNS, FEWEST_SONGS, Reliability, evidence_of
from tfx_pipeline.evaluation.reliability_report import judge, reliability_report, spearman
from tfx_pipeline.models.song_table import SongTable

_LIST = pa.list_(pa.float32())
SCHEMA = pa.schema(
    [
        ("song_id", pa.string()),
        ("match_scores", _LIST),
        ("match_shares", pa.list_(_LIST)),
        ("share_names", pa.list_(pa.string())),
        ("known_fields", pa.int32()),
        ("evidence", _LIST),
        ("evidence_names", pa.list_(pa.string())),
    ]
)


def table_of(rows: list[dict]) -> pa.Table:
    filled = [{"song_id": f"s{n}", "known_fields": 1, **row} for n, row in enumerate(rows)]
    return pa.Table.from_pylist([{name: row.get(name) for name in SCHEMA.names} for row in filled], SCHEMA)


def test_evidence_is_of_the_first_matches_of_each_song():
    row = {
        "match_scores": [0.9, 0.5, 0.1],
        "match_shares": [[0.5, 0.4], [0.25, 0.25], [0.1, 0.0]],
        "share_names": ["attribute_genre", "rest"],
        "known_fields": 4,
        "evidence": [0.125, -1.0],
        "evidence_names": ["deviation_0", "agreement_0_1"],
    }
    short = {**row, "match_scores": [0.25], "match_shares": [[0.25, 0.0]]}
    unknown = {**row, "known_fields": 0}
    found = evidence_of(table_of([row, short, unknown, {"match_scores": []}, {}]), 2)
    nan = [np.nan] * 3
    expected = {
        "known fields": [4, 4, *nan],
        "best score": [0.9, 0.25, *nan],
        "mean score": [0.7, 0.25, *nan],
        "deviation_0": [0.125, 0.125, *nan],
        "agreement_0_1": [-1, -1, *nan],
        "share of attribute_genre": [0.375, 0.25, *nan],
        "share of rest": [0.325, 0.0, *nan],
    }
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-6, err_msg=name)


def test_a_table_without_rows_or_without_anything_but_scores_has_evidence():
    assert {len(column) for column in evidence_of(table_of([]), 5).values()} == {0}
    assert set(evidence_of(table_of([{"match_scores": [1.0]}]), 5)) == {"known fields", "best score", "mean score"}
    chunked = pa.concat_tables([table_of([{"match_scores": [0.5]}]), table_of([{"match_scores": [0.25, 0.75]}])])
    assert evidence_of(chunked, 5)["mean score"].tolist() == [0.5, 0.5]


def planted(songs: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Recall of 20 wanted songs, of a chance that grows with one number; another is noise, a third is constant."""
    rng = np.random.default_rng(seed)
    good = rng.normal(size=songs)
    chance = 1 / (1 + np.exp(-2 * good))
    evidence = {"best score": good**3, "noise": rng.normal(size=songs), "known fields": np.full(songs, 7.0)}
    return evidence, rng.binomial(20, chance) / 20


def test_it_orders_recall_and_means_recall_on_songs_it_was_not_fitted_on():
    fitted = Reliability.fit(*planted(400, 0), 50)
    assert fitted is not None
    evidence, recall = planted(1000, 1)
    found = fitted.predict(evidence)
    assert ((found > 0) & (found < 1)).all()
    assert spearmanr(found, recall)[0] > 0.8
    for part in np.array_split(np.argsort(found), 5):
        assert abs(found[part].mean() - recall[part].mean()) < 0.08
    assert abs(fitted.weights["noise"]) < 0.25 * fitted.weights["best score"]
    assert fitted.weights["known fields"] == pytest.approx(0.0, abs=1e-6)
    again = Reliability.from_dict(json.loads(json.dumps(fitted.to_dict())))
    np.testing.assert_array_equal(again.predict(evidence), found)


def test_shares_count_where_there_are_songs_enough_to_tell():
    def with_shares(songs: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        evidence, recall = planted(songs, seed)
        noise = {f"share of {n}": np.random.default_rng([7, seed, n]).normal(size=songs) for n in range(8)}
        return {"best score": evidence["noise"], **noise, "share of x": evidence["best score"]}, recall

    few, many = (Reliability.fit(*with_shares(songs, 0), 50) for songs in (499, 600))
    assert few is not None and set(few.weights) == {"best score"}
    assert many is not None and max(many.weights, key=many.weights.__getitem__) == "share of x"
    evidence, recall = with_shares(1000, 1)
    assert spearmanr(many.predict(evidence), recall)[0] > 0.8
    assert abs(spearmanr(few.predict(evidence), recall)[0]) < 0.2


@pytest.mark.parametrize("value", [-1e30, 1e30, np.nan, -np.inf, np.inf])
def test_any_evidence_gives_a_number_from_0_to_1(value):
    fitted = Reliability.fit(*planted(200, 0), 50)
    assert fitted is not None
    odd = {"best score": np.array([0.0, value]), "noise": np.array([value, 0.0]), "unknown": np.array([value] * 2)}
    found = fitted.predict(odd)
    assert ((found >= 0) & (found <= 1)).all()
    assert found[1] == 0 if not np.isfinite(value) else found[1] > 0


def test_too_few_songs_or_equal_recalls_fit_nothing():
    evidence, recall = planted(FEWEST_SONGS, 0)
    assert Reliability.fit(evidence, recall, 50) is not None
    fewer = {name: column[1:] for name, column in evidence.items()}
    assert Reliability.fit(fewer, recall[1:], 50) is None
    one_without = {**evidence, "noise": np.where(np.arange(FEWEST_SONGS) == 3, np.nan, 0.0)}
    assert Reliability.fit(one_without, recall, 50) is None
    for same in (0.0, 1.0):
        assert Reliability.fit(evidence, np.full(FEWEST_SONGS, same), 50) is None
    assert Reliability.fit(evidence, np.full(FEWEST_SONGS, 0.5), 50) is not None


def test_rho_is_that_of_scipy_and_none_without_any_order():
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 9, (2, 60)) / 10.0
    assert spearman(left, right) == pytest.approx(spearmanr(left, right)[0])
    assert spearman(left, np.full(60, 0.25)) is None and spearman(left[:1], right[:1]) is None
    assert spearman(left[:0], right[:0]) is None
    found = judge(left, left, EvaluationConfig(bootstrap=20))
    assert found["rho"] == pytest.approx(1.0) and found["low"] == pytest.approx(1.0)
    assert [part["songs"] for part in found["fifths"]] == [12] * 5
    assert np.all(np.diff([part["recall"] for part in found["fifths"]]) >= 0)
    assert judge(left[:0], left[:0], EvaluationConfig(bootstrap=20))["rho"] is None


CONFIG = EvaluationConfig(truth=5, k=10, bootstrap=50)
WARM, COLD, GROUPS = 100, 120, 10


def evaluated(cold: int, seed: int = 0) -> tuple[SongTable, np.ndarray, pa.Table]:
    """Songs of which the embedding says the group, or nothing; the best score says which."""
    rng = np.random.default_rng(seed)
    splits = np.array(["warm"] * WARM + ["val"] * cold + ["test"] * cold)
    group = np.concatenate([np.arange(WARM) % GROUPS, np.arange(2 * cold) % GROUPS])
    ids = np.array([f"s{row:04d}" for row in range(len(splits))], dtype=bytes)
    truth = np.array([ids[:WARM][group[:WARM] == g][: CONFIG.truth] for g in group])
    queries = np.eye(GROUPS, dtype=np.float32)[group]
    lost = (np.arange(len(ids)) >= WARM) & (rng.random(len(ids)) < 0.5)
    queries[lost] = np.eye(GROUPS, dtype=np.float32)[(group[lost] + 1) % GROUPS]
    features = {"audio_x": np.zeros(len(ids), np.float32)}
    songs = SongTable(ids, splits, features, np.ones(len(ids), int), truth, np.ones(truth.shape, np.float32))
    rows = [
        {"song_id": ids[row].decode(), "match_scores": [0.5 * (not lost[row]) + 0.1 * rng.random()] * 3}
        for row in rng.permutation(np.arange(WARM, len(ids)))  # in no order
    ]
    return songs, queries, table_of(rows)


def test_the_report_is_fitted_on_validation_songs_and_judged_on_test_songs():
    songs, queries, matches = evaluated(COLD)
    report = reliability_report(songs, queries, queries, matches, CONFIG)
    assert report["validation_songs"] == COLD and report["test"]["songs"] == COLD
    assert report["test"]["rho"] > 0.8 and report["test"]["low"] <= report["test"]["rho"] <= report["test"]["high"]
    lowest, *_, highest = report["test"]["fifths"]
    assert lowest["recall"] == 0.0 and highest["recall"] == 1.0
    json.dumps(report, allow_nan=False)
    other_test = replace(songs, similar_ids=np.where((songs.splits == "test")[:, None], b"s0000", songs.similar_ids))
    again = reliability_report(other_test, queries, queries, matches, CONFIG)
    assert again["fitted"] == report["fitted"] and again["test"]["rho"] != report["test"]["rho"]


def test_too_few_validation_songs_have_no_reliability():
    songs, queries, matches = evaluated(FEWEST_SONGS - 1)
    report = reliability_report(songs, queries, queries, matches, CONFIG)
    assert report == {"validation_songs": FEWEST_SONGS - 1, "fitted": None}
    none = replace(songs, similar_ids=np.full_like(songs.similar_ids, b""))
    assert reliability_report(none, queries, queries, matches, CONFIG) == {"validation_songs": 0, "fitted": None}


def test_a_song_that_was_not_matched_is_an_error():
    songs, queries, matches = evaluated(COLD)
    some = [row for row in matches.to_pylist() if row["song_id"] != f"s{WARM:04d}"]
    without_one = pa.Table.from_pylist(some, SCHEMA)
    with pytest.raises(ValueError, match=r"expected those of every val song\. Received: none for 1 of 120"):
        reliability_report(songs, queries, queries, without_one, CONFIG)
    assert set(COLUMNS) <= set(SCHEMA.names) and len(id_array(matches["song_id"])) == 2 * COLD
