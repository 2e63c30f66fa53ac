"""Trained rows on a planted problem: losses written out, masks shown, the rule of stopping, settings found and read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from scipy import optimize, sparse

from bcl_keras.models import BCLModel
from benchmarks.quality import closed_form, ranges, towers, tuning
from benchmarks.quality.baselines import clcrec, dropout_net, sampled_entmax, training, two_tower
from benchmarks.quality.baselines.content import ShownContent, content_rows
from benchmarks.quality.draws import Search
from benchmarks.quality.field_forms import form_of, numbers_joined
from benchmarks.quality.found_settings import Found, keep, settings_of
from benchmarks.quality.problem import Problem
from benchmarks.quality.regime_losses import OneNegative, ShownSongs
from benchmarks.quality.row import Row
from benchmarks.quality.rows import ROWS
from benchmarks.quality.scorer import ListenerScorer, Scorer
from benchmarks.quality.validation import Recalls, recalls
from benchmarks.results_pages import with_tables
from tests.benchmarks.planted_problem import planted_problem


@pytest.fixture(scope="module")
def problem() -> Problem:
    return planted_problem()


def units(rng: np.random.Generator, *shape: int) -> np.ndarray:
    rows = rng.normal(size=shape)
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype("float32")


def test_known_positives_do_not_count_for_an_anchor() -> None:
    known = sparse.csr_matrix(np.array([[0, 1, 1, 0], [0, 0, 0, 1]], np.int8))
    counts = two_tower.counted(known, np.array([0, 1, 0]), np.array([1, 3, 2]))
    # Anchor 0 is paired with songs 1 and 2: each is its positive in one row, and no negative in the other.
    assert counts.tolist() == [[True, True, False], [True, True, True], [False, True, True]]


@pytest.mark.parametrize("log_q", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_the_loss_of_tfrs_is_the_corrected_softmax(log_q: bool, masked: bool) -> None:
    import tensorflow as tf

    rng = np.random.default_rng(0)
    settings = {**two_tower.SEARCH.start, "log_q": log_q, "masked": masked, "dim": 4, "hidden": 8, "temperature": 0.2}
    model = two_tower.two_tower(6, settings)
    anchors, content = (rng.normal(size=(5, 3)).astype("float32") for _ in range(2))
    songs, probability = np.array([0, 3, 3, 4, 5], "int32"), np.array([0.5, 0.1, 0.1, 0.2, 0.1], "float32")
    counted = rng.random((5, 5)) < 0.7
    np.fill_diagonal(counted, True)
    batch = {"anchor": anchors, "content": content, "song": songs, "probability": probability, "counted": counted}
    loss = float(model.compute_loss({name: tf.constant(values) for name, values in batch.items()}))
    queries, candidates = model.queries(anchors).numpy(), model.candidates(content, songs).numpy()
    logits = queries @ candidates.T / 0.2 - (np.log(probability) if log_q else 0)
    same = (songs[:, None] == songs[None, :]) & ~np.eye(5, dtype=bool)  # song 3 is no negative of itself
    logits[same | (~counted & masked)] = -np.inf
    expected = -(np.diag(logits) - np.log(np.exp(logits).sum(axis=1))).sum()
    assert loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("alpha", [1.25, 1.5, 2.0])
def test_entmax_has_the_threshold_at_which_it_sums_to_one(alpha: float) -> None:
    scores = np.random.default_rng(1).normal(scale=2.0, size=(6, 9)).astype("float32")
    found = ops.convert_to_numpy(sampled_entmax.entmax(scores, alpha))
    for row, shares in zip(scores, found, strict=True):
        scaled = (alpha - 1) * row.astype(float)

        def of(threshold: float, scaled: np.ndarray = scaled) -> np.ndarray:
            return np.maximum(scaled - threshold, 0) ** (1 / (alpha - 1))

        threshold = optimize.brentq(lambda t, of=of: of(t).sum() - 1, scaled.max() - 1, scaled.max())
        np.testing.assert_allclose(shares, of(threshold), atol=1e-5)
    assert (found == 0).any() and (found.sum(axis=1) == pytest.approx(1.0))


def test_the_gradient_of_sampled_entmax_is_what_is_given_too_much() -> None:
    import tensorflow as tf

    rng = np.random.default_rng(2)
    model = sampled_entmax.SampledEntmax(keras.Sequential([keras.layers.Dense(3)]), 1.0, 1.5)
    scores, counted = tf.Variable(rng.normal(size=(3, 5)).astype("float32")), np.ones((3, 5), bool)
    counted[0, 4] = False
    with tf.GradientTape() as tape:
        loss = model.compute_loss({"counted": counted}, None, tf.where(counted, scores, -1e9))
    given = ops.convert_to_numpy(sampled_entmax.entmax(tf.where(counted, scores, -1e9), 1.5))
    assert given[0, 4] == 0
    np.testing.assert_allclose(tape.gradient(loss, scores), (given - np.eye(3, 5)) * counted / 3, atol=1e-6)


def test_withheld_blocks_leave_one_that_the_song_has(problem: Problem) -> None:
    shown = ShownContent(problem, problem.warm, seed=0)
    places = np.arange(len(problem.warm))
    np.testing.assert_array_equal(shown.drawn(places, 0.0), content_rows(problem, problem.warm, problem.encoding))
    known = shown.rows.any(axis=1)
    drawn = shown.drawn(places, 0.97)
    assert (drawn.any(axis=1) == known).all()
    assert np.linalg.norm(drawn) < 0.8 * np.linalg.norm(shown.rows)
    assert ((drawn == 0) | (drawn == shown.rows)).all()


def test_training_stops_without_a_gain_and_keeps_the_best(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = keras.Variable(0.0)
    worths = [1.0, 3.0, 2.0, 3.0, 2.5, 2.0, 1.0, 2.9, 9.0]  # the last is never seen: six rounds without a gain
    monkeypatch.setattr(training, "worth", lambda *_: worths[round(float(weight)) // training.ROUND - 1])
    found: list[float] = []

    def scorer() -> Scorer:
        found.append(float(weight))
        return closed_form.random_order(problem)

    training.train(problem, lambda: weight.assign_add(1.0), scorer, lambda: [weight])
    assert float(weight) == 2 * training.ROUND
    assert found == [*(round_ * training.ROUND for round_ in range(1, 9)), 2 * training.ROUND]
    assert training.MOST_STEPS >= 2_000


def test_batches_have_every_row_once() -> None:
    following = training.batches(10, 4, seed=0)
    first, second, third = following(), following(), following()
    assert len({*first.tolist(), *second.tolist()}) == 8 and len(set(third.tolist())) == 4


def test_one_negative_is_the_pairs_own() -> None:
    rng = np.random.default_rng(3)
    anchor, positive, negative = (units(rng, 6, 4) for _ in range(3))
    found = OneNegative(0.5).call(
        {"positive_ids": np.arange(6), "negative_ids": np.array([9, 9, 9, 9, 9, 5])},
        {"anchor": anchor, "positive": positive, "negative": negative},
    )
    scores = ((anchor * positive).sum(axis=1) - (anchor * negative).sum(axis=1)) / 0.5
    expected = np.log1p(np.exp(-scores))
    expected[5] = 0.0  # its negative is its positive
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-5)
    with pytest.raises(ValueError, match=r"one song for each pair\. Received: None"):
        OneNegative().call({}, {"anchor": anchor, "positive": positive})


def test_songs_with_an_empty_view_take_no_part() -> None:
    rng = np.random.default_rng(4)
    views = {"view_1": units(rng, 6, 4), "view_2": units(rng, 6, 4)}
    usable = np.array([1, 0, 1, 1, 0, 1], "float32")
    loss = ShownSongs(0.3)
    found = ops.convert_to_numpy(loss.call({"ids": np.arange(6)}, {**views, "usable": usable}))
    shown = usable > 0
    logits = views["view_1"][shown] @ views["view_2"][shown].T / 0.3
    both = np.log(np.exp(logits).sum(axis=1)) + np.log(np.exp(logits).sum(axis=0)) - 2 * np.diag(logits)
    np.testing.assert_allclose(found[shown], both / 2, rtol=1e-4)


def test_numbers_are_joined_by_modality(problem: Problem) -> None:
    joined = numbers_joined(problem.encoding)
    assert [field.name for field in joined.fields] == ["attribute_artist", "attribute_tags", "audio_numbers"]
    energy, tempo = (problem.encoding.features[name] for name in ("audio_energy", "audio_tempo"))
    both, rows = np.isnan(energy) & np.isnan(tempo), joined.features["audio_numbers"]
    np.testing.assert_array_equal(np.isnan(rows).all(axis=1), both)
    np.testing.assert_array_equal(rows[~both], np.nan_to_num(np.stack([energy, tempo], axis=1))[~both])
    assert both.any() and np.isnan(energy[~both]).any()


def test_modalities_are_fields_and_forget_withheld_ones(problem: Problem) -> None:
    form = form_of(problem, "modalities")
    made = form(problem.encoding)
    assert [field.name for field in made.fields] == ["attribute_content", "audio_content"]
    bare = form(problem.encoding.without(frozenset({"attribute_tags", "attribute_artist"})))
    assert np.isnan(bare.features["attribute_content"]).all()
    np.testing.assert_array_equal(bare.features["audio_content"], made.features["audio_content"])
    tags, artists = (problem.encoding.features[name] for name in ("attribute_tags", "attribute_artist"))
    nothing = ~(tags > 0).any(axis=1) & (artists == 0)
    np.testing.assert_array_equal(np.isnan(made.features["attribute_content"]).all(axis=1), nothing)


TRAINED: list[Callable[[Problem], Scorer]] = [dropout_net.dropout_net, clcrec.clcrec, sampled_entmax.semco]


@pytest.mark.slow
@pytest.mark.parametrize("fit", [*TRAINED, two_tower.tfrs_two_tower])
def test_trained_models_find_planted_scenes(
    problem: Problem, fit: Callable[[Problem], Scorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Songs of a scene are found by content, and its listeners where the model has them."""
    monkeypatch.setattr(training, "ROUND", 60)
    short = replace(problem, epochs=2)
    scorer = fit(short)
    base = recalls(problem, closed_form.random_order(problem))
    found = recalls(problem, scorer)
    assert found.similar > 1.3 * base.similar
    songs = problem.cold("test")
    if fit in TRAINED:
        assert isinstance(scorer, ListenerScorer)
        heard = problem.heard(songs).toarray() > 0
        users = scorer.listeners(songs, problem.encoding)
        assert users.shape == heard.shape and np.isfinite(users).all()
        means = [np.mean(users[row][heard[row]]) - np.mean(users[row][~heard[row]]) for row in range(len(songs))]
        assert np.mean(np.array(means) > 0) > 0.8
    bare = problem.encoding.without(frozenset({"attribute_tags"}))
    assert not np.allclose(scorer(songs, problem.encoding), scorer(songs, bare))
    again = fit(short)
    np.testing.assert_allclose(again(songs, problem.encoding), scorer(songs, problem.encoding), atol=2e-3)


