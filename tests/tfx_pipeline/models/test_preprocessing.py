"""The Transform step on a few songs, against numpy."""

import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata

from serving.savedmodel.raw_fields import RawField
from tests.any_text import AWKWARD, LONG
from tests.vector_lengths import LENGTHS
from tfx_pipeline.contract import SongField
from tfx_pipeline.models import features, preprocessing
from tfx_pipeline.models.config import TransformConfig
from tfx_pipeline.models.song_table import read_song_table
from tfx_pipeline.tfx_extensions.components import custom_config

pytestmark = pytest.mark.pipeline  # the whole Transform in Beam

FIELDS = [
    SongField("attribute_artist", "category"),
    SongField("attribute_tags", "multi_category"),
    SongField("audio_tempo", "number"),
    SongField("lyric_vector", "vector", 2),
    *(SongField(f"audio_v{length}", "vector", length) for length in LENGTHS),
]
SONGS = [
    {"song_id": "c", "artist": ["x"], "tags": ["rock", "indie", "once"], "tempo": [0.0], "vector": [1.0, 10.0]},
    {"song_id": "a", "artist": ["x"], "tags": ["rock"], "tempo": [], "vector": []},
    {"song_id": "b", "artist": ["rare"], "tags": [], "tempo": [4.0], "vector": [3.0, 30.0]},
    {"song_id": "d", "artist": [], "tags": ["indie", "rock"], "tempo": [2.0], "vector": [2.0, 20.0]},
]


def long_vector(song: dict, length: int) -> np.ndarray:
    """A vector of its own for every song and length; song "a" has none."""
    return np.arange(length) * (1.0 + ord(song["song_id"][0]) - ord("a")) + (song["song_id"] == "d")


def serialized(song: dict) -> bytes:
    example = tf.train.Example()
    feature = example.features.feature
    feature["song_id"].bytes_list.value.append(song["song_id"].encode())
    feature["attribute_artist"].bytes_list.value.extend(v.encode() for v in song["artist"])
    feature["attribute_tags"].bytes_list.value.extend(v.encode() for v in song["tags"])
    feature["audio_tempo"].float_list.value.extend(song["tempo"])
    feature["lyric_vector"].float_list.value.extend(song["vector"])
    for length in LENGTHS if song["song_id"] != "a" else ():
        feature[f"audio_v{length}"].float_list.value.extend(long_vector(song, length))
    feature[features.LISTENERS].int64_list.value.append(len(song["tags"]))
    feature[features.SIMILAR_IDS].bytes_list.value.extend([b"a", b"d"] if song["song_id"] == "c" else [])
    feature[features.SIMILAR_SCORES].float_list.value.extend([0.5, 0.25] if song["song_id"] == "c" else [])
    return example.SerializeToString()


@pytest.fixture(scope="module")
def transformed(tmp_path_factory):
    return transform_songs(SONGS, tmp_path_factory.mktemp("transform"))


def transform_songs(songs, folder):
    """The songs after Transform, read back as training reads them, and the transform."""
    spec = tft.tf_metadata.schema_utils.schema_as_feature_spec(features.song_schema(FIELDS)).feature_spec
    metadata = dataset_metadata.DatasetMetadata(features.song_schema(FIELDS))
    rows = []
    for song in songs:
        parsed = tf.io.parse_single_example(serialized(song), spec)
        rows.append(
            {
                name: value.values.numpy() if isinstance(value, tf.SparseTensor) else value.numpy()
                for name, value in parsed.items()
            }
        )
    settings = preprocessing.PreprocessingSettings(tuple(FIELDS), TransformConfig(2, 100, 3))
    config = custom_config(preprocessing.__name__, settings)
    with tft_beam.Context(temp_dir=str(folder / "temp"), force_tf_compat_v1=False):
        (data, out_metadata), function = (rows, metadata) | "Transform" >> tft_beam.AnalyzeAndTransformDataset(
            lambda inputs: preprocessing.preprocessing_fn(inputs, config)
        )
        function | tft_beam.WriteTransformFn(str(folder / "graph"))
    coder = tft.coders.ExampleProtoCoder(out_metadata.schema)
    (folder / "Split-warm").mkdir()
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    with tf.io.TFRecordWriter(str(folder / "Split-warm" / "songs.gz"), options) as writer:
        for row in data:
            writer.write(coder.encode(row))
    transform = tft.TFTransformOutput(str(folder / "graph"))
    return read_song_table({"warm": str(folder / "Split-warm")}, transform, FIELDS), transform


def test_songs_are_sorted_by_id_with_their_labels(transformed):
    table, _ = transformed
    assert table.ids.tolist() == [b"a", b"b", b"c", b"d"]
    assert table.listeners.tolist() == [1, 0, 3, 2]
    assert table.similar_ids[2].tolist() == [b"a", b"d"]
    np.testing.assert_array_equal(table.rows_of(table.similar_ids), [[-1, -1], [-1, -1], [0, 3], [-1, -1]])


