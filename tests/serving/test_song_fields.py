"""Checks of songs by the server itself, for models whose graph checks less: vectors and features of tf.Examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from serving.protocol.errors import RequestError
from serving.server.inference.song_fields import SongFields


def signature(**inputs: tuple[tf.DType, list[int]]) -> Any:
    """A SignatureDef that takes such inputs; -1 is any size."""
    definition = meta_graph_pb2.SignatureDef()
    for name, (dtype, shape) in inputs.items():
        definition.inputs[name].dtype = dtype.as_datatype_enum
        for size in shape:
            definition.inputs[name].tensor_shape.dim.add(size=size)
    return definition


EMBED = signature(
    audio_timbre=(tf.float32, [-1, 6]), audio_tempo=(tf.float32, [-1]), attribute_tags=(tf.string, [-1, -1])
)
EXAMPLES = signature(examples=(tf.string, [-1]))
FIELDS = SongFields({"embed": EMBED, "serving_default": EXAMPLES})


def example(**features: list[float] | list[bytes]) -> bytes:
    made = tf.train.Example()
    for name, values in features.items():
        feature = made.features.feature[name]
        (feature.bytes_list if isinstance(values[0], bytes) else feature.float_list).value.extend(values)
    return made.SerializeToString()


def check_examples(fields: SongFields, *examples: bytes) -> None:
    fields.check(EXAMPLES, {"examples": np.array(examples, object)})


@pytest.mark.parametrize(
    ("shape", "received"),
    [((2, 5), "5"), ((0, 7), "7"), ((2,), "one number"), ((2, 6, 1), "6 x 1"), ((), "one number")],
)
def test_a_vector_of_another_shape(shape: tuple[int, ...], received: str) -> None:
    with pytest.raises(RequestError) as caught:
        FIELDS.check(EMBED, {"audio_timbre": np.zeros(shape, np.float32)})
    assert (caught.value.code.name, caught.value.message) == (
        "INVALID_ARGUMENT",
        f"audio_timbre: expected 6 numbers for each song. Received: {received}",
    )


def test_what_fits_passes() -> None:
    FIELDS.check(EMBED, {"audio_timbre": np.zeros((2, 6), np.float32), "audio_tempo": np.zeros(2, np.float32)})
    FIELDS.check(EMBED, {"audio_timbre": np.zeros((0, 6), np.float32)})
    check_examples(FIELDS, example(audio_timbre=[1.0] * 6, song_id=[b"1"]), example(attribute_tags=[b"x"]), b"")


def test_examples_name_the_row() -> None:
    good = example(audio_tempo=[1.0])
    with pytest.raises(RequestError) as caught:
        check_examples(FIELDS, good, example(audio_timbre=[1.0] * 5))
    assert caught.value.message == ("examples[1]: audio_timbre: expected 6 numbers for each song, or none. Received: 5")
    with pytest.raises(RequestError) as caught:
        check_examples(FIELDS, good, good, example(audio_timbr=[1.0]))
    assert caught.value.message == (
        "examples[2]: expected no features other than attribute_tags, audio_tempo, audio_timbre and song_id. "
        "Received: audio_timbr"
    )


def test_bytes_that_are_no_example_are_left_to_tensorflow() -> None:
    check_examples(FIELDS, b"\xff")


@pytest.mark.parametrize("embed", [None, signature(x=(tf.float32, [-1, 6]))], ids=["no embed", "other inputs"])
def test_a_model_of_something_else_is_not_checked(embed: Any) -> None:
    fields = SongFields({"serving_default": EXAMPLES} | ({} if embed is None else {"embed": embed}))
    check_examples(fields, example(anything=[1.0]))
    fields.check(EMBED, {"x": np.zeros((2, 5), np.float32), "audio_timbre": np.zeros((2, 5), np.float32)})
