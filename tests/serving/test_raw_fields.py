"""tf.Examples of songs, compared with ones that TensorFlow's own message classes wrote."""

from __future__ import annotations

import pytest
import tensorflow as tf

from serving.savedmodel.raw_fields import RawField, encode_song, fields_of_specs, song_id_of, texts_of

FIELDS = [
    RawField("attribute_genre", "category"),
    RawField("attribute_tags", "multi_category"),
    RawField("audio_tempo", "number"),
    RawField("audio_timbre", "vector", 2),
]
SONG = {"song_id": "é1", "attribute_genre": "ロック", "attribute_tags": ["a", "b"], "audio_tempo": 0.0}


def test_a_song_as_an_example() -> None:
    example = tf.train.Example.FromString(encode_song({**SONG, "audio_timbre": [1.0, 2.0], "title": "x"}, FIELDS))
    feature = example.features.feature
    assert set(feature) == {"song_id", "attribute_genre", "attribute_tags", "audio_tempo", "audio_timbre"}
    assert list(feature["attribute_genre"].bytes_list.value) == ["ロック".encode()]
    assert list(feature["attribute_tags"].bytes_list.value) == [b"a", b"b"]
    assert list(feature["audio_tempo"].float_list.value) == [0.0]
    assert list(feature["audio_timbre"].float_list.value) == [1.0, 2.0]


def test_what_is_missing_is_not_written() -> None:
    example = tf.train.Example.FromString(encode_song({"audio_tempo": None, "attribute_genre": "x"}, FIELDS))
    assert set(example.features.feature) == {"attribute_genre"}


def test_texts_come_back() -> None:
    written = tf.train.Example()
    written.features.feature["song_id"].bytes_list.value.append("é1".encode())
    written.features.feature["title"].bytes_list.value.extend([b"one", b"two"])
    written.features.feature["plays"].int64_list.value.append(3)
    example = written.SerializeToString()
    assert song_id_of(example) == "é1".encode()
    assert texts_of(example, "title") == ["one", "two"]
    assert texts_of(example, "plays") == texts_of(example, "absent") == []


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.kind)
def test_a_spec_says_the_field(field: RawField) -> None:
    assert fields_of_specs({field.name: field.tensor_spec()}) == (field,)


@pytest.mark.parametrize(
    ("field", "shape"), zip(FIELDS, [[None], [None, None], [None], [None, 2]], strict=True), ids=lambda x: str(x)[:9]
)
def test_shapes(field: RawField, shape: list[int | None]) -> None:
    spec = field.tensor_spec()
    assert spec.shape.as_list() == shape
    assert spec.dtype == (tf.float32 if field.name.startswith("audio") else tf.string)