def test_categories_count_from_one_and_rare_or_missing_ones_are_zero(transformed):
    table, transform = transformed
    names = transform.vocabulary_by_name("vocabulary_attribute_tags")
    assert set(names) == {b"rock", b"indie"}  # "once" occurs once
    tags = [[names[i - 1].decode() for i in row if i] for row in table.features["attribute_tags"]]
    assert tags == [["rock"], [], ["rock", "indie"], ["indie", "rock"]]
    assert table.features["attribute_artist"].tolist() == [1, 0, 1, 0]


def test_numbers_and_vectors_are_z_scores_of_what_is_present(transformed):
    table, _ = transformed
    tempo, vector = np.array([0.0, 4.0, 2.0]), np.array([[1.0, 10.0], [3.0, 30.0], [2.0, 20.0]])
    expected = (tempo - tempo.mean()) / tempo.std()
    np.testing.assert_allclose(
        table.features["audio_tempo"], [np.nan, expected[1], expected[0], expected[2]], rtol=1e-5
    )
    scaled = (vector - vector.mean(axis=0)) / vector.std(axis=0)
    np.testing.assert_allclose(
        table.features["lyric_vector"], [[np.nan, np.nan], scaled[1], scaled[0], scaled[2]], rtol=1e-5
    )


@pytest.mark.parametrize("length", LENGTHS)
def test_every_number_of_a_long_vector_is_scaled(transformed, length):
    table, _ = transformed
    found = table.features[f"audio_v{length}"]
    assert found.shape == (4, length) and np.isnan(found[0]).all()
    rows = np.array([long_vector({"song_id": song}, length) for song in "bcd"])
    deviation = rows.std(axis=0)
    expected = (rows - rows.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    np.testing.assert_allclose(found[1:], expected, atol=1e-4)


def test_a_word_may_be_any_text(tmp_path):
    # Every word twice, in two fields, with one that is absent from the other songs' vocabulary.
    words = [*AWKWARD, LONG, "nul\0inside"]
    numbers = {"tempo": [1.0], "vector": [1.0, 2.0]}
    songs: list[dict[str, Any]] = [
        {
            "song_id": f"{place:03}{copy}",
            "artist": [word],
            "tags": [word, words[place - 1], f"once{place}{copy}"],
            **numbers,
        }
        for place, word in enumerate(words)
        for copy in "ab"
        if copy == "a" or word != "7"
    ]
    table, transform = transform_songs(songs, tmp_path)
    artist = dict(zip((song["artist"][0] for song in songs), table.features["attribute_artist"].tolist(), strict=True))
    assert artist.pop("7") == 0  # too rare
    assert sorted(artist.values()) == list(range(1, len(words)))
    tags = table.features["attribute_tags"]
    first = {song["tags"][0]: row[0] for song, row in zip(songs, tags.tolist(), strict=True)}
    assert len(set(first.values())) == len(words)
    for song, row in zip(songs, tags.tolist(), strict=True):
        assert [first[word] for word in song["tags"] if not word.startswith("once")] == [i for i in row if i]
    # The served graph gives the same numbers.
    fields = [RawField(field.name, field.kind, field.length) for field in FIELDS]
    asked = [{"attribute_artist": word, "attribute_tags": ["unheard\n", word]} for word in words]
    sparse = {
        field.name: field.to_sparse(tf.constant(field.to_array([song.get(field.name) for song in asked])))
        for field in fields
    }
    served = transform.transform_features_layer()(sparse)
    assert served["attribute_artist"].numpy().tolist() == [artist.get(word, 0) for word in words]
    assert tf.sparse.to_dense(served["attribute_tags"]).numpy().max(axis=1).tolist() == [first[word] for word in words]


def test_the_schema_is_checked_against_what_the_data_showed():
    schema = features.song_schema(FIELDS)
    seen = {feature.name: feature.type for feature in schema.feature}
    features.check_types(schema, seen, FIELDS)
    with pytest.raises(
        ValueError, match=r"field `audio_tempo`: expected values of type FLOAT. Received: no such field"
    ):
        features.check_types(schema, {k: v for k, v in seen.items() if k != "audio_tempo"}, FIELDS)
    with pytest.raises(ValueError, match=r"`audio_tempo`: expected values of type FLOAT. Received: BYTES"):
        features.check_types(schema, {**seen, "audio_tempo": seen["attribute_tags"]}, FIELDS)


@pytest.mark.parametrize("most", [1, 2, 32])
def test_the_first_known_values_of_a_list_stay(most):
    """Of ids with gaps where a word has none, in rows of any length; what is cut comes to the front."""
    rows = [[-1, 4, -1, -1, 2, 7], [], [-1], [5] * 3, list(range(1, 40)), [-1] * 50 + [9, 8]]
    ids = tf.RaggedTensor.from_row_lengths(
        tf.constant(list(itertools.chain(*rows)), tf.int64), [len(row) for row in rows]
    ).to_sparse()
    found = tf.function(lambda sparse: tf.sparse.to_dense(preprocessing._first(preprocessing._known(sparse), most)))(
        ids
    )
    wanted = [[one + 1 for one in row if one >= 0][:most] for row in rows]
    assert found.shape == (6, min(most, 52))
    assert [[one for one in row if one] for row in found.numpy().tolist()] == wanted
    assert [row[: len(ids)] for row, ids in zip(found.numpy().tolist(), wanted, strict=True)] == wanted