REGIME = ("hidden, contrast behind head", "modalities", "anchors as played")


@pytest.mark.slow
@pytest.mark.parametrize("name", REGIME)
def test_the_papers_rows_train_in_their_regime(problem: Problem, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They train, are told which fields are withheld, and have neither a vector per song nor dropout."""
    monkeypatch.setattr(towers, "ROUND", 5)
    row = next(row for row in ROWS if row.name == f"paper: {name}")
    short = replace(problem, epochs=1, shared={})
    scorer = row.fit(short)
    (model,) = (shared for shared in short.shared.values() if isinstance(shared, BCLModel))
    assert not hasattr(model.candidate_tower, "plays_table") and isinstance(model.task_losses.supervised, OneNegative)
    assert isinstance(model.task_losses.contrastive, ShownSongs)
    config = model.config
    assert (config.input_dropout, config.hidden_dropout, config.field_dropout, config.margin) == (0, 0, 0, 0)
    assert int(model.contrastive_views.correlation.steps) == 5 and config.update_every == 1
    songs = problem.cold("test")
    scores = scorer(songs, problem.encoding)
    assert scores.shape == (len(songs), len(problem.warm)) and np.isfinite(scores).all()
    assert not np.allclose(scores, scorer(songs, problem.encoding.without(frozenset({"attribute_tags"}))))


def test_all_rows_start_at_their_own_settings_and_draw_alike() -> None:
    for row in ROWS:
        if row.search is None:
            continue
        drawn = row.search.draw()
        assert drawn == row.search.draw() and len(set(drawn)) == len(drawn) == 20
        assert dict(drawn[0]) == dict(row.search.start)
        for settings in drawn:
            assert all(value in row.search.space[name] or value == row.search.start[name] for name, value in settings)
    with pytest.raises(ValueError, match=r"`start` must have \['a'\]\. Received: \['b'\]"):
        Search({"a": (1, 2)}, {"b": 1})


def test_found_settings_are_kept_and_read(tmp_path: Path) -> None:
    found = Found("mine", {"hidden_dims": (7,), "rate": 0.5}, 20, Recalls(0.41, 0.5), 1.25, "abc1234")
    keep("planted", found, "a command", "a machine", tmp_path)
    keep("planted", Found("other", {"rate": 1}, 3, Recalls(0.1, 0.2), 1.0, "def"), "a command", "a machine", tmp_path)
    assert settings_of("planted", "mine", tmp_path) == {"hidden_dims": (7,), "rate": 0.5}
    assert settings_of("planted-quick", "other", tmp_path) == {"rate": 1}
    assert settings_of("planted", "nobody", tmp_path) == settings_of("another", "mine", tmp_path) == {}
    page = with_tables("<!-- table: settings-planted -->\n<!-- end of table -->", tmp_path, "page")
    assert '| mine | {"hidden_dims": [7], "rate": 0.5} | 20 | .410 | .500 | 1.25 | abc1234 |' in page

    def fit(problem: Problem, rate: float = 0.0, **_: object) -> Scorer:
        return closed_form.random_order(problem)

    search = Search({"rate": (0.0, 0.5), "hidden_dims": ((), (7,))}, {"rate": 0.0, "hidden_dims": ()})
    row = Row("mine", "ours", "", fit, search=search)
    assert row.settings == "" and row.on("another", tmp_path) == row
    assert row.on("planted", tmp_path).settings == "[('hidden_dims', (7,)), ('rate', 0.5)]"
    part = Row("mine, less", "ours", "", partial(fit, rate=0.1), settings_from="mine")
    assert "('hidden_dims', (7,))" in part.on("planted", tmp_path).settings
    assert Row("mine", "ours", "", fit).on("planted", tmp_path).settings == ""  # without a search nothing is read


def test_a_search_keeps_the_settings_that_validation_songs_prefer(problem: Problem) -> None:
    asked: list[float] = []

    def fit(problem: Problem, share: float) -> Scorer:
        asked.append(share)
        cosine, drawn = closed_form.content_cosine(problem), closed_form.random_order(problem)
        return lambda songs, encoding: share * cosine(songs, encoding) + (1 - share) * drawn(songs, encoding)

    row = Row("mine", "ours", "", fit, search=Search({"share": (0.0, 0.1, 1.0)}, {"share": 0.0}))
    lines: list[str] = []
    found = tuning.searched(problem, row, 20, "abc", lines.append)
    assert found.settings == {"share": 1.0} and found.trials == len(lines) == 3 and asked[0] == 0.0
    assert found.worth == pytest.approx(1.0) and found.commit == "abc"
    with pytest.raises(ValueError, match=r"`row` must have a search\. Received: random"):
        tuning.searched(problem, ROWS[0], 1, "abc", lines.append)


def test_the_page_of_rows_is_current() -> None:
    assert (Path(__file__).parents[2] / "docs" / "reference" / "rows.md").read_text(encoding="utf-8") == ranges.page()


def test_settings_are_json_values() -> None:
    for row in ROWS:
        for settings in row.search.draw(2) if row.search else ():
            json.dumps(dict(settings))
