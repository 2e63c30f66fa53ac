"""Names and shapes of what flows from tf.Example through Transform into the model, derived from the song fields."""

from __future__ import annotations

from collections.abc import Sequence

from tensorflow_metadata.proto.v0 import schema_pb2

from tfx_pipeline.contract import SongField
from tfx_pipeline.contract.ids import SONG_ID

#: What plays say about a song. The similar-song step writes them, training and evaluation read them, the model never.
LISTENERS = "label_listeners"
SIMILAR_IDS = "label_similar_ids"
SIMILAR_SCORES = "label_similar_scores"
LABELS = (LISTENERS, SIMILAR_IDS, SIMILAR_SCORES)


def vocabulary_name(field: SongField) -> str:
    """Returns the name of the field's vocabulary file in the transform graph."""
    return f"vocabulary_{field.name}"


def song_schema(fields: Sequence[SongField]) -> schema_pb2.Schema:
    """Returns the schema of a song's tf.Example as Transform takes it: id, fields and labels, without display columns.

    Every field may be missing, so each has a variable length. Its largest number of values tells lists from the rest.
    """
    schema = schema_pb2.Schema()
    _add(schema, SONG_ID, schema_pb2.BYTES, 1, required=True)
    for field in fields:
        value_type = schema_pb2.BYTES if field.is_categorical else schema_pb2.FLOAT
        at_most = None if field.is_list and not field.is_sized else field.length
        _add(schema, field.name, value_type, at_most)
    _add(schema, LISTENERS, schema_pb2.INT, 1)
    _add(schema, SIMILAR_IDS, schema_pb2.BYTES, None)
    _add(schema, SIMILAR_SCORES, schema_pb2.FLOAT, None)
    return schema


def _add(schema: schema_pb2.Schema, name: str, value_type: int, at_most: int | None, *, required: bool = False) -> None:
    feature = schema.feature.add(name=name, type=value_type)
    if required:
        feature.presence.min_fraction = 1.0
        feature.shape.dim.add(size=1)
    elif at_most is not None:
        feature.value_count.max = at_most


def check_types(schema: schema_pb2.Schema, seen: dict[str, int], fields: Sequence[SongField]) -> None:
    """Checks that every field occurs in the data with the type that `schema` gives it.

    Args:
        schema: The curated schema.
        seen: `FeatureType` by feature name, as inferred from statistics.
        fields: The song fields.

    Raises:
        ValueError: If a field is absent or of another type.
    """
    expected = {feature.name: feature.type for feature in schema.feature}
    type_name = schema_pb2.FeatureType.Name
    for field in fields:
        received = seen.get(field.name)
        if received != expected[field.name]:
            raise ValueError(
                f"songs, field `{field.name}`: expected values of type {type_name(expected[field.name])}. "
                f"Received: {'no such field' if received is None else type_name(received)}"
            )
