"""TFX component: the index of a served model brought up to date with the catalogue, without training."""

import os
from collections.abc import Iterator

import tensorflow as tf
from tfx import v1 as tfx
from tfx.utils import io_utils, path_utils

from serving.raw_fields import RawField
from serving.refresh import refreshed_index
from serving.saved_version import RefreshError, SavedVersion, write_version
from serving.takedown import taken_down
from tfx_pipeline import contract, features
from tfx_pipeline.components.similar_songs import ALL, split_pattern


@tfx.dsl.components.component
def IndexRefresher(  # noqa: N802
    served: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    songs: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    model: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.Model],
    blessing: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.ModelBlessing],
    fields: tfx.dsl.components.Parameter[str],
    max_dropped: tfx.dsl.components.Parameter[float],
    serving_dir: tfx.dsl.components.Parameter[str],
    gone: tfx.dsl.components.Parameter[str],
    code: tfx.dsl.components.Parameter[str],
) -> None:
    """Embeds songs that the index lacks, drops those that the catalogue lacks, and leaves the rest as it is.

    Args:
        served: The model to start from: a version folder that an Importer names, or a Trainer's output.
        songs: tf.Examples of the whole catalogue, split `all`. Plays are not needed.
        model: The same model with the new index. Custom properties `added`, `dropped` and `kept` count songs.
        blessing: Custom property `blessed` is 1 if there is any change, so that Pusher leaves an index alone that is up
            to date; and a file of that name, as TFX's Evaluator leaves it.
        fields: The song fields of the catalogue as JSON.
        max_dropped: The largest share of the index that may be dropped.
        serving_dir: Folder of the model's versions, where songs that were taken down are recorded.
        gone: Digest of that record, so that the cache follows it.
        code: Fingerprint of the code, so that the cache follows it.
    """
    del code, gone
    saved_model = served_path(served.uri)
    with SavedVersion(saved_model) as version:
        check_fields(contract.fields_from_json(fields), version.fields)
        index, changes = refreshed_index(
            version,
            read_examples(split_pattern(songs, ALL)),
            drop=taken_down(serving_dir),
            is_catalogue=True,
            max_dropped=max_dropped,
        )
    write_version(saved_model, path_utils.serving_model_dir(model.uri), index)
    counts = {"added": len(changes.added), "dropped": len(changes.dropped), "kept": changes.kept}
    for name, count in counts.items():
        model.set_int_custom_property(name, count)
    blessing.set_int_custom_property("blessed", int(bool(changes)))
    io_utils.write_string_file(os.path.join(blessing.uri, "BLESSED" if changes else "NOT_BLESSED"), "")


def served_path(uri: str) -> str:
    """Returns the SavedModel of a Model artifact, or of a version folder that was imported as one."""
    return uri if tf.io.gfile.exists(os.path.join(uri, "saved_model.pb")) else path_utils.serving_model_path(uri)


def check_fields(found: tuple[contract.SongField, ...], taken: tuple[RawField, ...]) -> None:
    """Checks that the catalogue's fields are the model's; one without a value in any song may be absent.

    Raises:
        RefreshError: If a field is of another kind or length, or the catalogue has none of the model's.
    """
    by_name = {field.name: field for field in found}
    for field in taken:
        other = by_name.get(field.name)
        if other is not None and (other.kind, other.length) != (field.kind, field.length):
            raise RefreshError(
                f"songs, field `{field.name}`: expected {field.kind} of length {field.length}, which the model was "
                f"trained on. Received: {other.kind} of length {other.length}"
            )
    if not any(field.name in by_name for field in taken):
        names = ", ".join(field.name for field in taken)
        raise RefreshError(f"songs: expected fields that the model was trained on ({names}). Received: none of them")


def read_examples(pattern: str) -> Iterator[tuple[str, bytes]]:
    """Yields id and serialized tf.Example of each song."""
    files = sorted(tf.io.gfile.glob(pattern))
    for record in tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator():
        song_id = tf.train.Example.FromString(record).features.feature[features.SONG_ID].bytes_list.value[0]
        yield song_id.decode(), record
