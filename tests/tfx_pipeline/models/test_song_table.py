"""Tables of songs read from transformed examples: samples, padding, nothing at all."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tests.vector_lengths import LENGTHS
from tfx_pipeline.contract import SongField
from tfx_pipeline.contract.ids import SONG_ID
from tfx_pipeline.contract.splits import unit_hash
from tfx_pipeline.models import features
from tfx_pipeline.models.song_table import NoSongsError, read_song_table, stack

TRANSFORM = SimpleNamespace(
    transformed_feature_spec=lambda: {
        SONG_ID: tf.io.FixedLenFeature([], tf.string),
        features.LISTENERS: tf.io.VarLenFeature(tf.int64),
        features.SIMILAR_IDS: tf.io.VarLenFeature(tf.string),
        features.SIMILAR_SCORES: tf.io.VarLenFeature(tf.float32),
    }
)
#: Every fifth song is like nothing; others have one to four similar songs.
SONGS = {f"s{number:05}".encode(): [b"w%d" % i for i in range(number % 5)] for number in range(9000)}


def write(folder: Path, songs: list[bytes], files: int) -> dict[str, str]:
    folder.mkdir()
    for place in range(files):
        with tf.io.TFRecordWriter(str(folder / f"{place}.gz"), "GZIP") as writer:
            for song in songs[place::files]:
                similar = SONGS[song]
                feature = {
                    SONG_ID: tf.train.Feature(bytes_list=tf.train.BytesList(value=[song])),
                    features.LISTENERS: tf.train.Feature(int64_list=tf.train.Int64List(value=[1 + len(similar)])),
                    features.SIMILAR_IDS: tf.train.Feature(bytes_list=tf.train.BytesList(value=similar)),
                    features.SIMILAR_SCORES: tf.train.Feature(
                        float_list=tf.train.FloatList(value=[0.5] * len(similar))
                    ),
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    return {"sparse": str(folder)}


def test_a_sample_is_the_same_in_any_order_and_has_similar_songs(tmp_path: Path) -> None:
    ids = list(SONGS)
    shuffled = [ids[place] for place in np.random.default_rng(0).permutation(len(ids))]
    found = [
        read_song_table(write(tmp_path / name, given, files), TRANSFORM, [], most_similar=700)
        for name, given, files in (("a", ids, 1), ("b", shuffled, 4))
    ]
    usable = [song for song, similar in SONGS.items() if similar]
    wanted = sorted(sorted(usable, key=lambda song: unit_hash(song, "sample of songs"))[:700])
    for table in found:
        assert table.ids.tolist() == wanted
        assert table.listeners.tolist() == [1 + len(SONGS[song]) for song in wanted]
        assert [[other for other in row if other] for row in table.similar_ids.tolist()] == [SONGS[s] for s in wanted]
    everything = read_song_table({"sparse": str(tmp_path / "a")}, TRANSFORM, [])
    assert everything.ids.tolist() == ids
    few = read_song_table({"sparse": str(tmp_path / "a")}, TRANSFORM, [], most_similar=10_000)
    assert few.ids.tolist() == usable


def test_no_song_is_an_error_of_its_own(tmp_path: Path) -> None:
    uris = write(tmp_path / "none", [], 1)
    with pytest.raises(NoSongsError, match="no song in any of the splits sparse"):
        read_song_table(uris, TRANSFORM, [])
    alone = write(tmp_path / "alone", [song for song, similar in SONGS.items() if not similar][:5], 1)
    for given, most in ((uris, 9), (alone, 9), (write(tmp_path / "all", list(SONGS), 1), 0)):
        with pytest.raises(NoSongsError):
            read_song_table(given, TRANSFORM, [], most_similar=most)


def test_lists_and_vectors_of_any_length_stay_whole(tmp_path: Path) -> None:
    """What is too long was cut by Transform, which serving goes through as well."""
    count = 40
    rng = np.random.default_rng(0)
    vectors = {f"audio_v{length}": rng.normal(size=(count, length)).astype("float32") for length in LENGTHS}
    vectors["audio_v384"][7] = np.nan  # missing
    tags = [list(range(1, 2 + 3 * (row % 30))) for row in range(count)]
    spec = {
        **TRANSFORM.transformed_feature_spec(),
        "attribute_tags": tf.io.VarLenFeature(tf.int64),
        **{name: tf.io.FixedLenFeature([values.shape[1]], tf.float32) for name, values in vectors.items()},
    }
    with tf.io.TFRecordWriter(str(tmp_path / "songs.gz"), "GZIP") as writer:
        for row in range(count):
            example = tf.train.Example()
            feature = example.features.feature
            feature[SONG_ID].bytes_list.value.append(b"s%03d" % row)
            feature[features.LISTENERS].int64_list.value.append(1)
            feature["attribute_tags"].int64_list.value.extend(tags[row])
            for name, values in vectors.items():
                feature[name].float_list.value.extend(values[row])
            writer.write(example.SerializeToString())
    fields = [SongField("attribute_tags", "multi_category")]
    fields += [SongField(name, "vector", values.shape[1]) for name, values in vectors.items()]
    transform = SimpleNamespace(transformed_feature_spec=lambda: spec)
    table = read_song_table({"warm": str(tmp_path)}, transform, fields)
    for name, values in vectors.items():
        np.testing.assert_array_equal(table.features[name], values)
    assert [row[row > 0].tolist() for row in table.features["attribute_tags"]] == tags


def test_columns_of_different_width_are_padded() -> None:
    np.testing.assert_array_equal(stack([np.ones((1, 1), int), np.ones((1, 3), int)]), [[1, 0, 0], [1, 1, 1]])
    words = [np.array([[b"a", b"b"]]), np.array([[b"long"]])]
    assert stack(words).tolist() == [[b"a", b"b"], [b"long", b""]]
    assert stack(words, 1).tolist() == [[b"a"], [b"long"]]
    objects = [words[0].astype(object), words[1]]  # as where one id is long
    assert stack(objects).tolist() == stack(words).tolist()
