"""Content cosine against scikit-learn's own tf-idf, and its choice of weights."""

from dataclasses import replace

import numpy as np
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.preprocessing import normalize

from tests.vector_lengths import LENGTHS
from tfx_pipeline.contract import SongField
from tfx_pipeline.evaluation.content_cosine import ContentCosine, _tf_idf
from tfx_pipeline.models.song_table import SongTable

FIELDS = [SongField("attribute_artist", "category"), SongField("audio_x", "number"), SongField("audio_v", "vector", 3)]


def table(n: int = 60) -> SongTable:
    rng = np.random.default_rng(0)
    features = {
        "attribute_artist": rng.integers(0, 5, n).astype(np.int32),
        "audio_x": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)).astype(np.float32),
        "audio_v": rng.normal(size=(n, 3)).astype(np.float32),
    }
    ids = np.sort(np.array([f"s{i:03d}" for i in range(n)], dtype=bytes))
    empty = np.zeros((n, 0))
    return SongTable(ids, np.full(n, "warm"), features, np.ones(n, int), empty.astype(bytes), empty)


def test_tf_idf_equals_scikit_learn():
    rng = np.random.default_rng(1)
    ids = np.where(rng.random((40, 6)) < 0.5, rng.integers(1, 9, (40, 6)), 0)
    warm = np.arange(40) < 30
    counts = np.zeros((40, int(ids.max()) + 1))
    for row, values in enumerate(ids):
        counts[row, values[values > 0]] = 1
    # scikit-learn adds 1 to every idf; without it the two laws are the same.
    idf = TfidfTransformer(smooth_idf=True).fit(counts[warm]).idf_ - 1
    np.testing.assert_allclose(_tf_idf(ids, warm).toarray(), normalize(counts * idf), atol=1e-12)


def test_the_same_artist_scores_one_and_another_zero():
    songs = table()
    cosine = ContentCosine.fit(songs, FIELDS, np.ones(len(songs), bool))
    only_artist = ContentCosine(cosine.blocks, {**dict.fromkeys(cosine.blocks, 0.0), "attribute_artist": 1.0})
    rows = np.arange(len(songs))
    artist = songs.features["attribute_artist"]
    expected = (artist[:, None] == artist[None, :]) & (artist[:, None] > 0)
    np.testing.assert_allclose(only_artist.scores(rows, rows), expected, atol=1e-9)


def test_numbers_of_a_group_share_a_block_and_missing_counts_as_the_mean():
    songs = table()
    cosine = ContentCosine.fit(songs, FIELDS, np.ones(len(songs), bool))
    assert set(cosine.blocks) == {"attribute_artist", "audio numbers"}
    joined = np.column_stack([np.nan_to_num(songs.features["audio_x"]), songs.features["audio_v"]])
    np.testing.assert_allclose(cosine.blocks["audio numbers"], normalize(joined), atol=1e-6)


def test_weights_go_to_the_block_that_helps():
    songs = table()
    cosine = ContentCosine.fit(songs, FIELDS, np.ones(len(songs), bool))
    rows = np.arange(len(songs))
    numbers = cosine.blocks["audio numbers"]
    # The best weights are those whose scores are the numbers' cosines alone.
    chosen = cosine.choose_weights(rows, rows, lambda scores: -np.abs(scores - numbers @ numbers.T).sum())
    assert chosen.weights == {"attribute_artist": 0.0, "audio numbers": 1.0}
    np.testing.assert_allclose(chosen.scores(rows, rows), numbers @ numbers.T, atol=1e-5)


def test_every_number_of_a_vector_counts():
    songs = table()
    rng = np.random.default_rng(2)
    vectors = {f"lyric_v{length}": rng.normal(size=(len(songs), length)).astype(np.float32) for length in LENGTHS}
    songs = replace(songs, features={**songs.features, **vectors})
    fields = [*FIELDS, *(SongField(f"lyric_v{length}", "vector", length) for length in LENGTHS)]
    cosine = ContentCosine.fit(songs, fields, np.ones(len(songs), bool))
    expected = normalize(np.concatenate(list(vectors.values()), axis=1))
    np.testing.assert_allclose(cosine.blocks["lyric numbers"], expected, atol=1e-6)


def test_of_nearly_equal_weights_the_first_stay():
    songs = table()
    cosine = ContentCosine.fit(songs, FIELDS, np.ones(len(songs), bool))
    rows = np.arange(len(songs))
    rounding = np.random.default_rng(0)
    chosen = cosine.choose_weights(rows, rows, lambda scores: 0.4 + 1e-6 * rounding.normal())
    assert chosen.weights == dict.fromkeys(cosine.blocks, 1.0)
